"""What the Adjudicator and the asset holder for Ether do, for ledger channels without an app.

Every method is a transaction that somebody sends; a refused one raises Reverted with the reason of
the contracts. test_adversary_chain.py compares it with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from adoption.chain import CONCLUDED, DISPUTE, Dispute, Reverted
from perun.model import Params, State
from perun.wire.service_messages import WithdrawalAuth

from protocol.adversary.crypto import SWIFT

Sigs = Sequence[bytes | None]


class CallData(NamedTuple):
    """What whoever registered a state has shown to everybody."""

    state: State
    sigs: tuple[bytes, ...]


def _require(ok: bool, reason: str) -> None:
    if not ok:
        raise Reverted(reason)


class Chain:
    """clock: the block time in whole seconds; on_fixed: called with the channel's id and the
    state each time an outcome can no longer be refuted."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.disputes: dict[bytes, Dispute] = {}
        self.call_data: dict[bytes, CallData] = {}  # state hash ->
        self.settled: dict[bytes, State] = {}
        self.holdings: dict[tuple[bytes, bytes], int] = {}  # channel, participant ->
        self.wallets: dict[bytes, int] = {}  # receiver ->
        self.on_fixed: Callable[[State], None] = lambda state: None

    @property
    def now(self) -> int:
        """The block time."""
        return self._clock()

    def held(self, channel: bytes, participant: bytes) -> int:
        """What waits for a participant, or is deposited."""
        return self.holdings.get((channel, participant), 0)

    def deposit(self, channel: bytes, participant: bytes, amount: int) -> None:
        """Anybody for anybody, at any time."""
        self.holdings[channel, participant] = self.held(channel, participant) + amount

    def _check_signed(self, params: Params, state: State, sigs: Sigs) -> bytes:
        _require(SWIFT.channel_id(params) == state.id, "invalid params")
        _require(len(sigs) == len(params.participants), "signatures length mismatch")
        hashed = SWIFT.state_hash(state)
        for address, sig in zip(params.participants, sigs, strict=True):
            _require(SWIFT.verify(address, hashed, sig), "invalid signature")
        return hashed

    def register(self, params: Params, state: State, sigs: Sigs) -> None:
        """Register, or refute with a newer state. A refutation does not extend the time."""
        hashed = self._check_signed(params, state, sigs)
        known = self.disputes.get(state.id)
        if known is not None and known.hash == hashed:
            return
        timeout = self.now if state.is_final else self.now + params.challenge_duration
        if known is not None:
            _require(state.version > known.version, "invalid version")
            _require(known.phase == DISPUTE, "incorrect phase")
            _require(self.now < known.timeout, "refutation timeout passed")
            timeout = self.now if state.is_final else known.timeout
        self._store(params, state, sigs, DISPUTE, timeout)
        if state.is_final:
            self.on_fixed(state)

    def _store(self, params: Params, state: State, sigs: Sigs, phase: int, timeout: int) -> None:
        hashed = SWIFT.state_hash(state)
        self.call_data[hashed] = CallData(state, tuple(sig or b"" for sig in sigs))
        self.disputes[state.id] = Dispute(
            phase, state.version, hashed, timeout, params.challenge_duration, False
        )

    def conclude(self, params: Params, state: State) -> None:
        """End a dispute whose time is over."""
        _require(SWIFT.channel_id(params) == state.id, "invalid params")
        known = self.disputes.get(state.id)
        if known is None:
            raise Reverted("not registered")
        _require(known.hash == SWIFT.state_hash(state), "invalid state")
        _require(known.phase != CONCLUDED, "already concluded")
        _require(self.now >= known.timeout, "timeout not passed yet")
        self.disputes[state.id] = known._replace(phase=CONCLUDED)
        self._set_outcome(params, state)

    def conclude_final(self, params: Params, state: State, sigs: Sigs) -> None:
        """End at once with a final state, whatever is registered and however old it is."""
        _require(state.is_final, "state not final")
        self._check_signed(params, state, sigs)
        known = self.disputes.get(state.id)
        _require(known is None or known.phase != CONCLUDED, "concluded already")
        self.on_fixed(state)
        self._store(params, state, sigs, CONCLUDED, self.now)
        self._set_outcome(params, state)

    def _set_outcome(self, params: Params, state: State) -> None:
        """With less money than the outcome needs, everybody keeps the own deposit."""
        self.settled[state.id] = state
        (row,) = state.allocation.balances
        if sum(self.held(state.id, part) for part in params.participants) >= sum(row):
            for part, amount in zip(params.participants, row, strict=True):
                self.holdings[state.id, part] = amount

    def withdraw(self, channel: bytes, participant: bytes, auth: WithdrawalAuth) -> None:
        """Anybody may bring the participant's authorization."""
        _require(channel in self.settled, "channel not settled")
        hashed = SWIFT.withdrawal_hash(channel, participant, auth.receiver, auth.amount)
        signed = SWIFT.verify(participant, hashed, auth.sig)
        _require(signed, "signature verification failed")
        held = self.held(channel, participant)
        _require(held >= auth.amount, "insufficient funds")
        self.holdings[channel, participant] = held - auth.amount
        self.wallets[auth.receiver] = self.wallets.get(auth.receiver, 0) + auth.amount
