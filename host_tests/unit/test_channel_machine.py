from channels import ALICE, ASSET, BOB, TOKEN, deliver, machines, opened, replace, sent, update
from perun.channel import (
    ACTING,
    CLOSED,
    FINAL,
    FUNDING,
    INIT_SIGNING,
    REGISTERED,
    SIGNING,
    UPDATED,
    WITHDRAWING,
    WITHDRAWN,
    Ask,
    Fund,
    Persist,
    ProtocolError,
    Send,
    Tell,
    Watch,
)
from perun.channel.machine import begin
from perun.model import Transaction, transfer, with_balances
from perun.model.rules import RuleError
from perun.wire.messages import ChannelSync, ChannelUpdate, ChannelUpdateAcc, ChannelUpdateRej
from support import raises


def kinds(effects):
    return [type(effect) for effect in effects]


def told(effects):
    return [effect.kind for effect in effects if type(effect) is Tell]


def snapshot(machine):
    return machine.phase, machine.current, machine.staged, machine.pending


def unchanged(machine, exception, function, *args):
    before = snapshot(machine)
    error = raises(exception, function, *args)
    assert snapshot(machine) == before
    return str(error)


def signed_update(machine, account, state, actor):
    sig = machine._chain.sign(account, machine._chain.state_hash(state))
    return ChannelUpdate(state, actor, sig)


# -- opening --------------------------------------------------------------------------------------


def test_opening():
    alice, bob = machines()
    assert alice.phase == bob.phase == INIT_SIGNING
    first, second = alice.open(), bob.open()
    assert kinds(first) == [Persist, Send]
    effects = deliver(alice, sent(second))
    assert kinds(effects) == [Persist, Watch, Fund, Tell]
    deliver(bob, sent(first))
    assert alice.phase == bob.phase == FUNDING
    assert alice.current == bob.current and None not in alice.current.sigs
    assert kinds(alice.funded()) == [Persist, Tell] and alice.phase == ACTING
    assert alice.funded() == []


def test_opening_needs_the_peers_signature():
    alice, bob = machines()
    acc = sent(bob.open())[0]
    own = sent(alice.open())[0]
    for sig in (own.sig, bytes(65), acc.sig[:64], acc.sig + b"\x00", acc.sig[:64] + b"\x00"):
        assert "signature" in unchanged(alice, ProtocolError, alice.receive, replace(acc, sig=sig))
    deliver(alice, [acc, acc])  # a repetition is harmless
    unchanged(alice, ProtocolError, alice.receive, replace(acc, sig=own.sig))


def test_no_update_before_the_funding():
    alice, bob = machines()
    unchanged(alice, RuleError, alice.propose, transfer(alice.current.state, 0, (1,)))
    deliver(alice, sent(bob.open()))
    unchanged(alice, RuleError, alice.propose, transfer(alice.current.state, 0, (1,)))


def test_early_version_1_waits_for_the_funding():
    alice, bob = machines()
    from_alice = sent(alice.open())
    deliver(alice, sent(bob.open()))
    alice.funded()
    early = sent(alice.propose(transfer(alice.current.state, 0, (1,))))
    assert bob.receive(early[0]) == []  # even before the version-0 signature
    deliver(bob, from_alice)
    assert bob.receive(early[0]) == []
    other = signed_update(alice, ALICE, transfer(bob.current.state, 0, (2,)), 0)
    unchanged(bob, ProtocolError, bob.receive, other)
    assert kinds(bob.funded()) == [Persist, Tell, Ask]
    deliver(alice, sent(bob.accept()))
    assert alice.current == bob.current and alice.current.state.version == 1


def test_early_invalid_version_1_is_refused_after_the_funding():
    alice, bob = machines()
    deliver(bob, sent(alice.open()))
    state = transfer(bob.current.state, 0, (1,))
    bob.receive(ChannelUpdate(state, 0, bytes(65)))
    effects = bob.funded()
    assert bob.phase == ACTING and bob.pending is None
    assert type(sent(effects)[0]) is ChannelUpdateRej


# -- updates --------------------------------------------------------------------------------------


