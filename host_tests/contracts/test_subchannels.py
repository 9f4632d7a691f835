"""Sub-channels and virtual channels: whole trees are registered and concluded."""

import oracle
import pytest
from contracts.anvil import CHAIN_ID
from scene import ALICE, BOB, DURATION, INGRID, outcomes, reverts

DISPUTE, CONCLUDED = 0, 2


def lock(child, *amounts, index_map=(0, 1)):
    return (child.id, list(amounts), list(index_map))


class Family:
    """A ledger channel with two children, the first with a child of its own."""

    def __init__(self, scene):
        self.top = scene.open()
        self.left = scene.open(ledger=False, nonce=2)
        self.inner = scene.open(ledger=False, nonce=3)
        self.right = scene.open(ledger=False, nonce=4)
        self.inner_state = self.inner.state(1, [1, 2])
        self.left_state = self.left.state(2, [4, 0], locked=[lock(self.inner, 3)])
        self.right_state = self.right.state(3, [0, 5])
        self.state = self.top.state(
            4, [10, 20], locked=[lock(self.left, 7), lock(self.right, 5, index_map=(1, 0))]
        )
        self.children = [
            self.left.signed(self.left_state),
            self.inner.signed(self.inner_state),
            self.right.signed(self.right_state),
        ]
        self.child_states = [self.left_state, self.inner_state, self.right_state]


@pytest.fixture
def family(scene):
    return Family(scene)


def test_parents_first(scene, family):
    sent = scene.register(family.top, family.state, *family.children)
    timeout = sent.timestamp + DURATION
    assert outcomes(sent) == [
        (family.top.id, 4, DISPUTE, timeout),
        (family.left.id, 2, DISPUTE, timeout),
        (family.inner.id, 1, DISPUTE, timeout),
        (family.right.id, 3, DISPUTE, timeout),
    ]


def test_conclude_adds_up(scene, family):
    scene.deposit(family.top, 30, 12)
    sent = scene.register(family.top, family.state, *family.children)
    scene.node.at(sent.timestamp + DURATION)
    sent = scene.conclude(family.top, family.state, *family.child_states)
    timeout = sent.timestamp
    assert outcomes(sent) == [
        (family.top.id, 4, CONCLUDED, timeout),
        (family.left.id, 2, CONCLUDED, timeout),
        (family.inner.id, 1, CONCLUDED, timeout),
        (family.right.id, 3, CONCLUDED, timeout),
    ]
    # 10 + (4 + 1) + 5 of the swapped child; 20 + (0 + 2) + 0
    assert scene.holdings(family.top) == [20, 22]
    assert scene.chain.eth_holder.functions.settled(family.top.id).call()
    assert not scene.chain.eth_holder.functions.settled(family.left.id).call()


def test_more_than_needed_is_ignored(scene, family):
    stranger = scene.open(nonce=9, ledger=False)
    signed = stranger.signed(stranger.state(1))
    sent = scene.register(family.top, family.state, *family.children, signed)
    assert len(outcomes(sent)) == 4
    assert scene.dispute(stranger)[4] == bytes(32)
    scene.node.at(sent.timestamp + DURATION)
    scene.conclude(family.top, family.state, *family.child_states, stranger.state(1))


def test_refuting_a_child(scene, family):
    """The whole tree again; what did not change is skipped without an event."""
    first = scene.register(family.top, family.state, *family.children)
    newer = family.right.state(4, [5, 0])
    children = [*family.children[:2], family.right.signed(newer)]
    scene.node.at(first.timestamp + 10)
    sent = scene.register(family.top, family.state, *children)
    assert outcomes(sent) == [(family.right.id, 4, DISPUTE, first.timestamp + DURATION)]
    scene.deposit(family.top, 42, 0)
    scene.node.at(first.timestamp + DURATION)
    scene.conclude(family.top, family.state, family.left_state, family.inner_state, newer)
    assert scene.holdings(family.top) == [15, 27]


def test_refuting_the_parent(scene, family):
    """A newer parent may have settled a child meanwhile."""
    scene.register(family.top, family.state, *family.children)
    newer = family.top.state(5, [10, 25], locked=[lock(family.left, 7)])
    sent = scene.register(family.top, newer, *family.children[:2])
    assert [event[0] for event in outcomes(sent)] == [family.top.id]


@pytest.mark.differs("the text when sub-channels are missing")
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_children_are_missing(scene, family, missing):
    children = family.children[:-missing]
    reverts("subChannels too short", scene.register, family.top, family.state, *children)
    sent = scene.register(family.top, family.state, *family.children)
    scene.node.at(sent.timestamp + DURATION)
    states = family.child_states[:-missing]
    reverts("subChannels too short", scene.conclude, family.top, family.state, *states)


