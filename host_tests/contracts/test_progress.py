"""progress: an app channel moved on by one participant."""

import oracle
import pytest
from contracts.anvil import CHAIN_ID
from scene import BOB, DURATION, outcomes, reverts

FORCEEXEC = 1


@pytest.fixture
def channel(scene):
    return scene.open(app=scene.trivial_app())


@pytest.fixture
def old(channel):
    return channel.state(1)


@pytest.fixture
def registered(scene, channel, old):
    """The time of a registration whose refutation is over with the next block."""
    sent = scene.register(channel, old)
    scene.node.at(sent.timestamp + DURATION)
    return sent.timestamp


def test_first(scene, channel, old, registered):
    new = channel.state(2, [0, 20], data=b"moved")
    sent = scene.progress(channel, old, new, 1)
    timeout = sent.timestamp + DURATION
    assert sent.timestamp == registered + DURATION
    assert outcomes(sent) == [(channel.id, 2, FORCEEXEC, timeout)]
    expected = (timeout, DURATION, 2, FORCEEXEC, oracle.state_hash(new), True)
    assert scene.dispute(channel) == expected


def test_too_early(scene, channel, old):
    sent = scene.register(channel, old)
    scene.node.at(sent.timestamp + DURATION - 1)
    reverts("timeout not passed", scene.progress, channel, old, channel.state(2))


def test_first_has_no_end(scene, channel, old, registered):
    """Until somebody concludes."""
    scene.node.at(registered + 100 * DURATION)
    scene.progress(channel, old, channel.state(2))


def test_next_has_an_end(scene, channel, old, registered):
    second, third, fourth = (channel.state(version) for version in (2, 3, 4))
    scene.progress(channel, old, second, 0)
    sent = scene.progress(channel, second, third, 1)
    assert outcomes(sent) == [(channel.id, 3, FORCEEXEC, sent.timestamp + DURATION)]
    scene.node.at(sent.timestamp + DURATION - 1)
    sent = scene.progress(channel, third, fourth, 1)
    scene.node.at(sent.timestamp + DURATION)
    reverts("timeout passed", scene.progress, channel, fourth, channel.state(5))


def test_to_a_final_state(scene, channel, old, registered):
    new = channel.state(2, final=True)
    sent = scene.progress(channel, old, new)
    assert outcomes(sent) == [(channel.id, 2, FORCEEXEC, sent.timestamp)]
    reverts("timeout passed", scene.progress, channel, new, channel.state(3))
    scene.conclude(channel, new)


def test_from_a_final_state(scene, channel):
    final = channel.state(1, final=True)
    scene.register(channel, final)
    reverts("cannot progress from final state", scene.progress, channel, final, channel.state(2))


def test_after_conclusion(scene, channel, old, registered):
    scene.node.at(registered + 2 * DURATION)
    scene.conclude(channel, old)
    reverts("invalid phase", scene.progress, channel, old, channel.state(2))


def test_not_registered(scene, channel, old):
    reverts("not registered", scene.progress, channel, old, channel.state(2))


def test_without_app(scene):
    channel = scene.open()
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + DURATION)
    reverts("must have app", scene.progress, channel, channel.state(1), channel.state(2))


def test_actor_out_of_range(scene, channel, old, registered):
    new = channel.state(2)
    sig = channel.sign(new)[0]
    reverts("actorIdx out of range", scene.progress, channel, old, new, 2, sig)
    reverts("actorIdx out of range", scene.progress, channel, old, new, 2**256 - 1, sig)


def test_other_params(scene, channel, old, registered):
    other = scene.open(app=channel.params[3], nonce=2)
    new = channel.state(2)
    call = scene.calls.progress(other.params, old, new, 0, channel.sign(new)[0])
    reverts("invalid params", scene.chain.send, call)


def test_wrong_old_state(scene, channel, old, registered):
    wrong = channel.state(1, [11, 9])
    reverts("wrong old state", scene.progress, channel, wrong, channel.state(2))


def test_wrong_signer(scene, channel, old, registered):
    new = channel.state(2)
    sig = oracle.sign(BOB, oracle.state_bytes(new))
    reverts("invalid signature", scene.progress, channel, old, new, 0, sig)
    reverts("ECDSA: invalid signature length", scene.progress, channel, old, new, 0, b"")


@pytest.mark.parametrize("version", [0, 1, 3])
def test_version(scene, channel, old, registered, version):
    new = channel.state(version)
    reverts("version must increment by one", scene.progress, channel, old, new)


def test_last_version(scene, channel):
    last = channel.state(2**64 - 1)
    sent = scene.register(channel, last)
    scene.node.at(sent.timestamp + DURATION)
    reverts("panic 0x11", scene.progress, channel, last, channel.state(0))


# what an app cannot do: touch money it was not given

