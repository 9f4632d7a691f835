"""Links over TCP, framed as go-perun frames them: a length of two bytes and the body.

With TLS the other end is known by the SHA-256 of its certificate: no authorities, no names, and no
dates, for a device has no clock that it could trust.
"""

import asyncio

from perun.compat import MICROPYTHON, borrowed, const
from perun.link import Link, LinkError
from perun.wire.frame import DEFAULT_LIMIT, TcpDecoder, tcp_frame

if MICROPYTHON:
    from perun.link import io_micropython as _io
else:
    from perun.link import io_cpython as _io

CONNECT_TIMEOUT = const(10)  # seconds
MAX_LINKS = const(8)


async def connect(host, port, limit=DEFAULT_LIMIT, pins=()):
    """A link to a listener. limit: the longest body to accept, bytes. Raises LinkError.

    pins: the SHA-256 (32 bytes) of each certificate that the listener may have; without them the
    link is not encrypted. Nothing is sent to a listener with another certificate.
    """
    name = "%s port %d" % (host, port)
    try:
        if MICROPYTHON:
            dial = borrowed("perun.link.dial_micropython")
        else:
            dial = _io
        opening = dial.open_tls(host, port, pins) if pins else dial.open_tcp(host, port)
        dial = None  # what comes now needs the memory
        stream, binding = await asyncio.wait_for(opening, CONNECT_TIMEOUT)
    except asyncio.TimeoutError:
        raise LinkError(name + ": no answer")
    except (OSError, MemoryError) as error:
        raise LinkError("%s: cannot connect: %s" % (name, error))
    if pins and binding not in pins:
        stream.close()
        raise LinkError("%s: the certificate is not the pinned one: %s" % (name, binding.hex()))
    link = framed(stream, limit, name)
    link.binding = binding
    return link


async def serve(host, port, on_link, limit=DEFAULT_LIMIT, max_links=MAX_LINKS):
    """Listen, and await on_link(link) in a task of its own for every link that comes in.

    Keeps `max_links` links open and turns further ones away. Returns asyncio's server: close()
    ends the listening, not the links. Raises LinkError when the port cannot be had.
    """
    links = []

    async def accept(reader, writer):
        stream = _io.tcp_stream(reader, writer)
        links[:] = [link for link in links if not link.closed]
        if len(links) >= max_links:
            stream.close()
            return
        try:
            link = framed(stream, limit, "incoming on port %d" % port)
        except MemoryError:
            stream.close()
            return
        links.append(link)
        await on_link(link)

    try:
        return await asyncio.start_server(accept, host, port)
    except OSError as error:
        raise LinkError("%s port %d: cannot listen: %s" % (host, port, error))


def framed(stream, limit, name):
    """The link on a stream."""
    return Link(stream, tcp_frame, TcpDecoder(limit), name)


def accepted(reader, writer, limit, name):
    """The link of a connection to a server of asyncio's own."""
    return framed(_io.tcp_stream(reader, writer), limit, name)
