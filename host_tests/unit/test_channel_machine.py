from channels import ALICE, ASSET, BOB, TOKEN, deliver, machines, opened, replace, sent, update
from perun.channel import (
    ACTING,
    CLOSED,
    CROSSING,
    DOUBT_PEER,
    DOUBT_SERVICE,
    EQUIVOCATION,
    FINAL,
    FUNDING,
    INIT_SIGNING,
    REGISTERED,
    REJECTED,
    SIGNING,
    UPDATED,
    VIOLATION,
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
from perun.client.keeping import load_channel
from perun.client.records import dump_channel
from perun.model import Transaction, transfer, with_balances
from perun.model.rules import RuleError
from perun.wire.messages import ChannelSync, ChannelUpdate, ChannelUpdateAcc, ChannelUpdateRej
from support import raises


def kinds(effects):
    return [type(effect) for effect in effects]


def told(effects):
    return [effect.kind for effect in effects if type(effect) is Tell]


def snapshot(machine):
    return (
        machine.phase,
        machine.current,
        machine.staged,
        machine.pending,
        machine.burnt,
        machine.refused,
        machine.evidence,
        machine.doubts,
    )


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
        assert kinds(mine) == [Persist, Send, Watch, Tell]  # one write: see below
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


def test_an_answer_to_a_payment_may_be_lost_in_a_reset():
    """It is stored with what follows; without it the device does as without an answer."""
    alice, bob = opened()
    update(bob, alice, transfer(bob.current.state, 1, (1,)))
    request = alice.propose(transfer(alice.current.state, 0, (10,)))
    stored = dump_channel(alice)
    answer = deliver(bob, sent(request))
    assert Persist not in kinds(deliver(alice, sent(answer)))
    newest = alice.current

    again = load_channel(stored, alice._chain, ALICE)
    again.doubts = DOUBT_PEER
    assert again.current.state.version == 1 and again.staged == sent(request)[0]
    assert "restart" in unchanged(
        again, RuleError, again.propose, transfer(again.current.state, 0, (2,))
    )
    synced = deliver(bob, sent(again.ask()))
    assert kinds(deliver(again, sent(synced)))[0] is Persist
    assert again.current == newest == bob.current and not again.evidence
    # A peer that does not tell gets the very same update, and nothing else.
    silent = load_channel(stored, alice._chain, ALICE)
    assert sent(silent.retry()) == sent(request)
    unchanged(silent, RuleError, silent.propose, transfer(silent.current.state, 0, (2,)))


def test_what_is_shown_is_stored_before():
    alice, bob = opened()
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    assert kinds(alice.ask()) == [Persist, Send]
    assert kinds(alice.ask()) == [Send]
    alice, bob = opened()
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    assert kinds(alice.receive(sent(bob.ask())[0])) == [Persist, Send]


def test_an_answer_that_brings_something_is_stored():
    alice, bob = opened()
    for balances, final in ((((120, 30),), False), (((120, 30),), True)):
        state = with_balances(alice.current.state, balances, final)
        request = alice.propose(state)
        effects = deliver(alice, sent(deliver(bob, sent(request))))
        assert kinds(effects) == [Persist, Watch, Tell]
    assert alice.phase == FINAL


def test_an_answer_during_a_dispute_is_stored():
    alice, bob = opened()
    request = alice.propose(transfer(alice.current.state, 0, (10,)))
    alice.registered(0)
    effects = deliver(alice, sent(deliver(bob, sent(request))))
    assert kinds(effects) == [Persist, Watch, Tell]


def test_a_refused_version_is_burnt():
    alice, bob = opened()
    state = transfer(alice.current.state, 0, (10,))
    mine, theirs = update(alice, bob, state, lambda state: "too little")
    assert told(mine) == [REJECTED] and alice.phase == ACTING
    assert kinds(theirs) == [Ask, Persist, Send]  # the refusal is stored before it is sent
    assert bob.current.state.version == alice.current.state.version == 0
    assert alice.burnt == bob.burnt == 1 and alice.next_version == bob.next_version == 2
    # Another state with the burnt version would be a second signature on it: never.
    unchanged(alice, RuleError, alice.propose, transfer(alice.current.state, 0, (11,)))
    unchanged(alice, RuleError, alice.propose, state)
    # The next one outranks it.
    later = transfer(alice.current.state, 0, (11,), alice.next_version)
    update(alice, bob, later)
    assert alice.current == bob.current and alice.current.state == later
    assert alice.staged is None and alice.next_version == 3


def test_a_refused_update_may_be_signed_after_all():
    alice, bob = opened()
    state = transfer(alice.current.state, 0, (10,))
    update(alice, bob, state, lambda state: "too little")
    # Bob signs it later, against what he said: it is the newest state then, for both.
    late = ChannelUpdateAcc(alice.id, 1, signed_update(bob, BOB, state, 1).sig)
    assert told(alice.receive(late)) == [UPDATED]
    assert alice.current.state == state and alice.phase == ACTING


def test_a_refused_update_is_refused_again():
    alice, bob = opened()
    message = sent(alice.propose(transfer(alice.current.state, 0, (10,))))
    first = sent(deliver(bob, message, lambda state: "no"))
    again = bob.receive(message[0])
    assert kinds(again) == [Send] and sent(again)[0].version == first[0].version
    deliver(alice, first + sent(again))
    assert alice.next_version == 2


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


def test_crossing_updates_are_both_refused():
    alice, bob = opened()
    first = sent(alice.propose(transfer(alice.current.state, 0, (10,))))
    second = sent(bob.propose(transfer(bob.current.state, 1, (5,))))
    from_alice = sent(deliver(alice, second))
    from_bob = sent(deliver(bob, first))
    assert from_alice[0].reason == from_bob[0].reason == CROSSING
    deliver(alice, from_bob)
    # Alice goes first, even before Bob has her refusal.
    update(alice, bob, transfer(alice.current.state, 0, (10,), alice.next_version))
    deliver(bob, from_alice)
    assert alice.current == bob.current and alice.current.state.version == 2
    update(bob, alice, transfer(bob.current.state, 1, (5,), bob.next_version))
    assert alice.current == bob.current
    assert alice.current.state.allocation.balances == ((95, 55),)


def test_what_crossed_says_so_again():
    """The refusal got lost: the proposer learns the same from the next one, also when this side
    has lost its memory, or went on meanwhile."""
    alice, bob = opened()
    alice.propose(transfer(alice.current.state, 0, (10,)))
    (update_of_bob,) = sent(bob.propose(transfer(bob.current.state, 1, (5,))))
    alice.receive(update_of_bob)
    alice = load_channel(dump_channel(alice), alice._chain, ALICE)
    assert sent(alice.receive(update_of_bob))[0].reason == CROSSING
    alice.receive(ChannelUpdateRej(alice.id, 1, CROSSING))
    alice.propose(transfer(alice.current.state, 0, (10,), alice.next_version))
    assert sent(alice.receive(update_of_bob))[0].reason == CROSSING


def test_two_states_with_one_version_are_evidence():
    alice, bob = opened()
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    state = alice.current.state
    for case, prepare in enumerate((lambda: None, lambda: refuse(alice, bob))):
        prepare()
        version = 1 + case
        twin = signed_update(alice, ALICE, with_balances(state, ((1, 149),), False, version), 0)
        forged = replace(twin, sig=bytes(65))
        unchanged(bob, ProtocolError, bob.receive, forged)
        effects = bob.receive(twin)
        assert kinds(effects) == [Persist, Tell] and told(effects) == [EQUIVOCATION]
        one, other = bob.evidence
        assert one.state.version == other.state.version == version and one.state != other.state
        for evidence in bob.evidence:
            state_hash = bob._chain.state_hash(evidence.state)
            assert bob._chain.verify(ALICE.address, state_hash, evidence.sig)
        unchanged(bob, RuleError, bob.propose, transfer(state, 1, (1,), bob.next_version))
        bob.evidence = None


def refuse(alice, bob):
    state = transfer(alice.current.state, 0, (10,), alice.next_version)
    update(alice, bob, state, lambda state: "no")


def test_invalid_updates_change_nothing():
    alice, bob = opened()
    good = sent(alice.propose(transfer(alice.current.state, 0, (10,))))[0]
    state = good.state
    for text, message in (
        ("is next", signed_update(alice, ALICE, replace(state, version=2), 0)),
        ("is next", signed_update(alice, ALICE, replace(state, version=1 << 63), 0)),
        ("another channel", signed_update(alice, ALICE, replace(state, id=b"\x01" * 32), 0)),
        ("actor", replace(good, actor=1)),
        ("actor", replace(good, actor=7)),
        ("signature", replace(good, sig=bytes(65))),
        ("signature", replace(good, sig=good.sig[:64])),
        ("signature", signed_update(bob, BOB, state, 0)),
    ):
        assert text in unchanged(bob, ProtocolError, bob.receive, message), text
    deliver(bob, [good])  # and the good one still works


def test_a_signed_update_that_breaks_a_rule_is_refused():
    alice, bob = opened()
    bad = with_balances(bob.current.state, ((90, 61),))
    effects = bob.receive(signed_update(alice, ALICE, bad, 0))
    assert kinds(effects) == [Persist, Send, Tell] and told(effects) == [VIOLATION]
    assert "total" in effects[-1].detail and bob.pending is None
    assert bob.current.state.version == 0 and bob.next_version == 2


def test_an_old_version_changes_nothing():
    alice, bob = opened()
    old = sent(alice.propose(transfer(alice.current.state, 0, (10,))))[0]
    deliver(alice, sent(deliver(bob, [old])))
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    assert "is next" in unchanged(bob, ProtocolError, bob.receive, old)


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
        ChannelUpdateRej(alice.id, 2, "no"),
    ):
        unchanged(alice, ProtocolError, alice.receive, message)
    assert alice.receive(ChannelUpdateRej(alice.id, 1, "too late")) == []
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