SUB = (b"\x77" * 32, [3], [0, 1])


def with_locked(channel, *locked):
    return channel.state(2, locked=list(locked))


CHANGES = {
    "more money": ({"balances": [10, 11]}, "sum of balances mismatch"),
    "less money": ({"balances": [10, 9]}, "sum of balances mismatch"),
    "row too short": ({"balances": [20]}, "new balances length mismatch"),
    "row too long": ({"balances": [10, 10, 0]}, "new balances length mismatch"),
    "no row": ({"balances": []}, "balances length mismatch"),
    "two rows": ({"balances": [[10, 10], [0, 0]]}, "balances length mismatch"),
    "locked": ({"locked": [SUB]}, "SubAlloc[]: unequal length"),
    "overflow": ({"balances": [2**255, 2**255]}, "panic 0x11"),
}


def rows(channel, version, balances, **more):
    """Like Channel.state, but the rows are what they are."""
    return oracle.state(channel.id, version, channel.assets, balances, **more)


@pytest.mark.parametrize("name", CHANGES)
def test_money_stays(scene, channel, old, registered, name):
    changes, reason = CHANGES[name]
    balances = changes.get("balances", [10, 10])
    if balances and isinstance(balances[0], int):
        balances = [balances]
    new = rows(channel, 2, balances, locked=changes.get("locked", ()))
    reverts(reason, scene.progress, channel, old, new)


def test_old_row_length(scene, channel):
    old = channel.state(1, [10, 10, 0])
    sent = scene.register(channel, old)
    scene.node.at(sent.timestamp + DURATION)
    reverts("old balances length mismatch", scene.progress, channel, old, channel.state(2))


ASSETS = {
    "more": lambda eth: ([(CHAIN_ID, eth)] * 2, "assets length mismatch"),
    "none": lambda eth: ([], "assets length mismatch"),
    "chain": lambda eth: ([(CHAIN_ID + 1, eth)], "unequal chainID"),
    "holder": lambda eth: ([(CHAIN_ID, b"\x42" * 20)], "unequal ethHolder"),
}


@pytest.mark.parametrize("name", ASSETS)
def test_assets_stay(scene, channel, old, registered, name):
    assets, reason = ASSETS[name](scene.eth)
    new = oracle.state(channel.id, 2, assets, [[10, 10]])
    reverts(reason, scene.progress, channel, old, new)


def test_foreign_holder_stays(scene, channel, old, registered):
    identity, version, (assets, *others), data, final = channel.state(2)
    changed = [(chain, holder, b"elsewhere") for chain, holder, _ in assets]
    new = (identity, version, (changed, *others), data, final)
    reverts("unequal ccHolder", scene.progress, channel, old, new)


LOCKED = {
    "id": ((b"\x78" * 32, [3], [0, 1]), "SubAlloc: unequal ID"),
    "amount": ((b"\x77" * 32, [4], [0, 1]), "uint256[]: unequal item"),
    "amounts": ((b"\x77" * 32, [3, 0], [0, 1]), "uint256[]: unequal length"),
    "map": ((b"\x77" * 32, [3], [1, 0]), "uint16[]: unequal item"),
    "shorter map": ((b"\x77" * 32, [3], [0]), "uint16[]: unequal length"),
}


@pytest.fixture
def parent(scene, channel):
    """An app channel with money in a child, registered; its state and a child's."""
    child = scene.open(ledger=False)
    inner = child.state(1, [1, 2])
    state = channel.state(1, locked=[(child.id, [3], [0, 1])])
    sent = scene.register(channel, state, child.signed(inner))
    scene.node.at(sent.timestamp + DURATION)
    return state, child, inner


@pytest.mark.parametrize("name", LOCKED)
def test_locked_funds_stay(scene, channel, parent, name):
    state, child, _ = parent
    (identity, amounts, index_map), reason = LOCKED[name]
    if name != "id":
        identity = child.id
    new = channel.state(2, locked=[(identity, amounts, index_map)])
    reverts(reason, scene.progress, channel, state, new)


def test_progress_beside_locked_funds(scene, channel, parent):
    state, child, inner = parent
    new = channel.state(2, [4, 16], locked=[(child.id, [3], [0, 1])])
    sent = scene.progress(channel, state, new)
    scene.deposit(channel, 20, 3)
    scene.node.at(sent.timestamp + DURATION)
    scene.conclude(channel, new, inner)
    assert scene.holdings(channel) == [5, 18]


# the app decides


def test_app_refuses(scene):
    """An address without code is an app that accepts nothing."""
    channel = scene.open(app=b"\x42" * 20)
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + DURATION)
    before = scene.dispute(channel)
    with pytest.raises(Exception) as caught:
        scene.progress(channel, channel.state(1), channel.state(2))
    assert "revert" in str(caught.value)
    assert scene.dispute(channel) == before
