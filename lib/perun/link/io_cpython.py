"""Streams of bytes on CPython's asyncio: TCP, TLS and ttys."""

import asyncio
import hashlib
import os
import ssl

_CHUNK = 4096  # bytes that a read takes at most; also bounds what is buffered ahead


class Stream:
    """A StreamReader and a StreamWriter."""

    def __init__(self, reader, writer, *others):
        self._reader = reader
        self._writer = writer
        self._others = others  # further transports to close
        # drain() then waits until the kernel has it all: back-pressure as on MicroPython. (TLS
        # takes an empty buffer for one that has reached a limit of 0.)
        secure = writer.get_extra_info("ssl_object")
        writer.transport.set_write_buffer_limits(1 if secure else 0)

    async def read(self):
        return await self._reader.read(_CHUNK)

    async def write(self, data):
        self._writer.write(data)
        await self._writer.drain()

    def close(self):
        # abort(), because close() would first wait for a slow reader; nothing is lost, since
        # write() returned only when the kernel had it all. It ends reads and drains.
        self._writer.transport.abort()
        for transport in self._others:
            transport.close()


def tcp_stream(reader, writer):
    """The Stream of a connection. CPython's asyncio has set TCP_NODELAY."""
    return Stream(reader, writer)


async def open_tcp(host, port):
    """Connect: a Stream, and b"" for its certificate. Raises OSError."""
    return tcp_stream(*await asyncio.open_connection(host, port, limit=_CHUNK)), b""


async def open_tls(host, port, _pins):
    """Connect by TLS: a Stream, and the SHA-256 of the certificate there, which nobody has looked
    at yet. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, limit=_CHUNK, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(True)
    return tcp_stream(reader, writer), hashlib.sha256(certificate).digest()


async def open_serial(port, baudrate):
    """The Stream of a tty: its path, or a descriptor that is set up already and is taken over."""
    descriptor = _open_tty(port, baudrate) if isinstance(port, str) else port
    receiving = os.fdopen(descriptor, "rb", 0)
    sending = os.fdopen(os.dup(descriptor), "wb", 0)  # each transport closes its own
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(_CHUNK)
    receiver, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), receiving
    )
    sender, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sending
    )
    return Stream(reader, asyncio.StreamWriter(sender, protocol, None, loop), receiver)


def _open_tty(path, baudrate):
    import termios

    from perun.link.tty import set_raw

    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        set_raw(descriptor, baudrate, 1)
    except (termios.error, ValueError) as error:
        os.close(descriptor)
        raise OSError(*error.args)
    return descriptor
