"""The life of one ledger channel between two participants.

Every method takes what arrived and returns a list of effects (perun.channel); ProtocolError means
that nothing changed. The rules that protect the owner's money:

* Persist comes before Send in every list: no signature leaves that the store does not know.
* The peer's signature on an own payment is stored with what follows: to lose it is the same as not
  to have received it, and saves the payer every other write to its flash.
* No two different states are signed with one version. While an own update is unanswered only the
  very same one is sent again. Once the peer has refused it, its version is burnt: the next state
  takes a later one, which outranks the refused state should the peer sign that after all.
* `current` is always signed by both; only what is in it counts as paid.
* Nothing but the same end follows a final state that this side signed: the chain takes a final
  state at any time, however old it is, so a refused one may yet end the channel.
* After a restart nothing is signed before the peer and the service have shown what they have.

Source: go-perun's channel machine and update protocol, made stricter as described above. Skipping
burnt versions is ours: go-perun signs another state with the refused version, and towards it
`perun.channel.foreign` does without.
"""

from perun.channel import (
    ACTING,
    CLOSED,
    CONCLUDED,
    CROSSING,
    DISPUTED,
    DOUBT_PEER,
    DOUBT_SERVICE,
    EQUIVOCATION,
    FINAL,
    FUNDING,
    INIT_SIGNING,
    OPEN,
    REGISTERED,
    REJECTED,
    SIGNED,
    SIGNING,
    UPDATED,
    VIOLATION,
    WITHDRAWING,
    WITHDRAWN,
    WITHDRAWN_EVENT,
    Ask,
    Fund,
    Persist,
    ProtocolError,
    Send,
    Tell,
    Watch,
)
from perun.model import Transaction
from perun.model.rules import RuleError, check_transition, totals
from perun.wire.messages import ChannelSync, ChannelUpdate, ChannelUpdateAcc, ChannelUpdateRej


_ENDS = "a final state is signed: only the same end may follow"


def begin(chain, account, params, index, state, agreement, kind=None):
    """A new Channel (or one of another kind): `state`, its version 0, with the own signature."""
    sig = chain.sign(account, chain.state_hash(state))
    sigs = (sig, None) if index == 0 else (None, sig)
    current = Transaction(state, sigs)
    kind = kind or Channel
    return kind(chain, account, params, index, agreement, INIT_SIGNING, current)