def test_order_of_children(scene, family):
    left, inner, right = family.children
    reverts("invalid sub-channel id", scene.register, family.top, family.state, right, left, inner)
    reverts("invalid sub-channel id", scene.register, family.top, family.state, left, right, inner)
    sent = scene.register(family.top, family.state, left, inner, right)
    scene.node.at(sent.timestamp + DURATION)
    states = family.child_states[::-1]
    reverts("invalid subchannel id", scene.conclude, family.top, family.state, *states)


def one_child(scene, child_state, amounts, child=None, top=None):
    child = child or scene.open(ledger=False, nonce=2)
    top = top or scene.open()
    state = top.state(1, locked=[lock(child, *amounts)])
    return top, state, child.signed(child_state(child))


def test_child_has_other_balances(scene):
    for amounts, reason in (
        ([6], "uint256[]: unequal item"),
        ([8], "uint256[]: unequal item"),
        ([7, 0], "uint256[]: unequal length"),
        ([], "uint256[]: unequal length"),
    ):
        tree = one_child(scene, lambda child: child.state(1, [3, 4]), amounts)
        reverts(reason, scene.register, *tree)


def test_locked_money_of_a_child_counts(scene, family):
    left = family.left.state(2, [4, 0], locked=[lock(family.inner, 2)])
    children = [family.left.signed(left), *family.children[1:]]
    reverts("uint256[]: unequal item", scene.register, family.top, family.state, *children)


def test_child_has_other_assets(scene):
    for assets, reason in (
        ([(CHAIN_ID, scene.eth), (CHAIN_ID, scene.erc20)], "Asset[]: unequal length"),
        ([(CHAIN_ID + 1, scene.eth)], "unequal chainID"),
        ([(CHAIN_ID, scene.erc20)], "unequal ethHolder"),
    ):
        child = scene.open(ledger=False, nonce=2, assets=assets)
        tree = one_child(scene, lambda child: child.state(1, [3, 4]), [7] * len(assets), child)
        reverts(reason, scene.register, *tree)


def test_child_has_other_foreign_holder(scene):
    def changed(child):
        identity, version, (assets, *others), data, final = child.state(1, [3, 4])
        assets = [(chain, holder, b"elsewhere") for chain, holder, _ in assets]
        return (identity, version, (assets, *others), data, final)

    reverts("unequal ccHolder", scene.register, *one_child(scene, changed, [7]))


def test_child_is_signed(scene, family):
    params, state, sigs = family.children[2]
    children = [*family.children[:2], (params, state, sigs[::-1])]
    reverts("invalid signature", scene.register, family.top, family.state, *children)
    # nothing of a tree stays if one branch is bad
    assert scene.dispute(family.top)[4] == bytes(32)


def test_child_has_its_params(scene, family):
    params, state, sigs = family.children[2]
    children = [*family.children[:2], (family.left.params, state, sigs)]
    reverts("invalid params", scene.register, family.top, family.state, *children)


def test_older_child(scene, family):
    scene.register(family.top, family.state, *family.children)
    older = family.right.state(2, [5, 0])
    children = [*family.children[:2], family.right.signed(older)]
    reverts("invalid version", scene.register, family.top, family.state, *children)


def test_conclude_other_child_state(scene, family):
    sent = scene.register(family.top, family.state, *family.children)
    scene.node.at(sent.timestamp + DURATION)
    states = [*family.child_states[:2], family.right.state(4, [5, 0])]
    reverts("invalid state", scene.conclude, family.top, family.state, *states)
    assert scene.dispute(family.top)[3] == DISPUTE


def test_child_alone(scene):
    """A sub-channel that no registered tree contains cannot be concluded with one."""
    child = scene.open(ledger=False, nonce=2)
    top = scene.open()
    sent = scene.register(top, top.state(1))
    scene.node.at(sent.timestamp + DURATION)
    reverts("not ledger", scene.conclude, child, child.state(1))
    reverts("not ledger", scene.register, child, child.state(1))


def test_two_assets(scene):
    assets = [(CHAIN_ID, scene.eth), (CHAIN_ID, scene.erc20)]
    top = scene.open(assets=assets)
    child = scene.open(assets=assets, ledger=False, nonce=2)
    inner = child.state(1, [[1, 2], [30, 40]])
    state = top.state(1, [[5, 5], [0, 0]], locked=[lock(child, 3, 70)])
    scene.deposit(top, 13, 0)
    scene.deposit_tokens(top, 70, 0)
    sent = scene.register(top, state, child.signed(inner))
    scene.node.at(sent.timestamp + DURATION)
    scene.conclude(top, state, inner)
    assert scene.holdings(top) == [6, 7]
    assert scene.holdings(top, scene.chain.erc20_holder) == [30, 40]


def test_app_child(scene):
    """A child with an app is progressed by itself, and concluded in any phase."""
    child = scene.open(ledger=False, nonce=2, app=scene.trivial_app())
    top = scene.open()
    inner = child.state(1, [3, 4])
    state = top.state(1, locked=[lock(child, 7)])
    sent = scene.register(top, state, child.signed(inner))
    scene.deposit(top, 27, 0)
    scene.node.at(sent.timestamp + DURATION)
    moved = child.state(2, [7, 0])
    scene.progress(child, inner, moved)
    reverts("invalid state", scene.conclude, top, state, inner)
    scene.conclude(top, state, moved)
    assert scene.holdings(top) == [17, 10]


