"""Connections that a device opens, on MicroPython: plain ones, and TLS to an end whose certificate
is known. Loaded for each, and forgotten.

The module `tls` checks no certificate unless asked, shows none after the handshake on most ports,
and asks for a clock and an authority to check one. What it does everywhere is to show each
certificate to a callback while it shakes hands, before anything that we send leaves.
"""

import asyncio
import hashlib
import sys

from perun.compat import const
from perun.link.io_micropython import Stream, send_at_once

_REFUSED = const(-0x3000)  # MBEDTLS_ERR_X509_FATAL_ERROR; a positive number would not do


async def open_tcp(host, port):
    """Connect: a Stream, and b"" for its certificate. Raises OSError."""
    sock = await _open_socket(host, port)
    return Stream(asyncio.StreamReader(sock), sock.close), b""


async def open_tls(host, port, pins):
    """Connect: a Stream, and the SHA-256 of the certificate there. Raises OSError.

    If that is not in `pins`, the handshake has ended, and the Stream is dead. If it is, the first
    write ends the handshake, in which the other end proves that the certificate is its own.
    """
    import tls  # not every port has it

    if sys.platform == "linux":
        _make_room()
    sock = await _open_socket(host, port)
    seen = []

    def judge(certificate, depth):
        # An exception must not get into mbedTLS, which would never give its memory back.
        try:
            if depth:
                return 0
            seen.append(hashlib.sha256(certificate).digest())
            return 0 if seen[-1] in pins else _REFUSED
        except Exception:
            return _REFUSED

    try:
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_OPTIONAL  # ask the callback, and only that
        context.verify_callback = judge
        sock = context.wrap_socket(sock, do_handshake_on_connect=False)
        stream = asyncio.StreamReader(sock)
        room = bytearray(1)
        early = sock.readinto(room)  # begins the handshake; nothing can be read before its end
        while early is None and not seen:
            early = await stream.readinto(room)
        if early is not None:
            raise OSError("no TLS handshake")
    except BaseException as error:  # also a cancellation
        if not isinstance(error, OSError) or not seen or seen[-1] in pins:
            sock.close()
            raise
    return Stream(stream, sock.close), seen[-1]


def _make_room():
    """Give asyncio a poll() whose table of descriptors has grown. When the unix port's moves, it
    takes the pointer of a TLS stream, which has none, along, and dies of it. It is a new one, for
    such streams may wait at the old one."""
    import io
    import select

    class Anybody(io.IOBase):
        def ioctl(self, request, _argument):
            return 1 if request == 10 else 0  # MP_STREAM_GET_FILENO

    queue = asyncio.core._io_queue
    poller = select.poll()
    crowd = [Anybody() for _ in range(12 + len(queue.map))]
    for one in crowd:
        poller.register(one, select.POLLIN)
    for one in crowd:
        poller.unregister(one)
    for reader, writer, stream in queue.map.values():
        events = select.POLLIN if reader else 0
        poller.register(stream, events | select.POLLOUT if writer else events)
    queue.poller = poller


async def _open_socket(host, port):
    """Connect: a socket that does not block. Raises OSError."""
    sock = (await asyncio.open_connection(host, port))[0].s
    try:
        _check_connected(sock, host, port)
    except OSError:
        sock.close()
        raise
    send_at_once(sock)
    return sock


def _check_connected(sock, host, port):
    # asyncio takes a failed connection for an open one. A second connect() tells the reason of the
    # failure; anything else that it raises is a port's way to say "already connected".
    import errno
    import socket

    try:
        sock.connect(socket.getaddrinfo(host, port)[0][-1])
    except OSError as error:
        if error.errno in (
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.ECONNABORTED,
            errno.EHOSTUNREACH,
            errno.ETIMEDOUT,
        ):
            raise
