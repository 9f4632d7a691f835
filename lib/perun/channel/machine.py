"""The life of one ledger channel between two participants.

Every method takes what arrived and returns a list of effects (perun.channel); ProtocolError means
that nothing changed. The rules that protect the owner's money:

* Persist comes before Send in every list: no signature leaves that the store does not know.
* No two different states are signed with one version: an own update that was not answered, or was
  refused, stays in `staged`, and only the very same one may be sent again or signed otherwise.
* `current` is always signed by both; only what is in it counts as paid.

Source: go-perun's channel machine and update protocol, made stricter as described above.
"""

from perun.channel import (
    ACTING,
    CLOSED,
    CONCLUDED,
    DISPUTED,
    FINAL,
    FUNDING,
    INIT_SIGNING,
    OPEN,
    REGISTERED,
    REJECTED,
    SIGNED,
    SIGNING,
    UPDATED,
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


def begin(chain, account, params, index, state, agreement):
    """A new Channel: `state`, its version 0, with the own signature."""
    sig = chain.sign(account, chain.state_hash(state))
    sigs = (sig, None) if index == 0 else (None, sig)
    current = Transaction(state, sigs)
    return Channel(chain, account, params, index, agreement, INIT_SIGNING, current)


class Channel:
    """A channel as it is: new from `begin()`, or one that was stored.

    chain: perun.chain's encoding; account: signs as participant `index` of `params`; agreement:
    balances, who deposits what; current: the newest Transaction; staged: the own ChannelUpdate
    that the peer has not signed, or None. The attributes are for reading only.
    """

    def __init__(self, chain, account, params, index, agreement, phase, current, staged=None):
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
        self.pending = None  # the peer's ChannelUpdate that the application decides on
        self._early = None  # the peer's version-1 update that came before the funding

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

    def propose(self, state):
        """Sign the next `state` and send it to the peer. RuleError: nothing changed.

        While an own update is unanswered only the very same one may be proposed: it is sent again.
        """
        if self.staged:
            if state != self.staged.state:
                raise RuleError(
                    "version %d is signed already: send the same update again, or dispute"
                    % self.staged.state.version
                )
            self.phase = SIGNING
            return self.retry()
        if self.phase != ACTING:
            raise RuleError("the channel is not open for updates")
        if self.pending:
            raise RuleError("answer the peer's update first")
        check_transition(self.current.state, state, self.index)
        self.staged = ChannelUpdate(state, self.index, self._sign(state))
        self.phase = SIGNING
        return [Persist(), Send(self.staged)]

    def retry(self):
        """Send again what the peer has not answered; empty when it owes no answer."""
        if self.phase == INIT_SIGNING:
            return self.open()
        if self.phase == FUNDING:  # the peer may have missed the own signature on version 0
            return [self._acc(self.current)]
        if self.phase == SIGNING:
            return [Send(self.staged)]
        return []

    def _on_acc(self, acc):
        if acc.version == 0 and self.phase == INIT_SIGNING:
            return self._complete_opening(acc)
        if self.phase == SIGNING and acc.version == self.staged.state.version:
            self._check_peer_sig(self.staged.state, acc.sig)
            return self._commit(self.staged.state, self.staged.sig, acc.sig)
        state, sigs = self.current
        if acc.version == state.version and acc.sig == sigs[1 - self.index]:
            return []  # a repetition
        raise ProtocolError("nothing of version %d awaits a signature" % acc.version)

    def _on_rej(self, rej):
        if self.phase != SIGNING or rej.version != self.staged.state.version:
            raise ProtocolError("nothing of version %d awaits an answer" % rej.version)
        # The signature is out: the refused state stays staged, so that no other one is signed.
        self.phase = ACTING
        return [Persist(), Tell(REJECTED, rej.reason)]

    def _commit(self, state, own, peer):
        """Both signed `state`: it is the current one now."""
        self.current = Transaction(state, self._sigs(own, peer))
        self.staged = self.pending = None
        self.phase = FINAL if state.is_final else ACTING
        kind = CLOSED if state.is_final else UPDATED
        return [Persist(), Watch(), Tell(kind, state.version)]

    # -- the peer's updates ---------------------------------------------------------------------

    def _on_update(self, update):
        state = update.state
        if state.id != self.id:
            raise ProtocolError("another channel's update")
        if self.phase in (INIT_SIGNING, FUNDING) and state.version == 1:
            # A peer that is funded earlier may start earlier: keep one, look at it when funded.
            if self._early and self._early != update:
                raise ProtocolError("a second version 1 before the funding")
            self._early = update
            return []
        if state == self.current.state:
            if update.actor != 1 - self.index or state.version == 0:
                raise ProtocolError("this state was not yours to propose")
            return [self._acc(self.current)]  # the answer was lost: the same once more
        if self.pending == update:
            return []
        if self.phase not in (ACTING, SIGNING):
            raise ProtocolError("the channel is not open for updates")
        if update.actor != 1 - self.index:
            raise ProtocolError("the actor is not the sender")
        try:
            check_transition(self.current.state, state, update.actor)
        except RuleError as error:
            raise ProtocolError(str(error))
        if self.staged and self.staged.state != state:
            # Crossing updates, or one after a refusal: signing it would be a second signature
            # on this version.
            raise ProtocolError("version %d is signed otherwise already" % state.version)
        self._check_peer_sig(state, update.sig)
        self.pending = update
        return [Ask(state)]

    def accept(self):
        """The application agrees to the pending update: sign it."""
        update = self._take_pending()
        effects = self._commit(update.state, self._sign(update.state), update.sig)
        effects.insert(1, self._acc(self.current))
        return effects

    def reject(self, reason):
        """The application refuses the pending update. reason: text for the peer."""
        return [self._rej(self._take_pending().state.version, reason)]

    def _take_pending(self):
        update = self.pending
        if not update:
            raise RuleError("no update is pending")
        self.pending = None
        return update

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

    def sync(self):
        """What the peer is told when it asks what this side has."""
        return ChannelSync(self.phase, self.current)

    def _on_sync(self, message):
        if message.current is None:
            return []
        state, sigs = message.current
        mine = self.current.state
        if state.id != self.id or len(sigs) != 2:
            raise ProtocolError("sync: another channel's state")
        if state.version < mine.version:
            return [Send(self.sync())]  # the peer is behind: show it the newer one
        if state.version == mine.version:
            if state != mine:
                raise ProtocolError("sync: another state with version %d" % state.version)
            if self.phase == INIT_SIGNING and sigs[1 - self.index]:
                return self._on_acc(ChannelUpdateAcc(self.id, 0, sigs[1 - self.index]))
            return []
        return self._adopt(state, sigs)

    def _adopt(self, state, sigs):
        """Take over a newer state that carries both signatures, so the own one as well."""
        old, new = self.current.state.allocation, state.allocation
        if new.assets != old.assets or totals(new) != totals(old) or state.app != self.params.app:
            raise ProtocolError("sync: not a state of this channel")
        state_hash = self._chain.state_hash(state)
        for address, sig in zip(self.params.participants, sigs):
            if not sig or not self._chain.verify(address, state_hash, sig):
                raise ProtocolError("sync: a signature is missing or wrong")
        self.current = Transaction(state, tuple(sigs))
        if self.staged and self.staged.state.version <= state.version:
            self.staged = None
        self.pending = None
        if self.phase in (ACTING, SIGNING):
            self.phase = FINAL if state.is_final else SIGNING if self.staged else ACTING
        kind = CLOSED if state.is_final else UPDATED
        return [Persist(), Watch(), Tell(kind, state.version)]

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
