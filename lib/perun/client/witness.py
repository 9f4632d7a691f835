"""A second opinion: another service that must see the deposits as well, before a channel opens.

client.witness = Witness(client, lambda: tcp.connect(host, port, pins=pins), address)

It is dialled when the service says that a channel is funded, and hung up after its answer. While
it is away or says something else the channel waits, and the application hears why ("unwitnessed").
"""

import asyncio

from perun.adoption.session import ServiceError, Session
from perun.channel import FUNDING
from perun.client.handle import ClientError
from perun.compat import const
from perun.link import LinkError
from perun.wire.compact import Compact, Contexts
from perun.wire.inquiry_messages import STAGE_FUNDED, STAGE_FUNDING, Status
from perun.wire.messages import ROLE_DEVICE
from perun.wire.witness_messages import WitnessRequest

_FIRST_PAUSE = const(1)  # seconds before it is asked again, doubled up to the longest
_LONGEST_PAUSE = const(60)
_VISIT = const(60)  # seconds for one question, handshakes included
_PATIENCE = const(600)  # seconds


class Witness:
    """client: perun.client.Client; dial: coroutine function that returns a link to the witness;
    expect: the witness's 20-byte address, or None for whoever answers there; patience: seconds
    that a channel waits until the service is asked to settle it, None: for ever."""

    def __init__(self, client, dial, expect=None, patience=_PATIENCE):
        self._client = client
        self._dial = dial
        self._expect = expect
        self._patience = patience
        self._tasks = {}  # channel id -> what attends to it
        self._turn = asyncio.Lock()  # one link at a time
        self.reasons = {}  # channel id -> why it waits
        self.pause = _FIRST_PAUSE

    def ask(self, handle):
        """The service says that this channel is funded: open it when the witness says so, too."""
        if handle.id not in self._tasks:
            self._tasks[handle.id] = asyncio.create_task(self._attend(handle))

    async def _attend(self, handle):
        client = self._client
        try:
            if await asyncio.wait_for(self._confirm(handle), self._patience):
                await handle.happened("funded")
        except asyncio.TimeoutError:
            await self._give_up(handle)
        except ClientError as error:
            client.on_error(str(error))
        finally:
            del self._tasks[handle.id]
            self.reasons.pop(handle.id, None)

    def _waits(self, handle):
        return handle.phase == FUNDING and self._client.channels.get(handle.id) is handle

    async def _confirm(self, handle):
        """Ask until the witness sees the deposits; False when the channel does not wait for it."""
        pause = self.pause
        while self._waits(handle):
            reason = await self._opinion(handle)
            if not reason:
                return True
            if reason != self.reasons.get(handle.id):
                self.reasons[handle.id] = reason
                self._client.tell(handle, "unwitnessed", reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return False

    async def _give_up(self, handle):
        """Get back what is deposited. A service that does not do it is asked again and again."""
        reason = "not confirmed within %d s: %s" % (
            self._patience,
            self.reasons.get(handle.id, "no answer"),
        )
        self.reasons[handle.id] = reason
        self._client.tell(handle, "funding failed", reason)
        while self._waits(handle):
            try:
                await handle.dispute()
            except ClientError as error:
                self._client.on_error("witness: " + str(error))
            await asyncio.sleep(_LONGEST_PAUSE)

    async def _opinion(self, handle):
        """What keeps the channel from being open, or None."""
        try:
            async with self._turn:
                return await asyncio.wait_for(self._visit(handle), _VISIT)
        except asyncio.TimeoutError:
            return "the witness does not answer"
        except (OSError, ServiceError, MemoryError) as error:
            return "the witness cannot be asked: " + str(error)

    async def _visit(self, handle):
        link = await self._dial()
        ended = []
        reader = None
        try:
            session = await self._session(link)
            reader = asyncio.create_task(_listen(session, ended))
            return _judge(await _ask(session, handle.machine))
        except LinkError as error:
            raise (ended[0] if ended else error)  # what ended the session says more
        finally:
            link.close()
            if reader:
                reader.cancel()

    async def _session(self, link):
        client = self._client
        hello = await client.handshake(link, ROLE_DEVICE, self._expect)
        if client.guardian and hello.address == client.guardian.service:
            raise LinkError("it is the service itself")
        codec = Compact(Contexts())
        return Session(
            link, codec, client.chain, client.account.address, hello.address, _pass_over
        )


async def _pass_over(_event):
    """What a witness tells of channels is nothing that was asked."""


async def _listen(session, ended):
    try:
        await session.run()
    except (OSError, ServiceError) as error:
        ended.append(error)


async def _ask(session, machine):
    assets = machine.current.state.allocation.assets
    status = await session.request(WitnessRequest, machine.params, assets, machine.agreement)
    if type(status) is not Status or status.channel_id != machine.id:
        raise LinkError("it answers something else")
    return status


def _judge(status):
    if status.stage == STAGE_FUNDED:
        return None
    if status.stage == STAGE_FUNDING:
        return "the service says that all deposits are there, the witness that they are not"
    return "the witness says that version %d is registered on the chain" % status.registered