SHORT = pytest.param((0,), marks=pytest.mark.differs("an index map that is too short"))


@pytest.mark.parametrize("index_map", [(0, 2), SHORT])
def test_index_map_outside(scene, index_map):
    child = scene.open(ledger=False, nonce=2)
    top = scene.open()
    inner = child.state(1, [3, 4])
    state = top.state(1, locked=[lock(child, 7, index_map=index_map)])
    sent = scene.register(top, state, child.signed(inner))
    scene.node.at(sent.timestamp + DURATION)
    reverts("panic 0x32", scene.conclude, top, state, inner)


# virtual channels


class Hub:
    """Alice and Bob have a channel through Ingrid, who has a ledger channel with each."""

    def __init__(self, scene):
        self.virtual = scene.open(ledger=False, virtual=True)
        self.with_alice = scene.open((ALICE, INGRID), nonce=2)
        self.with_bob = scene.open((INGRID, BOB), nonce=3)
        self.inner = self.virtual.state(2, [6, 1])
        # in the first parent Ingrid stands for Bob, in the second for Alice
        self.alice_state = self.with_alice.state(1, [10, 10], locked=[lock(self.virtual, 7)])
        self.bob_state = self.with_bob.state(1, [20, 20], locked=[lock(self.virtual, 7)])


@pytest.fixture
def hub(scene):
    return Hub(scene)


def test_virtual_in_both_parents(scene, hub):
    scene.deposit(hub.with_alice, 27, 0)
    scene.deposit(hub.with_bob, 0, 47)
    signed = hub.virtual.signed(hub.inner)
    first = scene.register(hub.with_alice, hub.alice_state, signed)
    assert [event[0] for event in outcomes(first)] == [hub.with_alice.id, hub.virtual.id]
    second = scene.register(hub.with_bob, hub.bob_state, signed)
    assert [event[0] for event in outcomes(second)] == [hub.with_bob.id]
    scene.node.at(second.timestamp + DURATION)
    sent = scene.conclude(hub.with_alice, hub.alice_state, hub.inner)
    assert [event[0] for event in outcomes(sent)] == [hub.with_alice.id, hub.virtual.id]
    # already concluded: only counted
    sent = scene.conclude(hub.with_bob, hub.bob_state, hub.inner)
    assert [event[0] for event in outcomes(sent)] == [hub.with_bob.id]
    assert scene.holdings(hub.with_alice) == [16, 11]
    assert scene.holdings(hub.with_bob) == [26, 21]


def test_virtual_refuted_through_the_other_parent(scene, hub):
    scene.register(hub.with_alice, hub.alice_state, hub.virtual.signed(hub.inner))
    newer = hub.virtual.state(3, [0, 7])
    sent = scene.register(hub.with_bob, hub.bob_state, hub.virtual.signed(newer))
    assert [event[:2] for event in outcomes(sent)] == [
        (hub.with_bob.id, 1),
        (hub.virtual.id, 3),
    ]
    scene.node.at(sent.timestamp + DURATION)
    reverts("invalid state", scene.conclude, hub.with_alice, hub.alice_state, hub.inner)
    scene.conclude(hub.with_alice, hub.alice_state, newer)


def test_virtual_with_swapped_map(scene, hub):
    """Bob's parent may list Bob first."""
    with_bob = scene.open((BOB, INGRID), nonce=4)
    state = with_bob.state(1, [20, 20], locked=[lock(hub.virtual, 7, index_map=(1, 0))])
    scene.deposit(with_bob, 0, 47)
    sent = scene.register(with_bob, state, hub.virtual.signed(hub.inner))
    scene.node.at(sent.timestamp + DURATION)
    scene.conclude(with_bob, state, hub.inner)
    assert scene.holdings(with_bob) == [21, 26]


def test_virtual_restrictions(scene, hub):
    with_app = scene.open(ledger=False, virtual=True, app=b"\x42" * 20)
    state = hub.with_alice.state(1, locked=[lock(with_app, 20)])
    signed = with_app.signed(with_app.state(1))
    reverts("cannot have app", scene.register, hub.with_alice, state, signed)
    inner = scene.open(ledger=False, nonce=5)
    locked = hub.virtual.state(1, [6, 1], locked=[lock(inner, 0)])
    signed = [hub.virtual.signed(locked), inner.signed(inner.state(1, [0, 0]))]
    reverts("funds locked", scene.register, hub.with_alice, hub.alice_state, *signed)


def test_oracle_tells_virtual_channels_apart(hub):
    ids = {oracle.channel_id(channel.params) for channel in (hub.virtual, hub.with_alice)}
    assert len(ids) == 2
