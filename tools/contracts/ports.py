"""Ports for what will listen later, which nobody else takes meanwhile."""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache

# Linux gives away those from 32768 on by itself, to whoever connects or asks for any port.
_RANGE = range(10000, 32768)
_RANDOM = random.SystemRandom()  # what seeds the other one must not lead two processes to one port
_taken: set[int] = set()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody uses, nor gets from this function as long as this process lives."""
    while True:
        port = _RANDOM.choice(_RANGE)
        if port not in _taken and _reserve(port):
            _taken.add(port)
            with socket.socket(socket.AF_INET, kind) as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:  # a stranger has it
                    continue
            return port


def _reserve(port: int) -> bool:
    """Lock the byte of this number, against the other processes of this user."""
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@cache
def _locks() -> int:
    """The file with a byte for each port: the kernel forgets its locks when the process ends."""
    path = os.path.join(tempfile.gettempdir(), f"uperun-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
