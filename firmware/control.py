"""The owner's door: the port at which the owner's tools reach a device over the network.

This part stays in memory, so it is small. It lets one owner in at a time, looks at no more than
the first message of a stranger, and loads the rest (owner_visit.py) for somebody who says that he
is the owner. Whoever then fails to prove it closes the door for a while: a crowd of them must not
keep the device from being paid.
"""

import asyncio
import gc

from perun.compat import MICROPYTHON, borrowed, const

_HELLO = const(63)  # bytes of the first frame
_STRANGERS = const(2)  # that are looked at at a time
_PATIENCE = const(5)  # seconds for the first message
_LONGEST_PAUSE = const(16)  # seconds


def _reason(is_owner, is_open, room):
    """Why he does not get in: Shutdown(reason), as the compact encoding has it; or None."""
    if not is_owner:
        return b"\x92\x02\xa8stranger"
    if not is_open:
        return b"\x92\x02\xa4busy"
    if MICROPYTHON:
        gc.collect()
        if gc.mem_free() < room:
            return b"\x92\x02\xa6memory"


def door(settings, console, account, device, room):
    """The job, a coroutine function that ends when the door is open.

    settings: the section `control`; device: what calls get; room: bytes of heap that must be free
    for somebody to be let in.
    """
    owner = settings["owner"]
    strangers = 0
    pause = 1  # seconds after the next failure, doubled; 0 while somebody is in

    async def accept(reader, writer):
        nonlocal strangers, pause
        wait = 0
        try:
            if strangers < _STRANGERS:
                strangers += 1
                try:
                    hello = await asyncio.wait_for(reader.readexactly(_HELLO), _PATIENCE)
                finally:
                    strangers -= 1
                reason = _reason(owner in hello, pause, room)
                if not reason:
                    wait, pause = pause, 0
                    visit = borrowed("owner_visit").serve(
                        device, console, account, owner, reader, writer, hello
                    )
                    await visit
                    pause = 1
                else:
                    writer.write(bytes((0, len(reason))) + reason)
                    await writer.drain()
        except Exception as error:  # nobody at the door may end the device, or its charging
            if wait:
                try:
                    console.event("warning", text="at the door: " + (str(error) or repr(error)))
                except MemoryError:
                    pass
        writer.close()
        await writer.wait_closed()
        if wait and not pause:
            await asyncio.sleep(wait)
            pause = min(2 * wait, _LONGEST_PAUSE)

    async def run():
        here = settings["listen"]
        try:
            await asyncio.start_server(accept, here["host"], here["port"])
        except OSError as error:  # no reason to charge nobody
            console.event("warning", text="control.listen: " + str(error))
        else:
            console.event("control", port=here["port"])

    return run
