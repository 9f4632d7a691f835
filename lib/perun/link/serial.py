"""Links over a serial line: frames with a checksum that are found again after any noise.

A line has no connection. Bytes that are lost or damaged cost the frames they were in and nothing
else, and the end of the other side is noticed by its silence only.
"""

import asyncio

from perun.compat import MICROPYTHON, const
from perun.link import Link, LinkError
from perun.wire.frame import DEFAULT_LIMIT
from perun.wire.serial import SerialDecoder, serial_frame

if MICROPYTHON:
    from perun.link.serial_micropython import open_serial
else:
    from perun.link.io_cpython import open_serial

_SILENCE = 0.1  # seconds without a frame, after which nothing old is under way
_MAX_STALE = const(64)  # frames


async def open(port, baudrate=115200, limit=DEFAULT_LIMIT):
    """A link over a serial port. limit: the longest body to accept, bytes. Raises LinkError.

    port: the path of a tty, which is set to raw mode and `baudrate`. On MicroPython also a UART or
    any other non-blocking stream that can be polled, set up by the caller and left open when the
    link closes. On CPython also the descriptor of a tty in raw mode, which the link closes.
    """
    name = port if isinstance(port, str) else "serial line"
    try:
        stream = await open_serial(port, baudrate)
    except (OSError, ValueError) as error:
        raise LinkError("%s: cannot open: %s" % (name, error))
    return Link(stream, serial_frame, SerialDecoder(limit), name)


async def dial(port, baudrate=115200, limit=DEFAULT_LIMIT):
    """open() for a new session: what still comes for an earlier one is dropped.

    Otherwise two ends could go on answering each other's last question but one.
    """
    link = await open(port, baudrate, limit)
    try:
        for _ in range(_MAX_STALE):
            await asyncio.wait_for(link.recv(), _SILENCE)
    except asyncio.TimeoutError:
        pass
    return link
