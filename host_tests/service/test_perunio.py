"""The perunio codec against what go-perun's own serializer wrote."""

from pathlib import Path

import pytest
from adoption.bridge.perunio import Incomplete, Perunio, addresses
from perun.wire import WireError, messages
from perun.wire.protobuf import Protobuf

VECTORS = Path(__file__).parents[1] / "vectors"
ALICE, BOB = b"\0\5Alice", b"\0\3Bob"
SUBCHANNELS = ("sub_proposal", "virtual_proposal", "virtual_funding", "virtual_settlement")


def frames(name: str) -> dict[str, bytes]:
    lines = [line.split() for line in (VECTORS / name).read_text().splitlines()]
    return {line[1]: bytes.fromhex(line[2]) for line in lines if len(line) == 3}


PERUNIO = frames("gen2_perunio_frames.txt")
PROTOBUF = frames("gen2_wire_frames.txt")
KNOWN = [name for name in PERUNIO if name not in SUBCHANNELS]


@pytest.mark.parametrize("name", KNOWN)
def test_as_go_perun_writes(name: str) -> None:
    data = PERUNIO[name]
    assert addresses(data) == (ALICE, BOB)
    message, length = Perunio(BOB, ALICE).decode(data + b"\x01\x00")
    assert length == len(data)
    assert Perunio(ALICE, BOB).encode(message) == data
    told = Protobuf(2, BOB, ALICE).decode(PROTOBUF[name][2:])
    if name == "update_locked":  # what this serializer is for
        assert message.state.allocation.locked and not told.state.allocation.locked
    else:
        assert message == told


@pytest.mark.parametrize("name", KNOWN)
def test_every_beginning_is_incomplete(name: str) -> None:
    data = PERUNIO[name]
    for length in range(len(data)):
        with pytest.raises(Incomplete):
            Perunio(BOB, ALICE).decode(data[:length])


@pytest.mark.parametrize("name", KNOWN)
def test_any_damage_is_a_message_or_an_error(name: str) -> None:
    data = PERUNIO[name]
    codec = Perunio(BOB, ALICE)
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = data[:at] + bytes((data[at] ^ flip,)) + data[at + 1 :]
            try:
                message, length = codec.decode(damaged)
            except WireError:
                continue
            # What is left out costs nothing: trailing zeros of an amount's length, say.
            assert Perunio(ALICE, BOB).encode(message) or length


def test_somebody_else() -> None:
    with pytest.raises(WireError, match="somebody else"):
        Perunio(ALICE, BOB).decode(PERUNIO["ping"])


def test_sub_channels_are_not_spoken() -> None:
    for name in SUBCHANNELS:
        with pytest.raises(WireError, match="not known here"):
            Perunio(BOB, ALICE).decode(PERUNIO[name])
    with pytest.raises(WireError, match="no such message"):
        Perunio(BOB, ALICE).encode(messages.HelloProof(bytes(65)))
