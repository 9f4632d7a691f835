"""What a perun-rs device and its service say: package perunremote, over go-perun's generation 1.

perun-rs pads amounts, the nonce and chain ids to 32 bytes and writes an app of 20 zeros where
there is none; all of that is read, and what is written here is as short as go-perun's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from perun.model import Params, State
from perun.wire import WireError, protobuf
from perun.wire.protobuf import Protobuf
from perun.wire.protobuf_fields import fields, put_bytes
from perun.wire.subchannel_messages import SignedState

_MOST_ASSETS = 64


class Auth(NamedTuple):
    """A withdrawal authorization for the asset of the same index. Empty for no amount."""

    sig: bytes
    receiver: bytes


class FundingRequest(NamedTuple):
    """Deposit for this participant."""

    participant: int
    params: Params
    state: State
    agreement: tuple[tuple[int, ...], ...]


class FundingResponse(NamedTuple):
    """All deposits are there, or will not be."""

    channel_id: bytes
    success: bool


class WatchRequest(NamedTuple):
    """Guard this state."""

    participant: int
    signed: SignedState
    auths: tuple[Auth, ...]


class WatchResponse(NamedTuple):
    """The state is guarded, or was refused."""

    channel_id: bytes
    version: int
    success: bool


class ForceCloseRequest(NamedTuple):
    """Register the newest state."""

    channel_id: bytes
    latest: WatchRequest | None


class ForceCloseResponse(NamedTuple):
    """It will be registered, or was refused."""

    channel_id: bytes
    success: bool


class DisputeNotification(NamedTuple):
    """A state is registered on chain."""

    channel_id: bytes


def _message(cls: Any, *table: tuple[int, str]) -> tuple[Any, ...]:
    return ("message", cls, None, 0, table)


_KINDS = {
    "auth_sig": ("bin", 0, 65, 65),
    "auth_receiver": ("bin", 0, 20, 20),
    "auth": _message(Auth, (1, "auth_sig"), (2, "auth_receiver")),
    "auths": ("list", "auth", 0, _MOST_ASSETS),
    "watch": _message(WatchRequest, (1, "u16"), (2, "signed_state"), (3, "auths")),
    "some_watch": ("optional", "watch"),
}
_MESSAGES = {
    1: _message(FundingRequest, (1, "u16"), (2, "params"), (3, "state"), (4, "rows")),
    2: _message(FundingResponse, (1, "id"), (2, "flag")),
    3: _KINDS["watch"],
    4: _message(WatchResponse, (1, "id"), (2, "u64"), (3, "flag")),
    5: _message(ForceCloseRequest, (1, "id"), (2, "some_watch")),
    6: _message(ForceCloseResponse, (1, "id"), (3, "flag")),
    7: _message(DisputeNotification, (1, "id")),
}


class PerunRemote(Protobuf):
    """The codec: encode(message) -> body, decode(body) -> message; WireError for anything else."""

    def __init__(self) -> None:
        super().__init__(1, b"", b"")
        protobuf._extend(protobuf._SUBCHANNEL[0])  # params and signed states are in those tables

    def _spec(self, kind: str) -> Any:
        return _KINDS.get(kind) or super()._spec(kind)

    def encode(self, message: Any) -> bytes:
        for number, spec in _MESSAGES.items():
            if isinstance(message, spec[1]):
                out = bytearray()
                put_bytes(out, number, self._dump(spec, message))
                return bytes(out)
        raise WireError(f"no message of this protocol: {type(message).__name__}")

    def decode(self, body: bytes) -> Any:
        found = [one for one in fields(memoryview(body)) if one[0] in _MESSAGES]
        if len(found) != 1:
            raise WireError("exactly one known message is expected")
        number, value = found[0]
        return self._load(_MESSAGES[number], value)
