"""go-perun's other serializer, generation 2: fields one after the other, without tags or frames.

It keeps what go-perun's protocol buffers drop, the funds locked in sub-channels. Nothing says how
long a message is: it ends where its last field does, so what cannot be decoded ends the
connection. Integers are little-endian, but for the length of the handshake's signature. As strict
as the protobuf codec: one entry per address, Ethereum's; amounts of at most 32 bytes.

The ledger channels' messages only, which is what devices speak.
"""

from __future__ import annotations

from perun.model import NO_APP, Allocation, State, SubAlloc, Transaction
from perun.model.rules import MAX_ASSETS, MAX_LOCKED, PARTICIPANTS
from perun.wire import control_messages as control
from perun.wire import WireError, kinds, messages
from perun.wire.protobuf_asset import check_assets, dump_asset, load_asset

_ETHEREUM = 1
_MARK = b"\1\0\0\0"
_SIG = 65
_AUX = 256


class Incomplete(WireError):
    """The message goes on beyond what is there."""


class Perunio:
    """The codec of a connection. own, peer: the marshalled wire addresses of the two ends."""

    def __init__(self, own: bytes, peer: bytes) -> None:
        self._own = own
        self._peer = peer

    def encode(self, message: object) -> bytes:
        """The bytes of the whole envelope, or WireError."""
        writer = _Writer()
        writer.address(self._own)
        writer.address(self._peer)
        writer.message(message)
        if len(writer.out) > kinds.MAX_BODY:
            raise WireError("the message is too long")
        return bytes(writer.out)

    def decode(self, data: bytes) -> tuple[object, int]:
        """(message, its length) at the beginning of `data`. WireError; Incomplete: read more."""
        reader = _Reader(data)
        addresses = (reader.address(), reader.address())
        message = reader.message()
        if addresses != (self._peer, self._own):
            raise WireError("an envelope of somebody else")
        return message, reader.at


def addresses(data: bytes) -> tuple[bytes, bytes]:
    """(sender, recipient) of the envelope at the beginning of `data`."""
    reader = _Reader(data)
    return reader.address(), reader.address()


