"""Serial lines on MicroPython: UARTs, and the unix port's ttys."""

import asyncio

from perun.link.io_micropython import Stream


async def open_serial(port, baudrate):
    """The Stream of a tty's path, or of a UART that its owner has set up and will close."""
    if not isinstance(port, str):
        return Stream(asyncio.StreamReader(port), _leave_open)
    from perun.link.tty import Tty

    tty = Tty(port, baudrate)
    return Stream(asyncio.StreamReader(tty), tty.close)


def _leave_open():
    pass
