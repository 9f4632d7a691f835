"""A channel with a peer that is go-perun's: the same life, other rules for versions.

Between ours a refused update burns its version. go-perun has no such thing: the next update has
the version after the newest one that both signed, whatever was refused before, and it signs
another state with a version that was refused. So here:

* The next version is always the one after `current`.
* An own update that was refused or not answered stays in `staged`, for its signature is out: only
  the very same is sent again, whoever proposes what. What is left otherwise is a dispute about the
  newest state that both signed.
* The peer's update with the version of the own one is refused with a reason, never dropped:
  go-perun holds its channel until its proposal is answered, and only then looks at ours.
* A refused update of the peer was not signed here. Another one with its version is fine, and that
  the peer signs two is no evidence of anything.
* A second state with the version of `current` is refused: this side has signed that version. A
  go-perun node asks for that when it missed the answer to its update, and has forgotten it.

So this side never signs two different states with one version either.

ChannelSync is asked for seldom. A go-perun node answers it when its channel is not locked; if it
is still locked after ten seconds, by a proposal of its own or by a user who decides, it unlocks
what somebody else has locked, and dies of that a little later. So a new link is used for what
cannot do harm (`remind`), and whoever drives this asks the peer only when an answer must have been
lost.

Source: go-perun's client (update protocol, ChannelSync). It answers every ChannelSync and never
takes anything over from one.
"""

from perun.channel import (
    ACTING,
    CROSSING,
    DOUBT_PEER,
    FUNDING,
    INIT_SIGNING,
    SIGNING,
    VIOLATION,
    Ask,
    Persist,
    ProtocolError,
    Send,
    Tell,
)
from perun.channel.machine import Channel
from perun.model.rules import RuleError, check_transition


class ForeignChannel(Channel):
    """As Channel. `burnt` and `refused` say nothing here."""

    FORMAT = 2

    @property
    def next_version(self):
        """The version of the state that comes next."""
        return self.current.state.version + 1

    # -- own updates --------------------------------------------------------------------------

    def propose(self, state):
        """Sign the next `state` and send it to the peer. RuleError: nothing changed.

        After a refusal only the state that was refused may be proposed again.
        """
        staged = self.staged
        if not staged or self.phase != ACTING:
            return super().propose(state)
        reason = self._why_closed()
        if reason:
            raise RuleError(reason)
        if state != staged.state:
            raise RuleError(
                "version %d is signed and was refused: only the same again, or a dispute"
                % staged.state.version
            )
        self.phase = SIGNING
        return [Persist(), Send(staged)]

    def _only_pays(self, state):
        """Each answer is stored: a go-perun node is not asked again for what it has answered."""
        return False

    # -- the peer's updates ---------------------------------------------------------------------

    def _on_update(self, update):
        if self.phase in (INIT_SIGNING, FUNDING):
            self._early = None  # what the peer proposes now takes the place of what it gave up
        try:
            return super()._on_update(update)
        except ProtocolError as error:
            effects = [self._rej(update.state.version, str(error)), Tell(VIOLATION, str(error))]
            # A node that waits for an answer to its update answers no ChannelSync meanwhile.
            return effects + self.ask() if self.doubts & DOUBT_PEER else effects

    def _judge(self, update):
        """An update that was not seen before."""
        state = update.state
        if state.version == self.current.state.version:
            raise ProtocolError(
                "version %d is signed by both: the same again, or a dispute" % state.version
            )
        if state.version != self.next_version:
            raise ProtocolError("version %d where %d is next" % (state.version, self.next_version))
        self._check_peer_sig(state, update.sig)
        reason = self._why_closed()
        if reason:
            raise ProtocolError(reason)
        own = self.staged
        if own and own.state == state:  # both propose the very same
            self.confirmed = state.version
            return self._countersign(update, own.sig)
        try:
            check_transition(self.current.state, state, update.actor, state.version)
        except RuleError as error:
            return self._refuse(update, str(error)) + [Tell(VIOLATION, str(error))]
        if own:
            return self._refuse(
                update,
                CROSSING if self.phase == SIGNING else "this side's own version comes first",
            )
        self.pending = update
        return [Ask(state)]

    def _refuse(self, update, reason):
        """Nothing was signed, so there is nothing to remember."""
        return [self._rej(update.state.version, reason)]

    # -- who has what -----------------------------------------------------------------------------

    def remind(self):
        """Send again what the peer may have missed on an old link: the own update, or the answer
        to the peer's last one. A repetition costs nothing."""
        effects = self.retry()
        version = self.current.state.version
        if version and version != self.confirmed:
            effects.append(self._acc(self.current))
        return effects

    def again(self):
        """After a restart, once all have been heard."""
        return self.retry()

    def _on_sync(self, message):
        effects = []
        if message.current:
            state, sigs = message.current
            if len(sigs) != 2:
                raise ProtocolError("sync: one signature per participant is needed")
            effects = self._compare(state, sigs)
            if state.version < self.current.state.version:
                # It may still wait for this. To show it the newer state again leads nowhere.
                effects.append(self._acc(self.current))
        self._answered = not (self.asked or self._answered)
        self.asked = False
        self.doubts &= ~DOUBT_PEER
        if self._answered:
            effects.append(Send(self.sync()))
        return effects + self.retry()
