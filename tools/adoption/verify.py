"""Is it true? The checks that nothing from a device or a peer escapes.

Everything raises Refused with an error code of the protocol and a text that says what to do.
The curve is coincurve's, the encodings eth-abi's: nothing is shared with the device's own code.
"""

from __future__ import annotations

from collections.abc import Sequence

from coincurve import PublicKey
from perun.model import Asset, Params, State
from perun.model.opening import check_funding_agreement, check_params
from perun.model.rules import RuleError, check_state
from perun.wire import service_messages as sm

from adoption import encoding
from adoption.config import Config

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Refused(Exception):
    """A request that cannot be served. code: ERROR_* of the service messages."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def recover(hash32: bytes, signature: bytes) -> bytes | None:
    """The address that signed, or None for anything that the contracts would not accept.

    65 bytes, v 27 or 28, 1 <= r < n, 1 <= s <= n/2: go-perun takes more than that, the chain
    does not, and a signature that only one of them takes is worth nothing.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        return None
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:64], "big")
    if not (1 <= r < _ORDER and 1 <= s <= _ORDER // 2):
        return None
    raw = signature[:64] + bytes((signature[64] - 27,))
    try:
        digest = encoding.message_digest(hash32)
        key = PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except Exception:  # coincurve raises plain Exceptions for an r that is no point
        return None
    return encoding.address_of(key.format(compressed=False))


def signed_by(address: bytes, hash32: bytes, signature: bytes | None) -> bool:
    """Did `address` sign the hash, strictly?"""
    return signature is not None and recover(hash32, bytes(signature)) == address


def identify(config: Config, params: Params) -> bytes:
    """The id of a ledger channel. Raises Refused."""
    try:
        check_params(params)
    except RuleError as error:
        raise Refused(sm.ERROR_INVALID, f"params: {error}") from error
    if not params.ledger or params.virtual:
        raise Refused(sm.ERROR_INVALID, "only ledger channels can be funded and watched")
    return encoding.channel_id(params, config.chain.generation)


def check_channel(config: Config, params: Params) -> bytes:
    """The id of a channel that this service can guard. Raises Refused."""
    ident = identify(config, params)
    low, high = config.policy.min_challenge_duration, config.policy.max_challenge_duration
    if not low <= params.challenge_duration <= high:
        raise Refused(
            sm.ERROR_INVALID,
            f"challenge duration {params.challenge_duration} s: propose {low} to {high} s",
        )
    return ident


def check_signed_state(
    config: Config, params: Params, channel: bytes, state: State, sigs: Sequence[bytes | None]
) -> bytes:
    """The hash of a state that belongs to the channel and that everybody signed."""
    try:
        check_state(state)
    except RuleError as error:
        raise Refused(sm.ERROR_INVALID, f"state: {error}") from error
    if state.id != channel:
        raise Refused(sm.ERROR_INVALID, "the state's id is not the hash of the params")
    if state.app != params.app:
        raise Refused(sm.ERROR_INVALID, "the state's app is not the channel's")
    check_assets(config, state.allocation.assets)
    if state.allocation.locked:
        raise Refused(
            sm.ERROR_INVALID,
            "funds locked in sub-channels cannot be guarded: settle the sub-channels first",
        )
    hashed = encoding.state_hash(state, config.chain.generation)
    check_signatures(params, hashed, sigs)
    return hashed


def check_assets(config: Config, assets: Sequence[Asset]) -> None:
    """Only assets of this chain that the configuration pins."""
    served = config.assets()
    for asset in assets:
        if asset not in served:
            raise Refused(
                sm.ERROR_ASSET, "an asset is not served here: use those of the ServiceInfo"
            )


def check_signatures(params: Params, hash32: bytes, sigs: Sequence[bytes | None]) -> None:
    """One strictly valid signature per participant, in their order."""
    if len(sigs) != len(params.participants):
        raise Refused(sm.ERROR_SIGNATURE, "one signature per participant is needed")
    for index, (address, sig) in enumerate(zip(params.participants, sigs, strict=True)):
        if not signed_by(address, hash32, sig):
            raise Refused(
                sm.ERROR_SIGNATURE,
                f"the signature of participant {index} is missing or wrong"
                " (65 bytes, v 27 or 28, low s)",
            )


def check_participant(params: Params, participant: int, device: bytes) -> None:
    """The participant that the request names is the device of the session."""
    if not 0 <= participant < len(params.participants):
        raise Refused(sm.ERROR_INVALID, "no such participant")
    if params.participants[participant] != device:
        raise Refused(sm.ERROR_NOT_ALLOWED, "the participant is not the device of this session")


def check_agreement(state: State, agreement: Sequence[Sequence[int]]) -> None:
    """A funding agreement that fits the version-0 state."""
    try:
        check_funding_agreement(agreement, state.allocation)
    except RuleError as error:
        raise Refused(sm.ERROR_INVALID, str(error)) from error


def check_version_zero(state: State) -> None:
    """What may be funded: version 0, not final, nothing locked."""
    if state.version != 0 or state.is_final or state.allocation.locked:
        raise Refused(sm.ERROR_INVALID, "only a version-0 state that is not final can be funded")


def check_authorization(
    config: Config,
    auth: sm.WithdrawalAuth,
    channel: bytes,
    participant: bytes,
    amounts: Sequence[set[int]],
) -> None:
    """A pre-signed withdrawal that the contracts will accept.

    amounts: per asset the amounts that make sense (the state's balance, the own deposit, what
    the chain holds now).
    """
    if not 0 <= auth.asset < len(amounts):
        raise Refused(sm.ERROR_INVALID, "authorization: no such asset in this channel")
    if len(auth.receiver) != 20 or not any(auth.receiver):
        raise Refused(sm.ERROR_INVALID, "authorization: the receiver is no address")
    if auth.amount not in amounts[auth.asset]:
        raise Refused(
            sm.ERROR_INVALID,
            f"authorization for asset {auth.asset}: the amount must be the state's balance"
            " or the own deposit",
        )
    hashed = encoding.withdrawal_hash(
        channel, participant, auth.receiver, auth.amount, config.chain.generation
    )
    if not signed_by(participant, hashed, auth.sig):
        raise Refused(sm.ERROR_SIGNATURE, f"authorization for asset {auth.asset}: wrong signature")
