"""What payments wear of a board's flash: page programs and erases on a simulated chip.

A machine pays another one as they do on devices, each with its journal on a partition of its own;
what they store are real records. The payee makes a checkpoint after each payment, as it does when
payments are rare. Signatures are made up: nothing is computed with them here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from perun.channel import Ask, Persist, Send
from perun.channel.machine import Channel
from perun.client.handle import ChannelHandle
from perun.client.records import dump_channel
from perun.model import transfer
from perun.store.flash import FlashJournal
from perun.wire.service_messages import Receipt

from bench import conversation

PAYMENTS = 10_000
SECTORS = 64  # of the partition: 256 KB
SECTOR = 4096
PAGE = 256
SECONDS = 10  # between two payments
YEARS = 10

_ERASED = b"\xff"

Progress = Callable[[str], None]


class Chip:
    """NOR flash that counts; MicroPython's extended interface of block devices."""

    def __init__(self, sectors: int) -> None:
        self.image = bytearray(_ERASED * SECTOR * sectors)
        self.programs = 0  # pages touched by calls
        self.erases = [0] * sectors

    def readblocks(self, block: int, buffer: bytearray, offset: int = 0) -> None:
        """Read from the sector `block` on."""
        start = block * SECTOR + offset
        buffer[:] = self.image[start : start + len(buffer)]

    def writeblocks(self, block: int, buffer: bytes, offset: int = 0) -> None:
        """Program: bits are cleared."""
        start = block * SECTOR + offset
        end = start + len(buffer)
        self.image[start:end] = bytes(
            old & new for old, new in zip(self.image[start:end], buffer, strict=True)
        )
        self.programs += (end - 1) // PAGE - start // PAGE + 1

    def ioctl(self, operation: int, argument: int) -> int:
        """Geometry (4 and 5), erase (6)."""
        if operation == 4:
            return len(self.erases)
        if operation == 5:
            return SECTOR
        if operation == 6:
            start = argument * SECTOR
            self.image[start : start + SECTOR] = _ERASED * SECTOR
            self.erases[argument] += 1
        return 0


class _Signatures:
    """Stands for perun.chain where signatures are not what is measured."""

    def __init__(self) -> None:
        self._random = random.Random(1)

    def state_hash(self, state: Any) -> bytes:
        return bytes(32)

    def sign(self, account: Any, digest: bytes) -> bytes:
        return self._random.randbytes(64) + b"\x1b"

    def verify(self, address: bytes, digest: bytes, sig: bytes) -> bool:
        return True


class _Device:
    """One side: its machine and its chip."""

    def __init__(self, machine: Channel, sectors: int) -> None:
        self.machine = machine
        self.signatures = self.machine._chain = _Signatures()
        self.chip = Chip(sectors)
        self.store = FlashJournal(self.chip)
        self.store.put(b"k", bytes(32))
        self.handle = ChannelHandle(SimpleNamespace(store=self.store), machine, None)
        self.perform([Persist()])

    def checkpoint(self) -> None:
        """The service gives a receipt that is worth a write."""
        state = self.machine.current.state
        sig = self.signatures.sign(None, b"")
        self.handle.is_watched(state, Receipt(1, state.id, state.version, sig[:32], sig), True)

    def perform(self, effects: list[Any]) -> list[Any]:
        """What a client does with effects; returns what it sends."""
        sent = []
        for effect in effects:
            if isinstance(effect, Persist):
                self.store.put(b"c" + self.machine.id, dump_channel(self.machine))
            elif isinstance(effect, Send):
                sent.append(effect.message)
            elif isinstance(effect, Ask):
                sent += self.perform(self.machine.accept())
        return sent


def measure(
    progress: Progress, payments: int = PAYMENTS, sectors: int = SECTORS
) -> dict[str, Any]:
    """The keys `page_programs_per_payment`, `page_programs`, `erases_per_sector_10_years`."""
    payer, payee = (_Device(machine, sectors) for machine in conversation.machines())
    before = [side.chip.programs for side in (payer, payee)]
    erased = [sum(side.chip.erases) for side in (payer, payee)]
    price = 123_456_789_012
    for number in range(payments):
        if number % 1000 == 0:
            progress(f"flash wear, payment {number:,} of {payments:,}")
        state = transfer(payer.machine.current.state, 0, (price,))
        (update,) = payer.perform(payer.machine.propose(state))
        (answer,) = payee.perform(payee.machine.receive(update))
        payer.perform(payer.machine.receive(answer))
        payee.checkpoint()
    programs, worn = {}, {}
    for name, side, first, erases in zip(
        ("payer", "payee"), (payer, payee), before, erased, strict=True
    ):
        programs[name] = (side.chip.programs - first) / payments
        worn[name] = (sum(side.chip.erases) - erases) / payments / sectors
        if max(side.chip.erases) - min(side.chip.erases) > 1:
            raise AssertionError("the sectors do not wear alike")
        if FlashJournal(side.chip).get(b"c" + side.machine.id) != side.store.get(
            b"c" + side.machine.id
        ):
            raise AssertionError("the journal does not open with what was stored")
    ten_years = YEARS * 365.25 * 86400 / SECONDS
    return {
        "page_programs_per_payment": round(max(programs.values()), 3),
        "page_programs": {name: round(count, 3) for name, count in programs.items()},
        "erases_per_sector_10_years": round(max(worn.values()) * ten_years),
    }
