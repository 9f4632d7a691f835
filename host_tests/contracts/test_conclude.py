"""conclude and concludeFinal: when a channel may end, and what the asset holders hear."""

import oracle
import pytest
from contracts.anvil import CHAIN_ID
from scene import DURATION, INGRID, outcomes, reverts

CONCLUDED = 2


def test_conclude(scene):
    channel = scene.open()
    scene.deposit(channel, 10, 10)
    state = channel.state(4, [3, 17])
    first = scene.register(channel, state)
    timeout = first.timestamp + DURATION
    scene.node.at(timeout)
    sent = scene.conclude(channel, state)
    # one event, with the version and the timeout of the registration
    assert sent.events == [
        (
            "ChannelUpdate",
            {"channelID": channel.id, "version": 4, "phase": CONCLUDED, "timeout": timeout},
        ),
        ("OutcomeSet", {"channelID": channel.id}),
    ]
    expected = (timeout, DURATION, 4, CONCLUDED, oracle.state_hash(state), False)
    assert scene.dispute(channel) == expected
    assert scene.holdings(channel) == [3, 17]
    assert scene.chain.eth_holder.functions.settled(channel.id).call()


def test_too_early(scene):
    channel = scene.open()
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + DURATION - 1)
    reverts("timeout not passed yet", scene.conclude, channel, channel.state(1))


def test_final_state_at_once(scene):
    channel = scene.open()
    final = channel.state(1, final=True)
    sent = scene.register(channel, final)
    scene.node.at(sent.timestamp + 1)
    scene.conclude(channel, final)


def test_app_channel_waits_twice(scene):
    channel = scene.open(app=b"\x42" * 20)
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + 2 * DURATION - 1)
    reverts("timeout not passed yet", scene.conclude, channel, channel.state(1))
    scene.node.at(sent.timestamp + 2 * DURATION)
    scene.conclude(channel, channel.state(1))


@pytest.mark.differs("the timeout of a concluded channel with an app")
def test_the_second_wait_does_not_move_the_timeout(scene):
    channel = scene.open(app=b"\x42" * 20)
    timeout = scene.register(channel, channel.state(1)).timestamp + DURATION
    scene.node.at(timeout + DURATION)
    sent = scene.conclude(channel, channel.state(1))
    assert outcomes(sent)[0][2:] == (CONCLUDED, timeout)


def test_after_progress_waits_once(scene):
    channel = scene.open(app=scene.trivial_app())
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + DURATION)
    sent = scene.progress(channel, channel.state(1), channel.state(2))
    scene.node.at(sent.timestamp + DURATION - 1)
    reverts("timeout not passed yet", scene.conclude, channel, channel.state(2))
    scene.node.at(sent.timestamp + DURATION)
    scene.conclude(channel, channel.state(2))


def test_endless_app_channel(scene):
    """The second wait may not overflow into the past."""
    channel = scene.open(app=b"\x42" * 20, duration=2**63)
    scene.register(channel, channel.state(1))
    reverts("panic 0x11", scene.conclude, channel, channel.state(1))


def test_anyone_may_conclude(scene):
    channel = scene.open()
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + DURATION)
    call = scene.calls.conclude(channel.params, channel.state(1), [])
    scene.chain.send(call, sender=scene.chain.accounts[7])


def test_conclude_what(scene):
    channel, other = scene.open(), scene.open(nonce=2)
    state = channel.state(1)
    reverts("not registered", scene.conclude, channel, state)
    sent = scene.register(channel, state)
    scene.node.at(sent.timestamp + DURATION)
    reverts("invalid state", scene.conclude, channel, channel.state(2))
    call = scene.calls.conclude(other.params, state, [])
    reverts("invalid params", scene.chain.send, call)
    sub = scene.open(ledger=False)
    reverts("not ledger", scene.conclude, sub, sub.state(1))
    scene.conclude(channel, state)
    reverts("already concluded", scene.conclude, channel, state)


# concludeFinal


def test_conclude_final(scene):
    channel = scene.open()
    scene.deposit(channel, 10, 10)
    final = channel.state(7, [20, 0], final=True)
    sent = scene.conclude_final(channel, final)
    assert sent.events == [
        (
            "ChannelUpdate",
            {
                "channelID": channel.id,
                "version": 7,
                "phase": CONCLUDED,
                "timeout": sent.timestamp,
            },
        ),
        ("OutcomeSet", {"channelID": channel.id}),
    ]
    expected = (sent.timestamp, DURATION, 7, CONCLUDED, oracle.state_hash(final), False)
    assert scene.dispute(channel) == expected
    assert scene.holdings(channel) == [20, 0]


