"""register: first states, refutations, and what may be registered at all."""

import oracle
import pytest
from scene import ALICE, BOB, DURATION, INGRID, outcomes, reverts

DISPUTE, FORCEEXEC, CONCLUDED = 0, 1, 2


def test_unknown_channel(scene):
    assert scene.dispute(scene.open()) == (0, 0, 0, 0, bytes(32), False)


def test_first(scene):
    channel = scene.open()
    state = channel.state(3)
    sent = scene.register(channel, state)
    timeout = sent.timestamp + DURATION
    assert outcomes(sent) == [(channel.id, 3, DISPUTE, timeout)]
    expected = (timeout, DURATION, 3, DISPUTE, oracle.state_hash(state), False)
    assert scene.dispute(channel) == expected


def test_version_zero(scene):
    channel = scene.open()
    sent = scene.register(channel, channel.state(0))
    assert outcomes(sent) == [(channel.id, 0, DISPUTE, sent.timestamp + DURATION)]


def test_app_is_remembered(scene):
    channel = scene.open(app=b"\x42" * 20)
    scene.register(channel, channel.state(1))
    assert scene.dispute(channel)[5] is True


def test_anyone_may_send(scene):
    channel = scene.open()
    call = scene.calls.register(channel.signed(channel.state(1)), [])
    stranger = scene.chain.accounts[7]
    assert outcomes(scene.chain.send(call, sender=stranger))


def test_final_state_needs_no_answer(scene):
    channel = scene.open()
    sent = scene.register(channel, channel.state(1, final=True))
    assert outcomes(sent) == [(channel.id, 1, DISPUTE, sent.timestamp)]


def test_refutation_does_not_extend_the_timeout(scene):
    channel = scene.open()
    first = scene.register(channel, channel.state(1))
    timeout = first.timestamp + DURATION
    scene.node.at(first.timestamp + 20)
    newer = channel.state(5)
    assert outcomes(scene.register(channel, newer)) == [(channel.id, 5, DISPUTE, timeout)]
    expected = (timeout, DURATION, 5, DISPUTE, oracle.state_hash(newer), False)
    assert scene.dispute(channel) == expected


def test_final_refutation_ends_the_wait(scene):
    channel = scene.open()
    scene.register(channel, channel.state(1))
    sent = scene.register(channel, channel.state(2, final=True))
    assert outcomes(sent) == [(channel.id, 2, DISPUTE, sent.timestamp)]
    assert scene.dispute(channel)[0] == sent.timestamp


def test_last_second(scene):
    channel = scene.open()
    first = scene.register(channel, channel.state(1))
    scene.node.at(first.timestamp + DURATION - 1)
    scene.register(channel, channel.state(2))
    scene.node.at(first.timestamp + DURATION)
    late = channel.state(3)
    reverts("refutation timeout passed", scene.register, channel, late)
    assert scene.dispute(channel)[2] == 2


def test_same_state_is_skipped(scene):
    """No event, no error, no change: in time, too late, and when all is over."""
    channel = scene.open()
    state = channel.state(1)
    first = scene.register(channel, state)
    before = scene.dispute(channel)
    assert scene.register(channel, state).events == []
    scene.node.at(first.timestamp + DURATION + 5)
    assert scene.register(channel, state).events == []
    assert scene.dispute(channel) == before
    scene.conclude(channel, state)
    before = scene.dispute(channel)
    assert scene.register(channel, state).events == []
    assert scene.dispute(channel) == before


@pytest.mark.parametrize("version", [4, 5])
def test_not_newer(scene, version):
    channel = scene.open()
    scene.register(channel, channel.state(5))
    before = scene.dispute(channel)
    reverts("invalid version", scene.register, channel, channel.state(version, [12, 8]))
    assert scene.dispute(channel) == before


def test_after_progress(scene):
    channel = scene.open(app=scene.trivial_app())
    first = scene.register(channel, channel.state(1))
    scene.node.at(first.timestamp + DURATION)
    scene.progress(channel, channel.state(1), channel.state(2))
    reverts("incorrect phase", scene.register, channel, channel.state(3))
    reverts("invalid version", scene.register, channel, channel.state(1))


def test_after_conclusion(scene):
    channel = scene.open()
    scene.settle(channel)
    reverts("incorrect phase", scene.register, channel, channel.state(9))


def test_only_ledger_channels(scene):
    channel = scene.open(ledger=False)
    reverts("not ledger", scene.register, channel, channel.state(1))


def test_id_of_other_params(scene):
    channel, other = scene.open(), scene.open(nonce=2)
    state = channel.state(1)
    signed = (other.params, state, channel.sign(state))
    reverts("invalid params", scene.chain.send, scene.calls.register(signed, []))


def test_number_of_signatures(scene):
    channel = scene.open()
    state = channel.state(1)
    sigs = channel.sign(state)
    for wrong in ([], sigs[:1], [*sigs, sigs[0]]):
        signed = (channel.params, state, wrong)
        call = scene.calls.register(signed, [])
        reverts("signatures length mismatch", scene.chain.send, call)


def test_order_of_signatures(scene):
    channel = scene.open()
    state = channel.state(1)
    call = scene.calls.register((channel.params, state, channel.sign(state)[::-1]), [])
    reverts("invalid signature", scene.chain.send, call)


def test_wrong_signer(scene):
    channel = scene.open()
    state = channel.state(1)
    stranger = oracle.sign(INGRID, oracle.state_bytes(state))
    call = scene.calls.register((channel.params, state, [channel.sign(state)[0], stranger]), [])
    reverts("invalid signature", scene.chain.send, call)


def test_signature_of_other_state(scene):
    channel = scene.open()
    sigs = channel.sign(channel.state(1))
    call = scene.calls.register((channel.params, channel.state(2), sigs), [])
    reverts("invalid signature", scene.chain.send, call)


def test_three_participants(scene):
    channel = scene.open((ALICE, BOB, INGRID))
    assert outcomes(scene.register(channel, channel.state(1, [1, 2, 3])))


def test_virtual_channels(scene):
    """Restricted wherever they occur; a ledger channel that calls itself virtual, too."""
    channel = scene.open(virtual=True, app=b"\x42" * 20)
    reverts("cannot have app", scene.register, channel, channel.state(1))
    channel = scene.open(virtual=True)
    locked = channel.state(1, locked=[(bytes(32), [0], [0, 1])])
    reverts("funds locked", scene.register, channel, locked)
    assert outcomes(scene.register(channel, channel.state(1)))


# challenge durations


def test_no_duration(scene):
    channel = scene.open(duration=0)
    sent = scene.register(channel, channel.state(1))
    assert outcomes(sent) == [(channel.id, 1, DISPUTE, sent.timestamp)]


def test_duration_is_cut_to_64_bits(scene):
    channel = scene.open(duration=2**64 + 7)
    sent = scene.register(channel, channel.state(1))
    assert scene.dispute(channel)[:2] == (sent.timestamp + 7, 7)


def test_endless_duration(scene):
    channel = scene.open(duration=2**64 - 1)
    reverts("panic 0x11", scene.register, channel, channel.state(1))