def test_only_the_same_end_follows_a_final_state():
    alice, bob = opened()
    start = bob.current.state
    final = with_balances(start, start.allocation.balances, True)
    update(bob, alice, final, lambda state: "not yet")
    # Alice may sign it yet and end the channel with it: Bob must not rely on any payment.
    offer = sent(alice.propose(transfer(start, 0, (10,), alice.next_version)))
    answer = deliver(bob, offer)
    assert type(sent(answer)[0]) is ChannelUpdateRej and bob.current.state == start
    deliver(alice, sent(answer))
    raises(RuleError, bob.propose, transfer(start, 1, (1,), bob.next_version))
    other = with_balances(start, ((110, 40),), True, bob.next_version)
    unchanged(bob, RuleError, bob.propose, other)
    update(bob, alice, with_balances(start, start.allocation.balances, True, bob.next_version))
    assert alice.current == bob.current and bob.phase == FINAL


def test_dispute_stops_updates():
    alice, bob = opened()
    assert told(bob.registered(0)) == ["disputed"] and bob.phase == REGISTERED
    unchanged(bob, RuleError, bob.propose, transfer(bob.current.state, 1, (1,)))
    message = sent(alice.propose(transfer(alice.current.state, 0, (1,))))[0]
    unchanged(bob, ProtocolError, bob.receive, message)


