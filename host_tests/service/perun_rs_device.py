"""A perun-rs device: its messages byte for byte, with its paddings, and its signatures."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import oracle
from adoption.perun_rs.messages import PerunRemote
from perun.model import Allocation, Params, State, ether


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def octets(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def rows(balances: Any) -> bytes:
    return b"".join(octets(1, b"".join(octets(1, word(v)) for v in row)) for row in balances)


def asset(chain: int, holder: bytes) -> bytes:
    return b"\x20\0" + word(chain) + b"\x14\0" + holder


class Deal:
    """A channel of generation 1 between two keys."""

    def __init__(self, chain: int, holder: bytes, balances: Any, duration: int = 600) -> None:
        self.secrets = (secrets.token_bytes(32), secrets.token_bytes(32))
        self.parts = tuple(oracle.address(secret) for secret in self.secrets)
        self.params = Params(duration, secrets.randbits(255), self.parts, b"", True, False)
        self.balances = balances
        self.chain, self.holder = chain, holder
        self.id = oracle.channel_id(self.params_tuple(), 1)

    def params_tuple(self) -> Any:
        p = self.params
        return oracle.params(p.participants, p.nonce, p.challenge_duration, generation=1)

    def state(self, version: int, balances: Any = None, final: bool = False) -> State:
        assets = (ether(self.chain, self.holder),)
        allocation = Allocation(assets, balances or self.balances, ())
        return State(self.id, version, b"", allocation, b"", final)

    def state_tuple(self, state: State) -> Any:
        return oracle.state(
            state.id,
            state.version,
            [(self.chain, self.holder)],
            state.allocation.balances,
            final=state.is_final,
            generation=1,
        )

    def sigs(self, state: State) -> list[bytes]:
        data = oracle.state_bytes(self.state_tuple(state), 1)
        return [oracle.sign(secret, data) for secret in self.secrets]

    # -- as perun-rs writes them ------------------------------------------------------------------

    def params_message(self) -> bytes:
        p = self.params
        return b"".join(
            (
                octets(1, self.id),
                number(2, p.challenge_duration),
                *(octets(3, part) for part in p.participants),
                octets(4, bytes(20)),
                octets(5, word(p.nonce)),
                number(6, 1),
            )
        )

    def state_message(self, state: State) -> bytes:
        balances = octets(2, rows(state.allocation.balances))
        allocation = octets(1, asset(self.chain, self.holder)) + balances
        return b"".join(
            (
                octets(1, self.id),
                number(2, state.version),
                octets(4, allocation),
                number(6, int(state.is_final)),
            )
        )

    def fund(self, index: int) -> bytes:
        return octets(
            1,
            b"".join(
                (
                    number(1, index),
                    octets(2, self.params_message()),
                    octets(3, self.state_message(self.state(0))),
                    octets(4, rows(self.balances)),
                )
            ),
        )

    def watch_message(self, index: int, state: State, receiver: bytes, sigs: Any = None) -> bytes:
        amount = state.allocation.balances[0][index]
        value = oracle.authorization(self.id, self.parts[index], receiver, amount, generation=1)
        auth = oracle.sign(self.secrets[index], oracle.authorization_bytes(value, 1))
        signed = b"".join(
            (
                octets(1, self.params_message()),
                octets(2, self.state_message(state)),
                *(octets(3, sig) for sig in sigs or self.sigs(state)),
            )
        )
        return (
            number(1, index) + octets(2, signed) + octets(3, octets(1, auth) + octets(2, receiver))
        )

    def watch(self, index: int, state: State, receiver: bytes, sigs: Any = None) -> bytes:
        return octets(3, self.watch_message(index, state, receiver, sigs))

    def force_close(self, latest: bytes = b"") -> bytes:
        return octets(5, octets(1, self.id) + (octets(2, latest) if latest else b""))


class Connection:
    """Frames to and from the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._codec = PerunRemote()

    @classmethod
    async def dial(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, body: bytes) -> None:
        self.writer.write(len(body).to_bytes(2, "big") + body)

    async def recv(self, timeout: float = 60) -> Any:
        async with asyncio.timeout(timeout):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return self._codec.decode(await self.reader.readexactly(size))

    async def ask(self, body: bytes) -> Any:
        self.send(body)
        return await self.recv()

    def close(self) -> None:
        self.writer.close()