class _Writer:
    def __init__(self) -> None:
        self.out = bytearray()

    def uint(self, value: int, size: int) -> None:
        self.out += kinds.check_uint(value, 8 * size).to_bytes(size, "little")

    def raw(self, value: bytes, size: int) -> None:
        self.out += kinds.check_bin(value, ("bin", size, size, 1))

    def chunk(self, value: bytes) -> None:
        self.uint(len(value), 2)
        self.out += value

    def text(self, value: str) -> None:
        self.chunk(kinds.text_bytes(value, 1024))

    def amount(self, value: int) -> None:
        data = kinds.check_uint(value, 256).to_bytes(32, "big").lstrip(b"\0")
        self.uint(len(data), 1)
        self.out += data

    def address(self, value: bytes) -> None:
        self.uint(1, 4)
        self.uint(_ETHEREUM, 4)
        self.chunk(kinds.check_bin(value, kinds.KINDS["wire_address"]))

    def balances(self, rows: tuple[tuple[int, ...], ...]) -> None:
        self.uint(len(rows), 2)
        self.uint(PARTICIPANTS, 2)
        for row in rows:
            for value in kinds.check_tuple(row, PARTICIPANTS, PARTICIPANTS):
                self.amount(value)

    def allocation(self, value: Allocation) -> None:
        kinds.check_type(value, Allocation)
        check_assets(value.assets)
        kinds.check_allocation(value)
        for count in (len(value.assets), PARTICIPANTS, len(value.locked)):
            self.uint(count, 2)
        for asset in value.assets:
            self.uint(asset.backend, 4)
            native = asset.backend == _ETHEREUM
            self.chunk(dump_asset(asset, _MARK) if native else asset.holder)
        self.balances(value.balances)
        for sub in value.locked:
            self.raw(sub.id, 32)
            self.uint(len(sub.balances), 2)
            for amount in sub.balances:
                self.amount(amount)
            self.uint(len(sub.index_map), 2)
            for index in sub.index_map:
                self.uint(index, 2)

    def app_and_data(self, app: bytes, data: bytes) -> None:
        self.uint(1 if app else 0, 1)
        if app:
            self.chunk(kinds.check_bin(app, kinds.KINDS["app"]))
        self.chunk(data)

    def state(self, value: State) -> None:
        kinds.check_type(value, State)
        self.raw(value.id, 32)
        self.uint(value.version, 8)
        self.allocation(value.allocation)
        self.uint(int(value.is_final), 1)
        self.app_and_data(value.app, value.data)

    def transaction(self, value: Transaction | None) -> None:
        self.uint(0 if value is None else 1, 1)
        if value is None:
            return
        self.state(value.state)
        sigs = kinds.check_tuple(value.sigs, PARTICIPANTS, PARTICIPANTS)
        self.uint(sum(1 << i for i, sig in enumerate(sigs) if sig), 1)
        for sig in sigs:
            if sig:
                self.raw(sig, _SIG)

    def message(self, message: object) -> None:
        match message:
            case control.Ping() | control.Pong():
                self.uint(int(isinstance(message, control.Pong)), 1)
                self.uint(message.created, 8)
            case control.Shutdown():
                self.uint(2, 1)
                self.text(message.reason)
            case control.AuthResponse():
                self.uint(3, 1)
                self.out += len(message.signature).to_bytes(4, "big") + message.signature
            case messages.LedgerChannelProposal():
                self.uint(4, 1)
                self.proposal(message)
            case messages.LedgerChannelProposalAcc():
                self.uint(5, 1)
                self.raw(message.proposal_id, 32)
                self.raw(message.nonce_share, 32)
                self.address(message.participant)
            case messages.ChannelProposalRej():
                self.uint(10, 1)
                self.raw(message.proposal_id, 32)
                self.text(message.reason)
            case messages.ChannelUpdate():
                self.uint(11, 1)
                self.state(message.state)
                self.uint(message.actor, 2)
                self.raw(message.sig, _SIG)
            case messages.ChannelUpdateAcc():
                self.uint(14, 1)
                self.raw(message.channel_id, 32)
                self.uint(message.version, 8)
                self.raw(message.sig, _SIG)
            case messages.ChannelUpdateRej():
                self.uint(15, 1)
                self.raw(message.channel_id, 32)
                self.uint(message.version, 8)
                self.text(message.reason)
            case messages.ChannelSync():
                self.uint(16, 1)
                self.uint(message.phase, 1)
                self.transaction(message.current)
            case _:
                raise WireError(f"no such message here: {type(message).__name__}")

    def proposal(self, value: messages.LedgerChannelProposal) -> None:
        self.raw(value.proposal_id, 32)
        self.uint(value.challenge_duration, 8)
        self.raw(value.nonce_share, 32)
        self.app_and_data(value.app, value.init_data)
        self.allocation(value.init_bals)
        self.balances(value.funding_agreement)
        self.raw(value.aux or bytes(_AUX), _AUX)
        self.address(value.participant)
        self.uint(len(value.peers), 4)
        for peer in value.peers:
            self.address(peer)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def raw(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise Incomplete("the message is cut off")
        self.at, piece = end, bytes(self._data[self.at : end])
        return piece

    def uint(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "little")

    def count(self, size: int, least: int, most: int) -> int:
        value = self.uint(size)
        if not least <= value <= most:
            raise WireError(f"{value} of something, {least} to {most} are expected")
        return value

    def flag(self) -> bool:
        return self.count(1, 0, 1) == 1

    def chunk(self) -> bytes:
        return self.raw(self.uint(2))

    def text(self) -> str:
        raw = self.chunk()
        if len(raw) > 1024:
            raise WireError("a text has more than 1024 bytes")
        text: str = kinds.checked_text(raw)
        return text

    def amount(self) -> int:
        return int.from_bytes(self.raw(self.count(1, 0, 32)), "big")

    def address(self) -> bytes:
        self.count(4, 1, 1)
        if self.uint(4) != _ETHEREUM:
            raise WireError("an address of another backend")
        return bytes(kinds.check_bin(self.chunk(), kinds.KINDS["wire_address"]))

    def account(self) -> bytes:
        return bytes(kinds.check_bin(self.address(), kinds.KINDS["address"]))

    def balances(self) -> tuple[tuple[int, ...], ...]:
        rows = self.count(2, 1, MAX_ASSETS)
        self.count(2, PARTICIPANTS, PARTICIPANTS)
        return tuple(tuple(self.amount() for _ in range(PARTICIPANTS)) for _ in range(rows))

    def allocation(self) -> Allocation:
        assets = self.count(2, 1, MAX_ASSETS)
        self.count(2, PARTICIPANTS, PARTICIPANTS)
        locked = self.count(2, 0, MAX_LOCKED)
        named = tuple(self._asset() for _ in range(assets))
        balances = self.balances()
        allocation = Allocation(named, balances, tuple(self._sub() for _ in range(locked)))
        kinds.check_allocation(allocation)
        return allocation

    def _asset(self) -> object:
        if self.uint(4) != _ETHEREUM:
            raise WireError("an asset of another backend")
        data = self.chunk()
        if not data:
            raise WireError("an asset is empty")
        return load_asset(data, _MARK)

    def _sub(self) -> SubAlloc:
        ident = self.raw(32)
        amounts = tuple(self.amount() for _ in range(self.count(2, 1, MAX_ASSETS)))
        indices = tuple(self.uint(2) for _ in range(self.count(2, 0, PARTICIPANTS)))
        return SubAlloc(ident, amounts, indices)

    def app_and_data(self) -> tuple[bytes, bytes]:
        app = NO_APP
        if self.flag():
            app = kinds.check_bin(self.chunk(), ("bin", 20, 20, 1))
        return app if any(app) else NO_APP, self.chunk()

    def state(self) -> State:
        ident, version, allocation = self.raw(32), self.uint(8), self.allocation()
        final = self.flag()
        app, data = self.app_and_data()
        state = State(ident, version, app, allocation, data, final)
        kinds.check_state(state)
        return state

    def transaction(self) -> Transaction | None:
        if not self.flag():
            return None
        state = self.state()
        mask = self.count(1, 0, 3)
        sigs = tuple(self.raw(_SIG) if mask >> i & 1 else None for i in range(PARTICIPANTS))
        return Transaction(state, sigs)

    def message(self) -> object:
        number = self.uint(1)
        match number:
            case 0 | 1:
                created = kinds.check_uint(self.uint(8), 63)
                return control.Pong(created) if number else control.Ping(created)
            case 2:
                return control.Shutdown(self.text())
            case 3:
                size = int.from_bytes(self.raw(4), "big")
                if size > 1024:
                    raise WireError("a signature of more than 1024 bytes")
                return control.AuthResponse(self.raw(size))
            case 4:
                return self._proposal()
            case 5:
                ident, share = self.raw(32), self.raw(32)
                return messages.LedgerChannelProposalAcc(ident, share, self.account())
            case 10:
                ident = self.raw(32)
                return messages.ChannelProposalRej(ident, self.text())
            case 11:
                state, actor = self.state(), self.uint(2)
                return messages.ChannelUpdate(state, actor, self.raw(_SIG))
            case 14:
                ident, version = self.raw(32), self.uint(8)
                return messages.ChannelUpdateAcc(ident, version, self.raw(_SIG))
            case 15:
                ident, version = self.raw(32), self.uint(8)
                return messages.ChannelUpdateRej(ident, version, self.text())
            case 16:
                phase = self.uint(1)
                return messages.ChannelSync(phase, self.transaction())
        raise WireError(f"message type {number} is not known here")

    def _proposal(self) -> messages.LedgerChannelProposal:
        ident, duration, share = self.raw(32), self.uint(8), self.raw(32)
        app, data = self.app_and_data()
        allocation, agreement, aux = self.allocation(), self.balances(), self.raw(_AUX)
        participant = self.account()
        peers = tuple(self.address() for _ in range(self.count(4, PARTICIPANTS, PARTICIPANTS)))
        proposal = messages.LedgerChannelProposal(
            ident, duration, share, app, data, allocation, agreement, aux, participant, peers
        )
        kinds.check_proposal(proposal)
        return proposal
