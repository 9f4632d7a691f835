"""A running station gets noise and lies on its lines. It lives on, and charges."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from demo.scenes import base
from demo.world import World
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.link import LinkError, tcp
from perun.link.handshake import handshake
from perun.model import Allocation, Params, State, ether
from perun.wire import control_messages as c
from perun.wire import messages as m
from perun.wire.compact import Compact, Contexts
from perun.wire.frame import tcp_frame
from perun.wire.serial import serial_frame
from worlds import NewWorld

STRANGER = Account(os.urandom(32))
CHAIN = Ethereum()
RANDOM = random.Random(2)


def codec() -> Any:
    return Compact(Contexts())


def place(world: World) -> tuple[str, int]:
    return "127.0.0.1", world.peer_port


async def raw(world: World, data: bytes) -> None:
    """Send bytes as they are and wait until the station hangs up, or for a moment."""
    reader, writer = await asyncio.open_connection(*place(world))
    try:
        writer.write(data)
        await asyncio.wait_for(reader.read(-1), 0.3)
    except (TimeoutError, OSError):
        pass
    finally:
        writer.close()


async def shake(world: World, **changes: Any) -> Any:
    """A handshake with the station, some of it changed. Returns the link."""
    link = await tcp.connect(*place(world))
    use = {"account": STRANGER, "role": m.ROLE_PEER, "chain": world.chain.place.chain_id}
    use.update(changes)
    try:
        await handshake(
            link, codec(), CHAIN, use["account"], use["role"], use["chain"], os.urandom(32)
        )
    except LinkError:
        link.close()
        raise
    return link


async def refused(world: World, **changes: Any) -> None:
    """The handshake must fail; the station must not stay connected to us."""
    try:
        link = await shake(world, **changes)
        await asyncio.wait_for(link.recv(), 60)
    except LinkError:
        return
    raise AssertionError(f"the station took {changes}")


# -- what is thrown at it -------------------------------------------------------------------------


async def random_bytes(world: World) -> None:
    for size in (1, 2, 3, 50, 700, 5000):
        await raw(world, RANDOM.randbytes(size))


async def truncated_and_oversized(world: World) -> None:
    hello = codec().encode(m.Hello(1, 0, STRANGER.address, 1337, os.urandom(32)))
    await raw(world, tcp_frame(hello)[:-5])
    await raw(world, b"\xff\xff" + bytes(70000))
    await raw(world, b"\x00\x00")
    await raw(world, b"\x04\x00" + b"\xdd" * 1024)  # the deepest nesting that fits


async def wrong_chain(world: World) -> None:
    await refused(world, chain=1)


async def wrong_role(world: World) -> None:
    await refused(world, role=m.ROLE_DEVICE)


async def wrong_key(world: World) -> None:
    """Somebody who says that he is the car, with another key."""

    class Liar:
        address = bytes.fromhex(world.car.address[2:])
        sign = staticmethod(STRANGER.sign)

    await refused(world, account=Liar())


async def garbage_after_the_handshake(world: World) -> None:
    link = await shake(world)
    with pytest.raises(LinkError):
        for _ in range(40):
            await link.send(RANDOM.randbytes(RANDOM.randint(1, 300)))
            await asyncio.sleep(0.01)
        await link.recv()
    link.close()


async def proposals(world: World) -> None:
    """Proposals that the station must refuse; each gets its answer."""
    link = await shake(world)
    mine = ether(1337, bytes.fromhex(world.chain.place.eth_holder[2:]))
    station = bytes.fromhex(world.station.address[2:])
    good = Allocation((mine,), ((10**15, 0),), ())
    for assets, agreement, duration in (
        (good, good.balances, 1),
        (good, good.balances, 1 << 63),
        (good, ((0, 10**15),), 600),  # the station is to pay for all of it
        (Allocation((ether(1337, b"\x01" * 20),), good.balances, ()), good.balances, 600),
    ):
        offer = m.LedgerChannelProposal(
            os.urandom(32),
            duration,
            os.urandom(32),
            b"",
            b"",
            assets,
            agreement,
            b"",
            STRANGER.address,
            (STRANGER.address, station),
        )
        await link.send(codec().encode(offer))
        answer = codec().decode(await asyncio.wait_for(link.recv(), 60))
        assert isinstance(answer, m.ChannelProposalRej), answer
    link.close()


async def stolen_channel(world: World) -> None:
    """A stranger sends updates and syncs of the car's channel."""
    link = await shake(world)
    channel = bytes.fromhex(world.channel[2:])
    mine = ether(1337, bytes.fromhex(world.chain.place.eth_holder[2:]))
    contexts = Contexts()
    contexts.add(channel, (mine,), b"")
    known = Compact(contexts)
    balances = Allocation((mine,), ((6 * 10**15, 0),), ())
    state = State(channel, 1000, b"", balances, b"", True)
    params = Params(600, 1, (STRANGER.address, STRANGER.address), b"", True, False)
    assert params
    for message in (
        m.ChannelUpdate(state, 0, STRANGER.sign(bytes(32))),
        m.ChannelUpdateAcc(channel, 1000, STRANGER.sign(bytes(32))),
        m.ChannelUpdateRej(channel, 1000, "no"),
        c.Shutdown("good night"),
    ):
        await link.send(known.encode(message))
    await asyncio.sleep(0.2)
    link.close()


async def many_connections(world: World) -> None:
    """More than it keeps: those too many are turned away, the car stays."""
    found = await asyncio.gather(*(asyncio.open_connection(*place(world)) for _ in range(20)))
    await asyncio.sleep(0.3)
    for _, writer in found:
        writer.close()


async def serial_noise(world: World) -> None:
    for data in (
        RANDOM.randbytes(500),
        b"\x00" * 300,
        b"\x01" * 3000,  # no end in sight
        b"Traceback (most recent call last):\r\n>>> \r\n",
        serial_frame(b"\xc1nonsense"),
        serial_frame(RANDOM.randbytes(100))[:40],
        serial_frame(b"x" * 900),
        serial_frame(codec().encode(c.Ping(5))),
    ):
        world.line.inject(data)
        await asyncio.sleep(0.05)
    # What a frame behind noise needs to be found again.
    world.line.inject(b"\x00")


Attack = Callable[[World], Awaitable[None]]
ATTACKS: tuple[Attack, ...] = (
    random_bytes,
    truncated_and_oversized,
    wrong_chain,
    wrong_role,
    wrong_key,
    garbage_after_the_handshake,
    proposals,
    stolen_channel,
    many_connections,
    serial_noise,
)


async def test_station_lives_on(new_world: NewWorld) -> None:
    # Every stranger who is listened to costs memory: a little more than the demonstration has.
    world = await new_world("208k", close_when_charged=False)
    await base.connect(world)
    payments = await base.charge(world, 200)
    for attack in ATTACKS:
        await attack(world)
        payments += 1
        assert await base.charge(world, 100) == payments, attack.__name__
        assert world.station.running
    deaths = [event for event in world.station.events if event["event"] == "task died"]
    assert deaths == []
    await world.car.command("close")
    await world.station.said("channel", kind="withdrawn")
    _, station = base.fair_shares(200 + 100 * len(ATTACKS))
    assert world.chain.balance(world.station_wallet) == station
