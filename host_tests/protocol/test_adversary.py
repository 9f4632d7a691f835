"""An adversary with one side's keys and the whole network; crashes, dead services, cut power.

Whatever happens, an honest owner ends with at least the balance of the newest state that is
stored (or guarded, while the device is away), less the slice in flight; or with the own deposit,
if the channel was never funded. adversary/README.md describes the world.
"""

import contextlib
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from perun.channel import ProtocolError
from perun.client.handle import ClientError
from perun.link import LinkError
from perun.model import Allocation, State, SubAlloc, Transaction
from perun.wire.messages import ChannelSync, ChannelUpdate, ChannelUpdateAcc, ChannelUpdateRej
from protocol.adversary.crypto import SWIFT
from protocol.adversary.world import BALANCES, MOST, World

SIDES = st.sampled_from((0, 1))
FUSES = st.sampled_from((None,) * 12 + (0, 1, 2, 3, 4, 5))
OFTEN = st.sampled_from((True, True, True, True, False))
INDEX = st.integers(0, 30)
NOW = st.sampled_from((True, True, False))  # whether it arrives at once
TOTAL = sum(BALANCES)


class Adversary(RuleBasedStateMachine):
    @initialize(
        liar=st.sampled_from((0, 1, 0, 1, None)),
        diligent=st.booleans(),
        open_already=st.sampled_from((True, True, True, False)),
        calm=st.sampled_from((0, 10, 20)),
    )
    def start(self, liar, diligent, open_already, calm):
        self.signed = {}  # version -> what the liar has signed with it, besides its device
        self.calm = calm  # steps until somebody goes to the chain: nothing is paid afterwards
        self.world = World(liar, diligent)
        self.world.open()
        if open_already:
            self.world.deliver_all()
            self.world.pass_time(2)

    @property
    def lying(self):
        return self.world.liar is not None

    @property
    def stormy(self):
        return self.calm <= 0

    def handle(self, side):
        return self.world.devices[side].handle

    # -- what owners do -------------------------------------------------------------------------

    @rule(side=SIDES, amount=st.integers(0, MOST), fuse=FUSES, deliver=OFTEN)
    def pay(self, side, amount, fuse, deliver):
        handle = self.handle(side)
        if handle and not handle._turn.locked() and handle.balance() >= amount:
            self.order(side, handle.pay(amount), fuse, deliver)

    @rule(side=SIDES, fuse=FUSES, deliver=OFTEN, refused=st.booleans())
    def close(self, side, fuse, deliver, refused):
        handle = self.handle(side)
        if handle and not handle._turn.locked():
            self.world.devices[1 - side].allows = not refused
            self.order(side, handle.close(), fuse, deliver)
            self.world.devices[1 - side].allows = True

    @rule(side=SIDES)
    def checkpoint(self, side):
        handle = self.handle(side)
        if handle:
            self.order(side, handle.checkpoint(), None, False)

    @precondition(lambda self: self.stormy)
    @rule(side=SIDES)
    def dispute(self, side):
        handle = self.handle(side)
        if handle:
            self.order(side, handle.dispute(), None, False)

    def order(self, side, work, fuse, deliver):
        async def run():
            with contextlib.suppress(ClientError, LinkError, ProtocolError, ValueError):
                await work

        device = self.world.devices[side]
        device.fuse = fuse if device.fuse is None else device.fuse
        device.spawn(run())
        self.world.settle()
        if deliver:
            self.world.deliver_all()

    @rule(side=SIDES, allows=st.booleans())
    def mood(self, side, allows):
        self.world.devices[side].allows = allows

    # -- what the world does --------------------------------------------------------------------

    @rule(side=SIDES, which=INDEX, again=st.booleans(), fuse=FUSES)
    def deliver(self, side, which, again, fuse):
        self.world.devices[side].fuse = fuse
        self.world.deliver(side, which, again)

    @rule()
    def deliver_everything(self):
        self.world.deliver_all()

    @rule(side=SIDES)
    def lose_everything(self, side):
        self.world.network[side].clear()

    @rule(side=SIDES, which=INDEX)
    def replay(self, side, which):
        log = self.world.log[side]
        if log:
            self.world.network[side].append(log[which % len(log)])

    @rule(side=SIDES)
    def cut_power(self, side):
        self.world.devices[side].switch_off()

    @rule(side=SIDES, fuse=FUSES, deliver=OFTEN)
    def power(self, side, fuse, deliver):
        device = self.world.devices[side]
        if device.client is None:
            self.world.switch_on(side)
            device.fuse = fuse
            self.reconnect(deliver)

    @rule(deliver=OFTEN)
    def reconnect(self, deliver):
        for side in (0, 1):
            self.world.attach(side)
        if deliver:
            self.world.deliver_all()

    @rule(side=SIDES)
    def reconnect_one(self, side):
        self.world.attach(side)

    @rule(payer=SIDES, amount=st.integers(0, MOST))
    def trade(self, payer, amount):
        """Everything works, a payment is made: what comes before and after is what matters."""
        for side in (0, 1):
            device = self.world.devices[side]
            device.allows, device.fuse = True, None
            self.world.services[side].start()
            if device.client is None:
                self.world.switch_on(side)
            elif device.handle and device.handle.peer.connected:
                continue
            self.world.attach(side)
        self.world.settle(70)
        self.world.deliver_all()
        self.pay(payer, amount, None, True)

    @rule(side=SIDES, fuse=st.sampled_from((None, 0, 1, 2, 3)))
    def kill_service(self, side, fuse):
        if fuse is None:
            self.world.services[side].kill()
        else:
            self.world.services[side].fuse = fuse

    @rule(side=SIDES)
    def start_service(self, side):
        self.world.services[side].start()
        self.world.settle()

    @rule(side=SIDES)
    def lose_session(self, side):
        self.world.services[side].hang_up()
        self.world.settle()

    @rule(seconds=st.sampled_from((1, 3, 12, 70, 300, 700)))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)

    # -- what the adversary does ----------------------------------------------------------------

    @precondition(lambda self: self.stormy)
    @rule(which=INDEX, final=st.booleans())
    def register(self, which, final):
        self.world.register(which, final)

    @precondition(lambda self: self.stormy)
    @rule()
    def conclude(self):
        self.world.conclude()

    @precondition(lambda self: self.stormy)
    @rule()
    def loot(self):
        self.world.loot()

    @precondition(lambda self: self.lying)
    @rule(
        step=st.sampled_from((1, 1, 1, 1, 0, -1, 2, 5)),
        gain=st.one_of(st.integers(0, MOST), st.integers(-MOST, MOST)),
        final=st.sampled_from((False, False, False, True)),
        odd=st.sampled_from((None,) * 8 + ("total", "locked", "sig", "actor", "twin")),
        now=NOW,
    )
    def update(self, step, gain, final, odd, now):
        """An update that the adversary's own device would perhaps not send."""
        victim = 1 - self.world.liar
        state = self.next_state(victim, step, gain, final, odd)
        if state and (odd == "twin" or self.is_first(state)):
            sig = self.sign(state)
            if odd == "sig":
                sig = sig[:64] + bytes((sig[64] - 27,))
            actor = victim if odd == "actor" else 1 - victim
            self.world.inject(victim, ChannelUpdate(state, actor, sig), now)

    @precondition(lambda self: self.lying)
    @rule(which=INDEX, good=st.booleans(), now=NOW)
    def acknowledge(self, which, good, now):
        """Sign, late or wrongly, something that the victim has signed."""
        victim = 1 - self.world.liar
        known = list(self.world.loose[victim])
        if known:
            state = known[which % len(known)]
            wrong = state._replace(is_final=not state.is_final)
            sig = self.sign(state if good else wrong)
            self.world.inject(victim, ChannelUpdateAcc(state.id, state.version, sig), now)

    @precondition(lambda self: self.lying)
    @rule(step=st.sampled_from((0, 0, 0, -1, 1)), now=NOW)
    def refuse(self, step, now):
        """Refuse what the victim has proposed, or something else."""
        victim = 1 - self.world.liar
        handle = self.handle(victim)
        if handle:
            staged = handle.machine.staged
            version = max((staged.state.version if staged else handle.version) + step, 0)
            self.world.inject(victim, ChannelUpdateRej(handle.id, version, "no"), now)

    @precondition(lambda self: self.lying)
    @rule(which=INDEX, step=st.integers(-1, 3), forged=st.booleans(), now=NOW)
    def sync(self, which, step, forged, now):
        """Show an old state, one that was half-signed, or one that nobody has signed."""
        victim = 1 - self.world.liar
        known = self.world.signed_by_both()
        if forged:
            state = self.next_state(victim, step, MOST, False, None)
            if state:
                sigs = [self.sign(state)] * 2
                self.world.inject(victim, ChannelSync(3, Transaction(state, tuple(sigs))), now)
        elif known:
            state, sigs = known[which % len(known)]
            self.world.inject(victim, ChannelSync(3, Transaction(state, tuple(sigs))), now)

    def next_state(self, victim, step, gain, final, odd):
        handle = self.handle(victim)
        if not handle:
            return None
        state = handle.state
        row = list(state.allocation.balances[0])
        row[victim] = max(row[victim] + gain, 0)
        row[1 - victim] = TOTAL - row[victim]
        if row[1 - victim] < 0:
            return None
        if odd == "total":
            row[1 - victim] += 1
        locked = (SubAlloc(bytes(32), (1,), ()),) if odd == "locked" else ()
        allocation = Allocation(state.allocation.assets, (tuple(row),), locked)
        version = max(handle.machine.next_version - 1 + step, 0)
        return State(state.id, version, state.app, allocation, b"", final)

    def is_first(self, state):
        """Whether the liar signs nothing else with this version."""
        others = [one for one in self.world.loose[self.world.liar] if one.version == state.version]
        return not others and self.signed.setdefault(state.version, state) == state

    def sign(self, state):
        return SWIFT.sign(self.world.devices[self.world.liar].account, SWIFT.state_hash(state))

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self):
        if hasattr(self, "world"):
            self.world.check()
            self.calm -= 1

    def teardown(self):
        if hasattr(self, "world"):
            try:
                self.world.finish()
            finally:
                self.world.close()


EXAMPLES = int(os.environ.get("SOAK_EXAMPLES", "0")) or 300

Adversary.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestAdversary = Adversary.TestCase
