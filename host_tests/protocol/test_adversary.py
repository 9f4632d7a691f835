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
ORDERS = st.sampled_from(("close", "checkpoint", "dispute"))
PAYMENTS = ("all is well", "all is well", "delivered", "lost")
CROSSINGS = ("pay", "pay", "close")
NETWORK = ("deliver", "deliver", "deliver and keep", "lose", "replay")
POWER = ("cut", "on", "on", "one link", "reluctant")
ANSWERS = ("acc", "rej", "sync", "forged_sync")
INDEX = st.integers(0, 30)
NOW = st.sampled_from((True, True, False))  # whether it arrives at once
TOTAL = sum(BALANCES)


class Adversary(RuleBasedStateMachine):
    @initialize(
        liar=st.sampled_from((0, 1, 0, 1, None)),
        diligent=st.booleans(),
        open_already=st.sampled_from((True, True, True, False)),
        calm=st.sampled_from((0, 15, 40)),
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

    @rule(side=SIDES, amount=st.integers(0, MOST), fuse=FUSES, how=st.sampled_from(PAYMENTS))
    def pay(self, side, amount, fuse, how):
        if how == "all is well":
            self.repair()
        handle = self.handle(side)
        if handle and not handle.turn.locked() and handle.balance() >= amount:
            self.world.spent[side] += amount
            self.order(side, handle.pay(amount), fuse, how != "lost")

    def repair(self):
        """Everything works: what comes before and after is what matters."""
        for side in (0, 1):
            device = self.world.devices[side]
            device.allows, device.fuse = True, None
            self.world.services[side].start()
            if device.client is None:
                self.world.switch_on(side)
            elif device.handle and device.handle.peer.connected:
                continue
            self.world.attach(side)
        self.world.settle(70)  # the longest pause of a guardian
        self.world.deliver_all()

    @rule(side=SIDES, fuse=FUSES, deliver=OFTEN, refused=st.booleans(), what=ORDERS)
    def order_something(self, side, fuse, deliver, refused, what):
        handle = self.handle(side)
        if not handle or handle.turn.locked() or (what == "dispute" and not self.stormy):
            return
        self.world.devices[1 - side].allows = not refused
        self.order(side, getattr(handle, what)(), fuse, deliver)
        self.world.devices[1 - side].allows = True

    @rule(side=SIDES, amount=st.integers(0, MOST), fuse=FUSES, what=st.sampled_from(CROSSINGS))
    def cross(self, side, amount, fuse, what):
        """Both begin before either hears of it: a payment, and a payment or the end."""
        self.pay(side, amount, None, "lost")
        if what == "pay":
            self.pay(1 - side, amount, fuse, "delivered")
        else:
            self.order_something(1 - side, fuse, True, False, what)

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

    # -- what the world does --------------------------------------------------------------------

    @rule(side=SIDES, which=INDEX, fuse=FUSES, what=st.sampled_from(NETWORK))
    def network(self, side, which, fuse, what):
        world = self.world
        if what == "lose":
            world.network[side].clear()
        elif what == "replay":
            if world.log[side]:
                world.network[side].append(world.log[side][which % len(world.log[side])])
        else:
            world.devices[side].fuse = fuse
            world.deliver(side, which, what == "deliver and keep")

    @rule(side=SIDES, fuse=FUSES, deliver=OFTEN, what=st.sampled_from(POWER))
    def power(self, side, fuse, deliver, what):
        world, device = self.world, self.world.devices[side]
        if what == "cut":
            device.switch_off()
        elif what == "one link":
            world.attach(side)
        elif what == "reluctant":
            device.allows = not device.allows
        else:
            if device.client is None:
                world.switch_on(side)
                device.fuse = fuse
            for end in (0, 1):
                world.attach(end)
        if deliver:
            world.deliver_all()

    @rule(side=SIDES, what=st.sampled_from(("kill", "hang up", "start", 0, 1, 2, 3)))
    def service(self, side, what):
        service = self.world.services[side]
        if what == "kill":
            service.kill()
        elif what == "hang up":
            service.hang_up()
        elif what == "start":
            service.start()
        else:
            service.fuse = what
        self.world.settle()

    @rule(seconds=st.sampled_from((1, 3, 12, 70, 300, 700)))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)

    # -- what the adversary does ----------------------------------------------------------------

    @precondition(lambda self: self.stormy)
    @rule(which=INDEX, what=st.sampled_from(("register", "end", "conclude", "loot")))
    def chain(self, which, what):
        if what == "conclude":
            self.world.conclude()
        elif what == "loot":
            self.world.loot()
        else:
            self.world.register(which, what == "end")

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
    @rule(which=INDEX, step=st.integers(-1, 3), now=NOW, what=st.sampled_from(ANSWERS))
    def answer(self, which, step, now, what):
        """Sign late or wrongly what the victim has signed; refuse it; show what is old, what was
        half-signed, or what nobody has signed."""
        victim = 1 - self.world.liar
        message = getattr(self, "_" + what)(victim, which, step)
        if message:
            self.world.inject(victim, message, now)

    def _acc(self, victim, which, step):
        known = list(self.world.loose[victim])
        if known:
            state = known[which % len(known)]
            wrong = state._replace(is_final=not state.is_final)
            return ChannelUpdateAcc(state.id, state.version, self.sign(state if step else wrong))

    def _rej(self, victim, which, step):
        handle = self.handle(victim)
        if handle:
            staged = handle.machine.staged
            version = staged.state.version if staged and step else handle.version + max(step, 0)
            return ChannelUpdateRej(handle.id, version, "no")

    def _sync(self, victim, which, step):
        known = self.world.signed_by_both()
        if known:
            state, sigs = known[which % len(known)]
            return ChannelSync(3, Transaction(state, tuple(sigs)))

    def _forged_sync(self, victim, which, step):
        state = self.next_state(victim, step, MOST, False, None)
        if state:
            return ChannelSync(3, Transaction(state, (self.sign(state), self.sign(state))))

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
