"""Two devices, the network between them, a service behind each, and one chain below.

What the network carries is tapped: the moment an honest device lets a signature go, it must be in
its store, and it must be the only one for that version.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from adoption.chain import DISPUTE, Reverted
from adoption.store.tables import FUNDING_DONE
from perun.channel import FINAL, FUNDING
from perun.client.handle import ClientError
from perun.link import LinkError
from perun.model import State
from perun.model.rules import totals
from perun.wire import WireError
from perun.wire.compact import Compact, Contexts
from perun.wire.messages import ChannelSync, ChannelUpdate, ChannelUpdateAcc
from perun.wire.service_messages import WithdrawalAuth

from protocol.adversary.chain import Chain
from protocol.adversary.crypto import SWIFT, account
from protocol.adversary.device import CHAIN_ID, DURATION, LIMITS, Device, End, factory, pair
from protocol.adversary.loop import VirtualLoop, silent
from protocol.adversary.service import Service

BALANCES = (100, 50)
MOST = 30  # the largest payment
_REACTION = 200  # seconds before the end of a dispute in which everybody honest looks at it
_ACCOUNTS = (account(1), account(2))
_IDENTITIES = (account(3), account(4))


class World:
    """liar: the index of the device whose key the adversary has, or None; it has the network in
    any case. diligent: honest devices are online once while a dispute runs; else their services
    must do without them.

    network     to each side the bodies under way
    log         all bodies that were ever sent to each side, for replays
    released    per side, version -> the state whose signature left it
    loose       per side, the signed states that its peer has seen
    spent       per side, what its owner ordered to pay
    fixed       when the outcome was fixed: (state, per side what its owner may rely on)
    """

    def __init__(self, liar: int | None, diligent: bool) -> None:
        self.liar = liar
        self.honest = [side for side in (0, 1) if side != liar]
        self.diligent = diligent
        self.problems: list[str] = []
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(silent)
        self.loop.set_task_factory(factory(self.problems))
        self.chain = Chain(lambda: int(self.loop.time()))
        self.chain.on_fixed = self._fix
        self.services = [
            Service(self.chain, _IDENTITIES[side], _ACCOUNTS[side].address, LIMITS.assets)
            for side in (0, 1)
        ]
        self.devices = [
            Device(self.loop, _ACCOUNTS[side], bytes((0xA0 + side,)) * 20) for side in (0, 1)
        ]
        self.network: tuple[list[bytes], list[bytes]] = ([], [])
        self.log: tuple[list[bytes], list[bytes]] = ([], [])
        self.released: tuple[dict[int, State], dict[int, State]] = ({}, {})
        self.loose: tuple[dict[State, bytes], dict[State, bytes]] = ({}, {})
        self.fixed: tuple[State, dict[int, list[State]]] | None = None
        self.spent = [0, 0]
        self.params: Any = None
        self.contexts = Contexts()
        self.codec = Compact(self.contexts)
        for side in (0, 1):
            self.switch_on(side)
        self.settle()

    def close(self) -> None:
        """End everything."""
        for device in self.devices:
            device.dead = True
        self.loop.finish()

    # -- devices ----------------------------------------------------------------------------------

    def switch_on(self, side: int) -> None:
        """Power for a device."""
        device, service = self.devices[side], self.services[side]

        async def dial() -> End:
            if not service.up:
                raise LinkError("nobody answers")
            near, far = pair(device.burn)
            self.loop.create_task(service.serve(far, CHAIN_ID))
            return near

        device.switch_on(dial, service.account.address)

    def attach(self, side: int) -> None:
        """Give a device a fresh link to its peer."""
        device = self.devices[side]
        if device.client is None:
            return
        end = End(lambda body: self._tap(side, body), lambda: None)
        peer = device.client.peer(_ACCOUNTS[1 - side].address)
        device.link = end
        device.spawn(peer.attach(end))
        self.settle()

    def settle(self, seconds: float = 0) -> None:
        """Let everything happen that is due within these seconds."""
        self.loop.advance(seconds)
        for device in self.devices:
            if device.dead and device.client is not None:
                device.switch_off()
        for service in self.services:
            self.loop.create_task(service.deliver())
        self.loop.advance()

    def open(self) -> None:
        """Side 0 proposes the channel, both agree, both services deposit."""
        client = self.devices[0].client
        assert client is not None
        peer = client.peer(_ACCOUNTS[1].address)
        for side in (0, 1):
            self.attach(side)

        async def propose() -> None:
            with contextlib.suppress(ClientError, LinkError):
                await client.propose(peer, (BALANCES,), DURATION)

        self.devices[0].spawn(propose())
        self.settle()
        for side in (1, 0):  # the proposal and its answer
            self.deliver(side, 0)
        handle = self.devices[0].handle
        self.params = handle.machine.params
        self.contexts.add(handle.id, LIMITS.assets)
        self.log[0].clear()
        self.log[1].clear()

    # -- the network ------------------------------------------------------------------------------

    def _tap(self, side: int, body: bytes) -> None:
        self.devices[side].burn()
        self.network[1 - side].append(body)
        self.log[1 - side].append(body)
        try:
            message = self.codec.decode(body)
        except WireError:  # before the channel is known
            return
        if isinstance(message, ChannelUpdate):
            self._release(side, message.state, message.sig)
        elif isinstance(message, ChannelUpdateAcc):
            state = self._signed_as(side, message)
            self._release(side, state, message.sig)
        elif isinstance(message, ChannelSync) and message.current:
            state, sigs = message.current
            self._release(side, state, sigs[side])

    def _signed_as(self, side: int, acc: ChannelUpdateAcc) -> State:
        """The state that a signature is for; an honest side has it in its store."""
        machine = self.devices[side].stored()
        assert machine is not None, "a signature left before anything was stored"
        for state in _of(machine):
            if state.version == acc.version:
                if SWIFT.verify(_ACCOUNTS[side].address, SWIFT.state_hash(state), acc.sig):
                    return state
        raise AssertionError(f"version {acc.version} was signed and sent but not stored")

    def _release(self, side: int, state: State, sig: bytes) -> None:
        assert SWIFT.verify(_ACCOUNTS[side].address, SWIFT.state_hash(state), sig)
        self.loose[side][state] = sig
        if side in self.honest:
            known = self.released[side].setdefault(state.version, state)
            assert known == state, f"two states of version {state.version} are signed"
            assert state in _of(self.devices[side].stored()), "sent before it was stored"

    def deliver(self, side: int, which: int, again: bool = False) -> None:
        """Bring a message to a side, and keep it for later as well if `again`."""
        queue, link = self.network[side], self.devices[side].link
        if queue:
            body = queue[which % len(queue)] if again else queue.pop(which % len(queue))
            if link is not None and not link.closed:
                link.push(body)
                self.settle()

    def deliver_all(self) -> None:
        """Bring everything, in order, until nobody says anything any more."""
        for _ in range(100):
            if not any(self.network):
                return
            for side in (0, 1):
                while self.network[side]:
                    self.deliver(side, 0)
        raise AssertionError("the two never stop talking")

    def inject(self, side: int, message: Any, now: bool) -> None:
        """The adversary says something to a side; now: it arrives before all that is under way."""
        with contextlib.suppress(WireError):
            self.network[side].append(self.codec.encode(message))
            if now:
                self.deliver(side, -1)

    # -- time -------------------------------------------------------------------------------------

    def pass_time(self, seconds: int) -> None:
        """Blocks are mined. Whoever is honest looks at a dispute before its time is over."""
        target = self.chain.now + seconds
        while self.chain.now < target:
            end = self._end_of_dispute()
            if end is not None and end - _REACTION <= target:
                self._blocks(max(end - _REACTION - self.chain.now, 0))
                self._react(end - 1)
                self._blocks(end - self.chain.now)
            else:  # in steps, so that a dispute that begins meanwhile is noticed
                self._blocks(min(target - self.chain.now, _REACTION // 2))

    def _end_of_dispute(self) -> int | None:
        """When the running dispute ends, if nobody has looked at its end yet."""
        if self.params is None or self.fixed is not None:
            return None
        dispute = self.chain.disputes.get(SWIFT.channel_id(self.params))
        if dispute is None or dispute.phase != DISPUTE:
            return None
        return max(dispute.timeout, self.chain.now + 1)

    def _blocks(self, seconds: int) -> None:
        self.settle(seconds)
        for service in self.services:
            if service.up:
                service.look()
        self.settle()

    def _react(self, until: int) -> None:
        """The last look: afterwards the registered state is the outcome."""
        for side in self.honest:
            self.services[side].fuse = None
            self.services[side].start()
            if self.diligent:
                self.devices[side].fuse = None
                self._on(side)
        self._blocks(until - self.chain.now)
        registered = self.chain.disputes[SWIFT.channel_id(self.params)]
        self._fix(self.chain.call_data[registered.hash].state)

    def _on(self, side: int) -> None:
        if self.devices[side].client is None:
            self.switch_on(side)
            self.attach(side)

    def _fix(self, state: State) -> None:
        """`state` is the outcome. Remember what each honest owner may rely on."""
        if self.fixed is None:
            self.fixed = state, {side: self._acceptable(side, state) for side in self.honest}

    def _acceptable(self, side: int, outcome: State) -> list[State]:
        """The states that an owner must be content with: the newest that is guarded, and what the
        device let go that is newer still, the slice in flight."""
        machine = self.devices[side].stored()
        entry = self.services[side].disk.get(outcome.id)
        newest = machine.current.state
        if not self.diligent and not outcome.is_final and entry is not None:
            newest = entry.channel.held.state
        newer = [s for v, s in self.released[side].items() if v > newest.version]
        return [newest, *newer]

    # -- the adversary on the chain ---------------------------------------------------------------

    def signed_by_both(self) -> list[tuple[State, list[bytes]]]:
        """What can be registered: everything that honest sides signed, countersigned."""
        found = []
        states = dict.fromkeys([*self.loose[0], *self.loose[1]])
        for state in states:
            sigs = [self._sig(side, state) for side in (0, 1)]
            if all(sigs):
                found.append((state, [sig for sig in sigs if sig]))
        return found

    def _sig(self, side: int, state: State) -> bytes | None:
        if side == self.liar:
            return SWIFT.sign(_ACCOUNTS[side], SWIFT.state_hash(state))
        return self.loose[side].get(state)

    def register(self, which: int, final: bool) -> None:
        """Send a state to the chain: register() or concludeFinal()."""
        known = [one for one in self.signed_by_both() if one[0].is_final or not final]
        if known:
            state, sigs = known[which % len(known)]
            call = self.chain.conclude_final if final else self.chain.register
            with contextlib.suppress(Reverted):
                call(self.params, state, sigs)

    def conclude(self) -> None:
        """Anybody may end a dispute whose time is over."""
        dispute = self.chain.disputes.get(SWIFT.channel_id(self.params))
        if dispute is not None:
            with contextlib.suppress(Reverted):
                self.chain.conclude(self.params, self.chain.call_data[dispute.hash].state)

    def loot(self) -> None:
        """The adversary withdraws what the chain gives to it."""
        if self.liar is not None and self.params is not None:
            owner, ident = _ACCOUNTS[self.liar], SWIFT.channel_id(self.params)
            amount = self.chain.held(ident, owner.address)
            hashed = SWIFT.withdrawal_hash(ident, owner.address, b"\xee" * 20, amount)
            auth = WithdrawalAuth(0, b"\xee" * 20, amount, SWIFT.sign(owner, hashed))
            with contextlib.suppress(Reverted):
                self.chain.withdraw(ident, owner.address, auth)

    # -- what must be true ------------------------------------------------------------------------

    def check(self) -> None:
        """At every moment."""
        assert not self.problems, self.problems
        for side in self.honest:
            self._check_store(side)
            self._check_receipt(side)

    def _check_store(self, side: int) -> None:
        machine = self.devices[side].stored()
        if machine is None:
            return
        state, sigs = machine.current
        assert totals(state.allocation) == (sum(BALANCES),)
        if state.version:
            hashed = SWIFT.state_hash(state)
            for owner, sig in zip(_ACCOUNTS, sigs, strict=True):
                assert sig and SWIFT.verify(owner.address, hashed, sig)
        mine = state.allocation.balances[0][side]
        assert mine >= BALANCES[side] - self.spent[side], "money went without an order"
        for version, other in self.released[side].items():
            loss = mine - other.allocation.balances[0][side]
            if version > state.version:  # it may refute
                assert loss <= MOST, f"{loss} are in flight with version {version}"
            if other.is_final:  # it may end the channel at any time
                assert loss <= 0, f"version {version} ends the channel, {loss} are lost"
        if self.liar is None:
            assert not machine.evidence, "honest devices accuse each other"

    def _check_receipt(self, side: int) -> None:
        """What the service acknowledged, it has."""
        handle = self.devices[side].handle
        if handle is not None and handle.watched >= 0:
            entry = self.services[side].disk[handle.id]
            assert entry.channel.held.state.version >= handle.watched

    def _check_guarded(self, side: int) -> None:
        """What a device has, its service has as well once they have met."""
        handle = self.devices[side].handle
        if handle is not None and FUNDING <= handle.phase <= FINAL:
            entry = self.services[side].disk[handle.id]
            assert entry.channel.held.state.version >= handle.version, "it was not handed over"

    def finish(self) -> None:
        """Power and services come back, the owners settle, time passes: count the money."""
        for side in (0, 1):
            self.devices[side].fuse = None
            self.services[side].fuse = None
            self.services[side].start()
            self._on(side)
        self.pass_time(DURATION + 100)  # deposits are made, or nobody waits for them any more
        for side in self.honest:
            handle = self.devices[side].handle
            self._check_guarded(side)
            if handle is not None and side in self._funded():
                self.devices[side].spawn(_dispute(handle))
        self.settle()
        for _ in range(4):
            self.pass_time(DURATION)
        self.check()
        for side in self.honest:
            self._check_money(side)

    def _funded(self) -> Iterator[int]:
        """The sides that deposited something."""
        for side in (0, 1):
            ident = SWIFT.channel_id(self.params)
            if self.chain.held(ident, _ACCOUNTS[side].address):
                yield side

    def _check_money(self, side: int) -> None:
        ident = SWIFT.channel_id(self.params)
        entry = self.services[side].disk.get(ident)
        got = self.chain.wallets.get(self.devices[side].receiver, 0)
        if entry is None or entry.channel.agreement is None or entry.owed:
            assert got == 0  # never deposited, so nothing to lose
            return
        assert self.chain.held(ident, _ACCOUNTS[side].address) == 0, "money is stuck"
        if self.fixed is None or entry.channel.funding != FUNDING_DONE:
            least = BALANCES[side]
        else:
            rows = [state.allocation.balances[0] for state in self.fixed[1][side]]
            least = min(row[side] for row in rows)
        assert got >= least, f"side {side} got {got}, at least {least} is its own"


async def _dispute(handle: Any) -> None:
    with contextlib.suppress(ClientError):
        await handle.dispute()


def _of(machine: Any) -> list[State]:
    """The states that a stored machine knows it has signed."""
    if machine is None:
        return []
    staged = [machine.staged.state] if machine.staged else []
    return [machine.current.state, *staged]