class Channel:
    """A channel as it is: new from `begin()`, or one that was stored.

    chain: perun.chain's encoding; account: signs as participant `index` of `params`; agreement:
    balances, who deposits what; current: the newest Transaction; staged: the newest own
    ChannelUpdate that the peer has not signed, or None; burnt: the newest version that one side
    signed and the other refused; refused: the peer's ChannelUpdate with that version, or None;
    evidence: two ChannelUpdates of the peer with one version, or None. For reading only.
    """

    FORMAT = 1  # how the store tells this kind of channel from `perun.channel.foreign`'s

    def __init__(
        self,
        chain,
        account,
        params,
        index,
        agreement,
        phase,
        current,
        staged=None,
        burnt=0,
        refused=None,
        evidence=None,
    ):
        if params.participants[index] != account.address:
            raise ValueError("the account is not participant %d" % index)
        self._chain = chain
        self._account = account
        self.params = params
        self.index = index
        self.agreement = agreement
        self.id = current.state.id
        self.phase = phase
        self.current = current
        self.staged = staged
        self.burnt = burnt
        self.refused = refused
        self.evidence = evidence
        self.pending = None  # the peer's ChannelUpdate that the application decides on
        self.confirmed = -1  # version of the newest own update that the peer signed
        self.doubts = 0  # DOUBT_*: who must still show what it has before anything is signed
        self._unsaved = False  # the peer's signature on the newest own payment may not be stored
        self._early = None  # the peer's version-1 update that came before the funding
        self.asked = False  # a ChannelSync of this side waits for the peer's
        self._answered = False  # the peer's last ChannelSync was answered

    # -- signatures ---------------------------------------------------------------------------

    def _sign(self, state):
        return self._chain.sign(self._account, self._chain.state_hash(state))

    def _sigs(self, own, peer):
        """Both signatures in the order of the participants."""
        return (own, peer) if self.index == 0 else (peer, own)

    def _check_peer_sig(self, state, sig):
        peer = self.params.participants[1 - self.index]
        if not self._chain.verify(peer, self._chain.state_hash(state), sig):
            raise ProtocolError("version %d: the peer's signature is wrong" % state.version)

    # -- opening ------------------------------------------------------------------------------

    def open(self):
        """Send the own signature on version 0 (again, if asked again)."""
        return [Persist(), self._acc(self.current)]

    def _acc(self, transaction):
        state = transaction.state
        return Send(ChannelUpdateAcc(self.id, state.version, transaction.sigs[self.index]))

    def _complete_opening(self, acc):
        state = self.current.state
        self._check_peer_sig(state, acc.sig)
        own = self.current.sigs[self.index]
        self.current = Transaction(state, self._sigs(own, acc.sig))
        self.phase = FUNDING
        return [Persist(), Watch(), Fund(), Tell(SIGNED, None)]

    def funded(self):
        """The chain holds all deposits."""
        if self.phase != FUNDING:
            return []
        self.phase = ACTING
        effects = [Persist(), Tell(OPEN, None)]
        early, self._early = self._early, None
        if early:
            try:
                effects += self._on_update(early)
            except ProtocolError as error:
                effects.append(self._rej(early.state.version, str(error)))
        return effects

    # -- own updates --------------------------------------------------------------------------

    @property
    def next_version(self):
        """The version of the state that comes next."""
        return max(self.current.state.version, self.burnt) + 1

    def _why_closed(self):
        """Why no update may be signed now, or None."""
        if self.evidence:
            return "the peer signed two states with one version: dispute"
        if self.doubts:
            return "after a restart the peer and the service are heard first"
        if self.phase not in (ACTING, SIGNING):
            return "the channel is not open for updates"
        return None

    def _ends_otherwise(self, state):
        """Whether `state` is another end than the one that this side has signed, or none."""
        end = self.staged and self.staged.state
        return end and end.is_final and not (state.is_final and state.allocation == end.allocation)

    def propose(self, state):
        """Sign the next `state` and send it to the peer. RuleError: nothing changed.

        While an own update is unanswered only the very same one may be proposed: it is sent again.
        """
        reason = self._why_closed()
        if reason:
            raise RuleError(reason)
        if self.phase == SIGNING:
            if state != self.staged.state:
                raise RuleError(
                    "version %d is signed and not answered: only the same again, or a dispute"
                    % self.staged.state.version
                )
            return self.retry()
        if self.pending:
            raise RuleError("answer the peer's update first")
        check_transition(self.current.state, state, self.index, self.next_version)
        if self._ends_otherwise(state):
            raise RuleError(_ENDS)
        self.staged = ChannelUpdate(state, self.index, self._sign(state))
        self.phase = SIGNING
        return [Persist(), Send(self.staged)]

    def retry(self):
        """Send again what the peer has not answered; empty when it owes no answer."""
        if self.phase == INIT_SIGNING:
            return self.open()
        if self.phase == FUNDING:  # the peer may have missed the own signature on version 0
            return [self._acc(self.current)]
        if self.phase == SIGNING and not self.doubts:
            return [Send(self.staged)]
        return []

    def _on_acc(self, acc):
        if acc.version == 0 and self.phase == INIT_SIGNING:
            return self._complete_opening(acc)
        state, sigs = self.current
        if self.staged and acc.version == self.staged.state.version > state.version:
            # Also when it was refused before, or a dispute runs: the newest state is the best.
            self._check_peer_sig(self.staged.state, acc.sig)
            self.confirmed = acc.version
            self._unsaved = self.phase == SIGNING and self._only_pays(self.staged.state)
            effects = self._commit(self.staged.state, self.staged.sig, acc.sig)
            return effects[1:] if self._unsaved else effects  # without its Persist
        if acc.version == state.version and acc.sig == sigs[1 - self.index]:
            return []  # a repetition
        raise ProtocolError("nothing of version %d awaits a signature" % acc.version)

    def _only_pays(self, state):
        """Whether this side has nothing from `state` that it has not without it."""
        index = self.index
        return not state.is_final and all(
            row[index] <= old[index]
            for row, old in zip(state.allocation.balances, self.current.state.allocation.balances)
        )

    def _on_rej(self, rej):
        if self.phase == SIGNING and rej.version == self.staged.state.version:
            # The signature is out and the peer may use it yet: never another state with it.
            self.burnt = max(self.burnt, rej.version)
            self.phase = ACTING
            return [Persist(), Tell(REJECTED, rej.reason)]
        if rej.version <= max(self.current.state.version, self.burnt):
            return []  # a repetition
        raise ProtocolError("nothing of version %d awaits an answer" % rej.version)

    def _commit(self, state, own, peer):
        """Both signed `state`: it is the current one now."""
        self.current = Transaction(state, self._sigs(own, peer))
        self.pending = None
        if self.staged and self.staged.state.version <= state.version:
            self.staged = None
        if self.phase in (ACTING, SIGNING):
            self.phase = FINAL if state.is_final else SIGNING if self.staged else ACTING
        kind = CLOSED if state.is_final else UPDATED
        return [Persist(), Watch(), Tell(kind, state.version)]

    # -- the peer's updates ---------------------------------------------------------------------

    def _on_update(self, update):
        state = update.state
        if state.id != self.id:
            raise ProtocolError("another channel's update")
        if update.actor != 1 - self.index:
            raise ProtocolError("the actor is not the sender")
        if self.phase in (INIT_SIGNING, FUNDING) and state.version == 1:
            # A peer that is funded earlier may start earlier: keep one, look at it when funded.
            if self._early and self._early != update:
                raise ProtocolError("a second version 1 before the funding")
            self._early = update
            return []
        if state == self.current.state and state.version:
            return [self._acc(self.current)]  # the answer was lost: the same once more
        if self.pending == update:
            return []
        if self.refused and self.refused.state == state:
            crossed = self.staged and self.staged.state.version >= state.version
            return [self._rej(state.version, CROSSING if crossed else "refused already")]
        return self._judge(update)

    def _judge(self, update):
        """An update that was not seen before."""
        state = update.state
        version = state.version
        known = [u for u in (self.refused, self.pending, self._counterpart()) if u]
        twins = [u for u in known if u.state.version == version]
        # The own signature on another state with this version is out already.
        crossing = self.staged and version <= max(self.staged.state.version, self.burnt)
        crossing = crossing and version > self.current.state.version
        if not twins and not crossing and version != self.next_version:
            raise ProtocolError("version %d where %d is next" % (version, self.next_version))
        self._check_peer_sig(state, update.sig)
        if twins:
            self.evidence = (twins[0], update)
            self.pending = None
            return [Persist(), Tell(EQUIVOCATION, version)]
        reason = self._why_closed()
        if reason:
            raise ProtocolError(reason)
        if self.staged and self.staged.state == state:  # both propose the very same
            self.confirmed = version
            return self._countersign(update, self.staged.sig)
        try:
            check_transition(self.current.state, state, update.actor, version)
        except RuleError as error:
            return self._refuse(update, str(error)) + [Tell(VIOLATION, str(error))]
        if crossing:
            return self._refuse(update, CROSSING)
        if self._ends_otherwise(state):
            return self._refuse(update, _ENDS)
        self.pending = update
        return [Ask(state)]

    def _counterpart(self):
        """The current state as an update of the peer; None while the peer has not signed it."""
        state, sigs = self.current
        sig = sigs[1 - self.index]
        return ChannelUpdate(state, 1 - self.index, sig) if sig else None

    def accept(self):
        """The application agrees to the pending update: sign it."""
        update = self._take_pending()
        return self._countersign(update, self._sign(update.state))

    def _countersign(self, update, own):
        """The peer's update counts; the own signature goes out once that is stored."""
        effects = self._commit(update.state, own, update.sig)
        effects.insert(1, self._acc(self.current))
        return effects

    def reject(self, reason):
        """The application refuses the pending update. reason: text for the peer."""
        return self._refuse(self._take_pending(), reason)

    def _take_pending(self):
        update = self.pending
        if not update:
            raise RuleError("no update is pending")
        self.pending = None
        return update

    def _refuse(self, update, reason):
        """The version is burnt, and stored as such: it is never signed later."""
        self.refused = update
        self.burnt = max(self.burnt, update.state.version)
        return [Persist(), self._rej(update.state.version, reason)]

    def _rej(self, version, reason):
        return Send(ChannelUpdateRej(self.id, version, reason))

    # -- what arrives from the peer -------------------------------------------------------------

    def receive(self, message):
        """Handle a message of the peer about this channel."""
        kind = type(message)
        if kind is ChannelUpdate:
            return self._on_update(message)
        if kind is ChannelUpdateAcc:
            return self._on_acc(message)
        if kind is ChannelUpdateRej:
            return self._on_rej(message)
        if kind is ChannelSync:
            return self._on_sync(message)
        raise ProtocolError("not a message about a channel")

    # -- who has what -----------------------------------------------------------------------------

    def ask(self):
        """Show the peer what this side has, so that it shows what it has."""
        self.asked, self._answered = True, False
        return self._shown()

    def again(self):
        """On a new link, and after a restart once all have been heard: send again what the peer
        may have missed, and have it do so. Both before a ChannelSync: who has that has all."""
        return self.retry() + self.ask()

    def sync(self):
        """What the peer is told of what this side has."""
        return ChannelSync(self.phase, self.current)

    def _on_sync(self, message):
        behind = False
        effects = []
        if message.current:
            state, sigs = message.current
            if len(sigs) != 2:
                raise ProtocolError("sync: one signature per participant is needed")
            effects = self._compare(state, sigs)
            behind = state.version < self.current.state.version
        # Nothing tells a question from an answer. Of two in a row that nobody here asked for only
        # one is answered, so that two sides never go on answering each other's answers.
        self._answered = behind or not (self.asked or self._answered)
        self.doubts &= ~DOUBT_PEER
        self.asked = False
        effects += self.retry()  # it lost its link or its memory, and what came then
        if self._answered:
            effects += self._shown()
        return effects

    def _shown(self):
        """Send a ChannelSync, of what is stored."""
        effects = [Persist()] if self._unsaved else []
        self._unsaved = False
        return effects + [Send(self.sync())]

    def _compare(self, state, sigs):
        """The peer's newest state beside the own one."""
        mine = self.current.state
        if state.id != self.id:
            raise ProtocolError("sync: another channel's state")
        if state.version > mine.version:
            return self._adopt(state, sigs)
        if state == mine and self.phase == INIT_SIGNING and sigs[1 - self.index]:
            return self._on_acc(ChannelUpdateAcc(self.id, 0, sigs[1 - self.index]))
        if state.version == mine.version and state != mine:
            if not self._counterpart():
                raise ProtocolError("sync: another version 0 than agreed")
            twin = ChannelUpdate(state, 1 - self.index, sigs[1 - self.index] or b"")
            self._check_peer_sig(state, twin.sig)
            self.evidence = (self._counterpart(), twin)
            return [Persist(), Tell(EQUIVOCATION, state.version)]
        return []

    def service_holds(self, transaction=None):
        """What the service has: a Transaction, or None when it is nothing newer than the own."""
        effects = self._adopt(*transaction) if transaction else []
        self.doubts &= ~DOUBT_SERVICE
        return effects

    def _adopt(self, state, sigs):
        """Take over a newer state that carries both signatures, so the own one as well."""
        old, new = self.current.state.allocation, state.allocation
        if (
            state.id != self.id
            or state.app != self.params.app
            or new.assets != old.assets
            or totals(new) != totals(old)
        ):
            raise ProtocolError("not a state of this channel")
        if state.version <= self.current.state.version:
            return []
        state_hash = self._chain.state_hash(state)
        for address, sig in zip(self.params.participants, sigs):
            if not sig or not self._chain.verify(address, state_hash, sig):
                raise ProtocolError("a newer state without both signatures")
        if self.staged and self.staged.state == state:
            self.confirmed = state.version
        return self._commit(state, sigs[self.index], sigs[1 - self.index])

    # -- what arrives from the chain --------------------------------------------------------------

    def registered(self, version):
        """A dispute runs: no more updates, the chain decides."""
        if self.phase >= WITHDRAWING:
            return []
        self.phase = REGISTERED
        self.pending = None
        return [Persist(), Tell(DISPUTED, version)]

    def concluded(self, version):
        """The chain fixed the outcome of `version`; what is left is to withdraw."""
        if self.phase >= WITHDRAWING:
            return []
        self.phase = WITHDRAWING
        self.pending = None
        return [Persist(), Tell(CONCLUDED, version)]

    def withdrawn(self):
        """The own money is at the receiver."""
        if self.phase == WITHDRAWN:
            return []
        self.phase = WITHDRAWN
        return [Persist(), Tell(WITHDRAWN_EVENT, None)]
