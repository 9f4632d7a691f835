"""How long frames are: the same conversation in every codec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from perun.wire import messages
from perun.wire.frame import serial_frame, tcp_frame
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


def _perun(generation: int) -> dict[str, int]:
    """go-perun's protobuf over TCP between nodes that have names, "Alice" and "Bob", only."""
    alice, bob = (_name(name, generation) for name in ("Alice", "Bob"))
    theirs, ours = Protobuf(generation, alice, bob), Protobuf(generation, bob, alice)
    # Generation 1 authenticates nobody. In generation 2 this is what the Ethereum backend's
    # accounts send, and a proposal has 256 bytes that say nothing.
    auth = messages.AuthResponse(b"Authenticate" if generation == 2 else b"")
    aux = bytes(256 if generation == 2 else 0)
    sizes = {
        "auth": _size(auth, theirs, ours, tcp_frame),
        "handshake": _size(auth, theirs, ours, tcp_frame) + _size(auth, ours, theirs, tcp_frame),
    }
    spoken = conversation.between_peers((alice, bob), aux)
    return sizes | {
        name: _size(message, theirs, ours, tcp_frame) for name, message in spoken.items()
    }


def _name(name: str, generation: int) -> bytes:
    """The marshalled wire address of a node with a name and without a key."""
    raw = name.encode()
    return raw if generation == 1 else len(raw).to_bytes(2, "big") + raw


def _size(message: Any, sender: _Codec, recipient: _Codec, frame: _Frame) -> int:
    """The length of the frame of a message, which the other end must understand."""
    body = sender.encode(message)
    if recipient.decode(body) != message:
        raise RuntimeError(f"{type(message).__name__} changes on its way")
    return len(frame(body))
