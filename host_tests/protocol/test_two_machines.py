"""Two channel machines over a network that loses, repeats and reorders; a crash at any effect.

What must hold at every step, whatever happens: a side never lets two different states with one
version out of its hands; both sides agree on every version that both hold; what a side stored
never goes back; nobody's money appears or vanishes.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from channels import ALICE, BOB, machines
from perun.chain.ethereum import Ethereum
from perun.channel import DOUBT_PEER, SIGNING, Ask, Persist, ProtocolError, Send
from perun.client.keeping import load_channel
from perun.client.records import dump_channel
from perun.model import transfer, with_balances
from perun.model.rules import RuleError, totals
from perun.wire.messages import ChannelUpdate, ChannelUpdateAcc

ACCOUNTS = (ALICE, BOB)
SIDES = st.sampled_from((0, 1))
CHAIN = Ethereum()


class TwoMachines(RuleBasedStateMachine):
    @initialize(open_already=st.sampled_from((True, True, False)))
    def start(self, open_already):
        self.machines = machines()
        self.stored = [dump_channel(machine) for machine in self.machines]
        self.network = ([], [])  # messages on their way to each side
        self.released = ({}, {})  # version -> the state whose signature left this side
        self.seen = [-1, -1]  # the newest version that each side stored as fully signed
        self.total = totals(self.machines[0].current.state.allocation)
        for side in (0, 1):
            self.run(side, self.machines[side].open())
        if open_already:
            for side in (0, 1):
                self.deliver_everything(side)
                self.fund(side)

    # -- the world ------------------------------------------------------------------------------

    def run(self, side, effects, until=None):
        """Execute effects as a client does; a crash comes after `until` of them."""
        for count, effect in enumerate(effects):
            if count == until:
                self.crash(side)
                return
            machine = self.machines[side]
            if type(effect) is Persist:
                self.stored[side] = dump_channel(machine)
            elif type(effect) is Send:
                self.release(side, effect.message)
                self.network[1 - side].append(effect.message)
            elif type(effect) is Ask:
                answer = machine.accept() if self.agrees else machine.reject("no")
                self.run(side, answer, until)

    def release(self, side, message):
        """A signature leaves: there is never another one for its version."""
        if type(message) is ChannelUpdate:
            state = message.state
        elif type(message) is ChannelUpdateAcc:
            state = self.machines[side].current.state
            assert state.version == message.version
        else:
            return
        assert self.released[side].setdefault(state.version, state) == state
        # And it is in the store already, so that no crash can make this side forget it.
        stored = load_channel(self.stored[side], CHAIN, ACCOUNTS[side])
        own = [stored.current.state] + ([stored.staged.state] if stored.staged else [])
        assert state in own

    def crash(self, side):
        self.machines[side] = load_channel(self.stored[side], CHAIN, ACCOUNTS[side])
        self.machines[side].doubts = DOUBT_PEER

    # -- what may happen ------------------------------------------------------------------------

    agrees = True

    @rule(agrees=st.booleans())
    def mood(self, agrees):
        self.agrees = agrees

    @rule(side=SIDES)
    def fund(self, side):
        self.run(side, self.machines[side].funded())

    @rule(side=SIDES, amount=st.integers(0, 30), until=st.sampled_from((None, None, 0, 1)))
    def pay(self, side, amount, until):
        machine = self.machines[side]
        try:
            effects = machine.propose(
                transfer(machine.current.state, side, (amount,), machine.next_version)
            )
        except ValueError:  # not open, not enough money, or signed otherwise
            return
        self.run(side, effects, until)

    @rule(side=SIDES)
    def finalize(self, side):
        machine = self.machines[side]
        state = machine.current.state
        try:
            self.run(
                side,
                machine.propose(
                    with_balances(state, state.allocation.balances, True, machine.next_version)
                ),
            )
        except RuleError:
            pass

    @rule(
        side=SIDES,
        which=st.integers(0, 20),
        again=st.booleans(),
        until=st.sampled_from((None, None, None, 0, 1, 2)),
    )
    def deliver(self, side, which, again, until):
        queue = self.network[side]
        if not queue:
            return
        which %= len(queue)
        self.give(side, queue[which] if again else queue.pop(which), until)

    def give(self, side, message, until=None):
        try:
            effects = self.machines[side].receive(message)
        except ProtocolError:
            return
        self.run(side, effects, until)

    @rule(side=SIDES)
    def deliver_everything(self, side):
        while self.network[side]:
            self.give(side, self.network[side].pop(0))

    @rule(side=SIDES)
    def lose_everything(self, side):
        self.network[side].clear()

    @rule(side=SIDES)
    def restart(self, side):
        self.crash(side)

    @rule(side=SIDES)
    def retry(self, side):
        self.run(side, self.machines[side].retry())

    @rule(side=SIDES, again=st.booleans())
    def reconnect(self, side, again=False):
        machine = self.machines[side]
        self.run(side, machine.again() if again else machine.ask())

    def teardown(self):
        """Whatever happened: when both are connected again they agree on the newest state."""
        if not hasattr(self, "machines"):
            return
        for side in (0, 1):
            self.network[side].clear()
        for _ in range(3):
            for side in (0, 1):
                self.reconnect(side)
            for side in (0, 1):
                self.deliver_everything(side)
                self.fund(side)
                self.retry(side)
                self.deliver_everything(1 - side)
        assert self.machines[0].current == self.machines[1].current
        for machine in self.machines:
            assert machine.phase != SIGNING and not machine.doubts

    # -- what must hold ---------------------------------------------------------------------------

    @invariant()
    def both_agree(self):
        first, second = (machine.current.state for machine in self.machines)
        if first.version == second.version:
            assert first == second
        assert not any(machine.evidence for machine in self.machines)  # both are honest

    @invariant()
    def money_is_conserved(self):
        for machine in self.machines:
            assert totals(machine.current.state.allocation) == self.total

    @invariant()
    def the_store_never_goes_back(self):
        for side, data in enumerate(self.stored):
            version = load_channel(data, CHAIN, ACCOUNTS[side]).current.state.version
            assert version >= self.seen[side]
            self.seen[side] = version

    @invariant()
    def what_counts_is_signed_by_both(self):
        for machine in self.machines:
            state, sigs = machine.current
            if state.version == 0:
                continue  # the peer's signature may be missing yet
            state_hash = CHAIN.state_hash(state)
            for account, sig in zip(ACCOUNTS, sigs):
                assert CHAIN.verify(account.address, state_hash, sig)


TwoMachines.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, print_blob=True
)
TestTwoMachines = TwoMachines.TestCase