def test_a_late_signature_counts_in_a_dispute():
    alice, bob = opened()
    answer = sent(deliver(bob, sent(alice.propose(transfer(alice.current.state, 0, (10,))))))
    alice.registered(0)
    effects = deliver(alice, answer)
    assert Watch in kinds(effects) and alice.phase == REGISTERED
    assert alice.current == bob.current


# -- sync -----------------------------------------------------------------------------------------


def test_sync_brings_the_newer_state():
    alice, bob = opened()
    lost = deliver(bob, sent(alice.propose(transfer(alice.current.state, 0, (10,)))))
    assert sent(lost) and alice.phase == SIGNING
    answer = deliver(bob, sent(alice.ask()))
    effects = deliver(alice, sent(answer))
    assert kinds(effects) == [Persist, Watch, Tell]
    assert alice.current == bob.current and alice.phase == ACTING and alice.staged is None
    assert alice.confirmed == 1


def test_sync_is_answered_once():
    alice, bob = opened()
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    answer = sent(deliver(bob, sent(alice.ask())))
    assert len(answer) == 1 and deliver(alice, answer) == []
    # Both ask at the same time: each takes the other's question for the answer.
    from_alice, from_bob = sent(alice.ask()), sent(bob.ask())
    assert deliver(alice, from_bob) == deliver(bob, from_alice) == []