def test_payments_both_ways():
    alice, bob = opened()
    for proposer, other, amount in ((alice, bob, 10), (bob, alice, 3), (alice, bob, 93)):
        state = transfer(proposer.current.state, proposer.index, (amount,))
        mine, theirs = update(proposer, other, state)
        assert kinds(mine) == [Persist, Send, Persist, Watch, Tell]
        assert kinds(theirs) == [Ask, Persist, Send, Watch, Tell]
        assert alice.current == bob.current and alice.current.state == state
        assert told(mine) == [UPDATED]
    assert alice.current.state.allocation.balances == ((0, 150),)


def test_two_assets_and_both_generations():
    for generation in (1, 2):
        alice, bob = opened(((100, 0), (0, 10**20)), (ASSET, TOKEN), generation)
        update(alice, bob, transfer(alice.current.state, 0, (7, 0)))
        update(bob, alice, transfer(bob.current.state, 1, (0, 10**18)))
        assert alice.current == bob.current
        assert alice.current.state.allocation.balances == ((93, 7), (10**18, 99 * 10**18))


def test_every_list_persists_before_it_sends():
    alice, bob = opened()
    lists = [alice.propose(transfer(alice.current.state, 0, (1,)))]
    lists.append(deliver(bob, sent(lists[0])))
    for effects in lists:
        own = [kind for kind in kinds(effects) if kind in (Persist, Send)]
        assert own == [Persist, Send]


def test_a_refused_update_stays_signed():
    alice, bob = opened()
    state = transfer(alice.current.state, 0, (10,))
    mine, theirs = update(alice, bob, state, lambda state: "too little")
    assert told(mine) == ["rejected"] and alice.phase == ACTING
    assert bob.current.state.version == alice.current.state.version == 0
    # Another state with this version would be a second signature on it: never.
    other = transfer(alice.current.state, 0, (11,))
    assert "signed already" in unchanged(alice, RuleError, alice.propose, other)
    foreign = signed_update(bob, BOB, transfer(bob.current.state, 1, (1,)), 1)
    assert "otherwise" in unchanged(alice, ProtocolError, alice.receive, foreign)
    # The very same one is fine.
    update(alice, bob, state)
    assert alice.current == bob.current and alice.current.state == state


def test_unanswered_update_is_sent_again_and_answered_again():
    alice, bob = opened()
    state = transfer(alice.current.state, 0, (10,))
    message = sent(alice.propose(state))
    assert alice.phase == SIGNING and sent(alice.retry()) == message
    assert sent(alice.propose(state)) == message
    lost = sent(deliver(bob, message))
    again = bob.receive(message[0])
    assert kinds(again) == [Send] and sent(again) == lost
    deliver(alice, lost)
    assert alice.current == bob.current
    assert alice.receive(lost[0]) == []  # twice is no error
    assert alice.retry() == []


def test_crossing_updates_are_never_both_signed():
    alice, bob = opened()
    first = sent(alice.propose(transfer(alice.current.state, 0, (10,))))[0]
    second = sent(bob.propose(transfer(bob.current.state, 1, (5,))))[0]
    unchanged(alice, ProtocolError, alice.receive, second)
    unchanged(bob, ProtocolError, bob.receive, first)


def test_invalid_updates_change_nothing():
    alice, bob = opened()
    good = sent(alice.propose(transfer(alice.current.state, 0, (10,))))[0]
    state = good.state
    for text, message in (
        ("one later", signed_update(alice, ALICE, replace(state, version=2), 0)),
        ("another channel", signed_update(alice, ALICE, replace(state, id=b"\x01" * 32), 0)),
        ("total", signed_update(alice, ALICE, with_balances(bob.current.state, ((90, 61),)), 0)),
        ("actor", replace(good, actor=1)),
        ("actor", replace(good, actor=7)),
        ("signature", replace(good, sig=bytes(65))),
        ("signature", replace(good, sig=good.sig[:64])),
        ("signature", signed_update(bob, BOB, state, 0)),
    ):
        assert text in unchanged(bob, ProtocolError, bob.receive, message), text
    deliver(bob, [good])  # and the good one still works