@pytest.mark.parametrize("wait", [1, DURATION + 5])
def test_final_beats_any_version_at_any_time(scene, wait):
    channel = scene.open()
    scene.deposit(channel, 10, 10)
    sent = scene.register(channel, channel.state(3))
    scene.node.at(sent.timestamp + wait)
    sent = scene.conclude_final(channel, channel.state(2, [1, 19], final=True))
    assert outcomes(sent) == [(channel.id, 2, CONCLUDED, sent.timestamp)]
    assert scene.holdings(channel) == [1, 19]


def test_final_of_a_registered_final(scene):
    channel = scene.open()
    final = channel.state(1, final=True)
    scene.register(channel, final)
    assert outcomes(scene.conclude_final(channel, final))


def test_final_after_progress(scene):
    channel = scene.open(app=scene.trivial_app())
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + DURATION)
    scene.progress(channel, channel.state(1), channel.state(2))
    scene.conclude_final(channel, channel.state(1, final=True))


def test_final_what(scene):
    channel, other = scene.open(), scene.open(nonce=2)
    final = channel.state(1, final=True)
    reverts("state not final", scene.conclude_final, channel, channel.state(1))
    locked = channel.state(1, final=True, locked=[(bytes(32), [0], [0, 1])])
    reverts("has sub-channels", scene.conclude_final, channel, locked)
    call = scene.calls.concludeFinal(other.params, final, channel.sign(final))
    reverts("invalid params", scene.chain.send, call)
    sub = scene.open(ledger=False)
    reverts("not ledger", scene.conclude_final, sub, sub.state(1, final=True))
    sigs = channel.sign(final)
    reverts("signatures length mismatch", scene.conclude_final, channel, final, sigs[:1])
    reverts("invalid signature", scene.conclude_final, channel, final, sigs[::-1])
    stranger = oracle.sign(INGRID, oracle.state_bytes(final))
    reverts("invalid signature", scene.conclude_final, channel, final, [sigs[0], stranger])
    scene.conclude_final(channel, final)
    reverts("concluded already", scene.conclude_final, channel, final)
    newer = channel.state(2, final=True)
    reverts("concluded already", scene.conclude_final, channel, newer)


def test_final_after_conclude(scene):
    channel = scene.open()
    sent = scene.register(channel, channel.state(1))
    scene.node.at(sent.timestamp + DURATION)
    scene.conclude(channel, channel.state(1))
    final = channel.state(2, final=True)
    reverts("concluded already", scene.conclude_final, channel, final)


# which asset holders hear of it


def settled(scene, channel):
    holders = (scene.chain.eth_holder, scene.chain.erc20_holder)
    return [holder.functions.settled(channel.id).call() for holder in holders]


def test_two_assets(scene):
    channel = scene.open(assets=[(CHAIN_ID, scene.eth), (CHAIN_ID, scene.erc20)])
    scene.deposit(channel, 5, 5)
    scene.deposit_tokens(channel, 7, 0)
    scene.settle(channel, [[4, 6], [0, 7]])
    assert settled(scene, channel) == [True, True]
    assert scene.holdings(channel) == [4, 6]
    assert scene.holdings(channel, scene.chain.erc20_holder) == [0, 7]


def test_other_chains_are_left_alone(scene):
    channel = scene.open(assets=[(CHAIN_ID + 1, scene.eth), (CHAIN_ID, scene.erc20)])
    scene.settle(channel)
    assert settled(scene, channel) == [False, True]


def test_no_holder(scene):
    channel = scene.open(assets=[(CHAIN_ID, oracle.NOBODY), (CHAIN_ID, scene.eth)])
    sent = scene.settle(channel)
    assert [name for name, _ in sent.events] == ["ChannelUpdate", "OutcomeSet"]


def test_same_asset_twice(scene):
    channel = scene.open(assets=[(CHAIN_ID, scene.eth)] * 2)
    reverts("trying to set already settled channel", scene.settle, channel)


def test_row_does_not_fit(scene):
    channel = scene.open()
    final = channel.state(1, [1, 2, 3], final=True)
    reverts("participants length should equal balances", scene.conclude_final, channel, final)


def test_row_is_missing(scene):
    channel = scene.open()
    final = oracle.state(channel.id, 1, channel.assets, [], final=True)
    reverts("panic 0x32", scene.conclude_final, channel, final)
