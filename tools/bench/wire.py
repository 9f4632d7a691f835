"""How long frames are: the same conversation in every codec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from adoption.bridge.perunio import Perunio
from perun.wire import control_messages as control
from perun.wire.frame import tcp_frame
from perun.wire.serial import serial_frame
from perun.wire.protobuf import Protobuf

from bench import conversation

_Frame = Callable[[bytes], bytes]


class _Codec(Protocol):
    def encode(self, message: Any) -> bytes: ...

    def decode(self, body: bytes) -> Any: ...


def measure() -> dict[str, dict[str, int]]:
    """{codec: {message: bytes of the whole frame}}."""
    return {
        "compact": _compact(tcp_frame),
        "compact_serial": _compact(serial_frame),
        "gen1": _perun(1),
        "gen2": _perun(2),
        "gen2_eth": _perun(2, "ethereum"),
        "gen2_rsa": _perun(2, "rsa"),
        "perunio": _perunio(),
    }


def _compact(frame: _Frame) -> dict[str, int]:
    codec = conversation.compact(conversation.opened().state.id)
    hello, proof = conversation.hellos(), conversation.proofs()
    sizes = {
        "hello": _size(hello[0], codec, codec, frame),
        "hello_proof": _size(proof[0], codec, codec, frame),
        "handshake": sum(_size(message, codec, codec, frame) for message in (*hello, *proof)),
    }
    spoken = {**conversation.between_peers(), **conversation.with_service()}
    return sizes | {name: _size(message, codec, codec, frame) for name, message in spoken.items()}


def _perun(generation: int, kind: str = "name") -> dict[str, int]:
    """go-perun's protobuf over TCP between two nodes."""
    alice, bob = (_address(name, generation, kind) for name in ("Alice", "Bob"))
    theirs, ours = Protobuf(generation, alice, bob), Protobuf(generation, bob, alice)
    return _foreign(theirs, ours, (alice, bob), generation, kind, tcp_frame)


def _perunio() -> dict[str, int]:
    """go-perun's other serializer, which has no frames; between the same nodes as gen2_rsa."""
    alice, bob = (_address(name, 2, "rsa") for name in ("Alice", "Bob"))
    theirs, ours = _Perunio(alice, bob), _Perunio(bob, alice)
    return _foreign(theirs, ours, (alice, bob), 2, "rsa", bytes)


class _Perunio(Perunio):
    def decode(self, data: bytes) -> Any:
        return super().decode(data)[0]


def _foreign(
    theirs: _Codec,
    ours: _Codec,
    addresses: tuple[bytes, bytes],
    generation: int,
    kind: str,
    frame: _Frame,
) -> dict[str, int]:
    # Generation 1 authenticates nobody. In generation 2 the Ethereum backend's accounts send a
    # word, others a signature of RSA-2048; and a proposal has 256 bytes that say nothing.
    proof = b"" if generation == 1 else bytes(256) if kind == "rsa" else b"Authenticate"
    auth = control.AuthResponse(proof)
    aux = bytes(256 if generation == 2 else 0)
    sizes = {
        "auth": _size(auth, theirs, ours, frame),
        "handshake": _size(auth, theirs, ours, frame) + _size(auth, ours, theirs, frame),
    }
    spoken = conversation.between_peers(addresses, aux)
    return sizes | {name: _size(message, theirs, ours, frame) for name, message in spoken.items()}


def _address(name: str, generation: int, kind: str) -> bytes:
    """The marshalled wire address of a node: a name, with or without an RSA-2048 key, or the
    Ethereum backend's."""
    if kind == "ethereum":
        return name.encode().ljust(20, b"\1")
    raw = name.encode()
    if generation == 1:
        return raw
    key = b"\1\0" + b"\xff" * 256 + b"\0\1\0\1" if kind == "rsa" else b""
    return len(raw).to_bytes(2, "big") + raw + key


def _size(message: Any, sender: _Codec, recipient: _Codec, frame: _Frame) -> int:
    """The length of the frame of a message, which the other end must understand."""
    body = sender.encode(message)
    if recipient.decode(body) != message:
        raise RuntimeError(f"{type(message).__name__} changes on its way")
    return len(frame(body))