def test_one_pending_update_at_a_time():
    alice, bob = opened()
    message = sent(alice.propose(transfer(alice.current.state, 0, (10,))))[0]
    assert kinds(bob.receive(message)) == [Ask]
    assert bob.receive(message) == []
    unchanged(bob, RuleError, bob.propose, transfer(bob.current.state, 1, (1,)))
    bob.reject("no")
    raises(RuleError, bob.accept)


def test_unexpected_answers_change_nothing():
    alice, bob = opened()
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    acc = ChannelUpdateAcc(alice.id, 1, bytes(65))
    for message in (
        acc,
        replace(acc, version=0),
        replace(acc, version=2),
        ChannelUpdateRej(alice.id, 1, "no"),
        ChannelUpdateRej(alice.id, 2, "no"),
    ):
        unchanged(alice, ProtocolError, alice.receive, message)
    alice.propose(transfer(alice.current.state, 0, (10,)))
    unchanged(alice, ProtocolError, alice.receive, replace(acc, version=2))
    unchanged(alice, ProtocolError, alice.receive, "nonsense")


# -- the end --------------------------------------------------------------------------------------


def test_final_state():
    alice, bob = opened()
    state = with_balances(alice.current.state, alice.current.state.allocation.balances, True)
    mine, theirs = update(alice, bob, state)
    assert told(mine) == told(theirs) == [CLOSED]
    assert alice.phase == bob.phase == FINAL
    again = sent(bob.receive(signed_update(alice, ALICE, state, 0)))
    assert again == sent(theirs)  # the final one twice: the same answer
    after = signed_update(alice, ALICE, with_balances(state, state.allocation.balances), 0)
    unchanged(bob, ProtocolError, bob.receive, after)
    unchanged(bob, RuleError, bob.propose, with_balances(state, state.allocation.balances, True))
    assert told(bob.concluded(1)) == ["concluded"] and bob.phase == WITHDRAWING
    assert bob.registered(1) == [] and bob.phase == WITHDRAWING
    assert told(bob.withdrawn()) == ["withdrawn"] and bob.phase == WITHDRAWN
    assert bob.withdrawn() == []


def test_dispute_stops_updates():
    alice, bob = opened()
    assert told(bob.registered(0)) == ["disputed"] and bob.phase == REGISTERED
    unchanged(bob, RuleError, bob.propose, transfer(bob.current.state, 1, (1,)))
    message = sent(alice.propose(transfer(alice.current.state, 0, (1,))))[0]
    unchanged(bob, ProtocolError, bob.receive, message)


# -- sync -----------------------------------------------------------------------------------------


def test_sync_brings_the_newer_state():
    alice, bob = opened()
    lost = deliver(bob, sent(alice.propose(transfer(alice.current.state, 0, (10,)))))
    assert sent(lost) and alice.phase == SIGNING
    answer = bob.receive(alice.sync())
    effects = deliver(alice, sent(answer))
    assert kinds(effects) == [Persist, Watch, Tell]
    assert alice.current == bob.current and alice.phase == ACTING and alice.staged is None
    assert bob.receive(alice.sync()) == []


def test_sync_is_not_believed_without_signatures():
    alice, bob = opened()
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    state, sigs = alice.current
    newer = replace(state, version=5)
    for current in (
        Transaction(newer, sigs),
        Transaction(newer, (sigs[0], None)),
        Transaction(newer, (sigs[0],)),
        Transaction(replace(newer, id=b"\x01" * 32), sigs),
        Transaction(with_balances(state, ((150, 1),)), sigs),
    ):
        unchanged(alice, ProtocolError, alice.receive, ChannelSync(ACTING, current))
    other = with_balances(state, ((150, 0),))
    forked = Transaction(replace(other, version=1), sigs)
    assert "another state" in unchanged(
        alice, ProtocolError, alice.receive, ChannelSync(ACTING, forked)
    )
    assert alice.receive(ChannelSync(ACTING, None)) == []


def test_sync_completes_the_opening():
    alice, bob = machines()
    deliver(bob, sent(alice.open()))
    effects = alice.receive(bob.sync())
    assert kinds(effects) == [Persist, Watch, Fund, Tell]


def test_wrong_account():
    alice, _ = machines()
    state = alice.current.state
    raises(ValueError, begin, alice._chain, BOB, alice.params, 0, state, alice.agreement)
