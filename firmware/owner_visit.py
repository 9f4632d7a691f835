"""The owner's visit: console lines and calls in, events and answers out, over a Sealed link.

Loaded when somebody is at the door (control.py), and forgotten when he has gone. What is said is
in perun.link.owner. A line is one of the console's: it is obeyed by the same commands, and what
happens is told by the same events, in JSON whatever the console has. A call has a name and an
argument of up to 1024 bytes, and is answered by bytes, or by a text that says what is wrong. Calls
are answered one after the other, in their order.

Another call is a line in CALLS and a module beside this one with

    async def call(device, argument):

which gives bytes; what it raises is told to the owner. `device` is the main.Device, or the
safe.SafeMode. The module is loaded by the first call and kept until the owner goes, so it may
remember in its globals what one call left for the next. It must let others run: a payment waits
while it does not.
"""

import asyncio
import os

from perun.chain.ethereum import Ethereum
from perun.compat import borrowed, const
from perun.link import LinkError
from perun.link.owner import ANSWER, CALL, EVENT, FAILURE, LINE, PING, SILENCE, admit
from perun.link.tcp import accepted
from perun.wire.compact import Compact, Contexts

CALLS = {"examine": "checkup", "update": "update"}  # name -> module

_LIMIT = const(1120)  # the longest record, bytes: a call with an argument of 1024
_PATIENCE = const(20)  # seconds for the handshake, as elsewhere
_PIECE = const(256)  # bytes of a text in one record: what is being sealed takes five times as much
_MOST = const(3072)  # bytes of events that wait to be sent; further ones are counted


async def serve(device, console, account, owner, reader, writer, hello):
    """Let the owner in, and serve him until he goes. Raises whatever keeps a stranger out.

    reader, writer: of his connection; hello: his first frame.
    """
    link = accepted(reader, writer, _LIMIT, "owner")
    sealed = await asyncio.wait_for(
        # Nothing of it shall be kept as long as the visit lasts.
        admit(link, Compact(Contexts()), Ethereum(), account, owner, os.urandom, hello[2:]),
        _PATIENCE,
    )
    visit = _Visit(device, console, sealed)
    console.event("owner connected")
    writing = asyncio.create_task(visit.write())
    try:
        console.copy = visit.hear
        await visit.read()
    except (OSError, MemoryError, asyncio.TimeoutError) as error:
        text = str(error) or repr(error)
    finally:
        console.copy = None
        writing.cancel()
        link.close()
    console.event("owner disconnected", text=text)


class _Visit:
    """device, console: as in control.py; sealed: the link."""

    def __init__(self, device, console, sealed):
        self._device = device
        self._console = console
        self._sealed = sealed
        self._waiting = []  # (kind, text)
        self._room = _MOST  # bytes
        self._lost = 0  # events that found no room there
        self._news = asyncio.Event()
        self._modules = {}

    def hear(self, line):
        """An event of the console, as JSON. A long one needs that nothing else waits."""
        try:
            text = line.encode()
            if self._waiting and len(text) > self._room:
                self._lost += 1
            else:
                self._say(EVENT, text)
                self._room -= len(text)
        except MemoryError:  # not for whoever told the console
            self._lost += 1

    def _say(self, kind, text):
        self._waiting.append((kind, text))
        self._news.set()

    async def write(self):
        """Send what waits, for ever. An error closes the link, which ends read()."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    kind, text = self._waiting.pop(0)
                    if kind == EVENT:
                        self._room += len(text)
                    await self._send(kind, text)
                if self._lost:
                    lost, self._lost = self._lost, 0
                    await self._send(EVENT, b'{"event": "lost", "count": %d}' % lost)
        except (OSError, MemoryError):
            self._sealed.close()

    async def _send(self, kind, text):
        while len(text) > _PIECE:
            await self._sealed.send(kind.upper() + text[:_PIECE])
            text = text[_PIECE:]
        await self._sealed.send(kind + text)

    async def read(self):
        """Obey. Ends with an error, whatever happens."""
        while True:
            body = await asyncio.wait_for(self._sealed.recv(), SILENCE)
            kind = body[:1]
            if kind == PING:
                self._say(PING, b"")
            elif kind == LINE:
                asyncio.create_task(self._console.obey(body[1:]))  # others must not wait for it
            elif kind == CALL:
                name, _, argument = body[1:].partition(b" ")
                await self._call(str(name, "utf-8"), argument)
            else:
                raise LinkError("a record of another version")

    async def _call(self, name, argument):
        try:
            if name not in CALLS:
                raise ValueError("this device knows no call " + name)
            if name not in self._modules:
                self._modules[name] = borrowed(CALLS[name])
            self._say(ANSWER, await self._modules[name].call(self._device, argument))
        except Exception as error:
            self._say(FAILURE, (str(error) or repr(error)).encode())