def test_repeated_syncs_are_not_answered_for_ever():
    alice, bob = opened()
    to_bob = sent(alice.ask()) + sent(alice.ask())
    for _ in range(4):
        to_alice = sent(deliver(bob, to_bob))
        to_bob = sent(deliver(alice, to_alice))
    assert not to_bob


def test_what_is_owed_comes_before_a_sync():
    """Whoever has the answer to its ChannelSync has what the peer had to say, and crosses nothing
    of it with an update of its own."""
    alice, bob = opened()
    (end,) = sent(bob.propose(with_balances(bob.current.state, ((100, 50),), True)))
    (question,) = sent(alice.again())
    assert alice.asked
    sync = bob.sync()
    assert sent(bob.receive(question)) == [end, sync]  # its answer
    assert sent(bob.again()) == [end, sync]  # its own question, on a new link
    deliver(alice, [end])
    alice.receive(sync)
    assert not alice.asked and alice.phase == FINAL


def test_another_version_0_is_no_evidence():
    alice, bob = machines()
    other = with_balances(alice.current.state, ((150, 0),), version=0)
    sig = signed_update(bob, BOB, other, 1).sig
    sync = ChannelSync(INIT_SIGNING, Transaction(other, (None, sig)))
    unchanged(alice, ProtocolError, alice.receive, sync)
    unchanged(alice, ProtocolError, alice.receive, ChannelUpdate(other, 1, sig))


def test_who_is_behind_gets_the_newer_state():
    alice, bob = opened()
    old = sent(bob.ask())
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    alice.ask()
    assert sent(deliver(alice, old))[0].current == alice.current


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
        Transaction(with_balances(state, ((150, 0),), False, 1), sigs),
        Transaction(with_balances(state, ((150, 0),), False, 1), (None, None)),
    ):
        unchanged(alice, ProtocolError, alice.receive, ChannelSync(ACTING, current))


def test_sync_shows_equivocation():
    alice, bob = opened()
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    other = with_balances(alice.current.state, ((0, 150),), False, 1)
    sig = signed_update(bob, BOB, other, 1).sig
    effects = alice.receive(ChannelSync(ACTING, Transaction(other, (None, sig))))
    assert EQUIVOCATION in told(effects) and alice.evidence


def test_sync_completes_the_opening():
    alice, bob = machines()
    deliver(bob, sent(alice.open()))
    alice.open()
    assert Fund in kinds(deliver(alice, sent(bob.ask())))


def test_nothing_is_signed_in_doubt():
    alice, bob = opened()
    old = alice.current
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    newest = alice.current
    alice.current = old  # restored from an old backup
    alice.doubts = DOUBT_PEER | DOUBT_SERVICE
    unchanged(alice, RuleError, alice.propose, transfer(alice.current.state, 0, (1,)))
    offer = sent(bob.propose(transfer(bob.current.state, 1, (1,))))
    unchanged(alice, ProtocolError, alice.receive, offer[0])
    assert sent(deliver(alice, sent(bob.ask())))
    assert alice.current == newest and alice.doubts == DOUBT_SERVICE
    unchanged(alice, ProtocolError, alice.receive, offer[0])
    assert alice.service_holds(newest) == [] and alice.doubts == 0
    deliver(bob, sent(deliver(alice, offer)))
    assert alice.current == bob.current and bob.current.state.version == 2


def test_the_service_knows_more():
    alice, bob = opened()
    old = alice.current
    update(alice, bob, transfer(alice.current.state, 0, (10,)))
    newest, alice.current = alice.current, old
    alice.doubts = DOUBT_SERVICE
    forged = Transaction(replace(newest.state, version=9), newest.sigs)
    unchanged(alice, ProtocolError, alice.service_holds, forged)
    assert kinds(alice.service_holds(newest)) == [Persist, Watch, Tell]
    assert alice.current == newest and not alice.doubts


def test_wrong_account():
    alice, _ = machines()
    state = alice.current.state
    raises(ValueError, begin, alice._chain, BOB, alice.params, 0, state, alice.agreement)
