"""perun-rs devices at the service: what they send, and what they may not do. No chain is needed
here; host_tests/interop has the whole life on contracts of generation 1."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from adoption import keys
from adoption.chain import Chain
from adoption.config import ConfigError, parse
from adoption.handlers import Handlers
from adoption.hub import Hub
from adoption.perun_rs.messages import (
    DisputeNotification,
    ForceCloseResponse,
    FundingResponse,
    PerunRemote,
    WatchResponse,
)
from adoption.perun_rs.server import Server
from adoption.store import Store, devices
from adoption.witness import Witness
from perun.wire import WireError
from perun.wire import service_messages as sm
from service.perun_rs_device import Connection, Deal, octets

HOLDER = bytes(range(20))
RECEIVER = b"\x99" * 20
BALANCES = ((100, 50),)


class Desk:
    """The server of a service without a chain."""

    def __init__(self, server: Server, hub: Hub, store: Store, woken: list[bytes]) -> None:
        self.server, self.hub, self.store, self.woken = server, hub, store, woken

    async def dial(self) -> Connection:
        return await Connection.dial(self.server.addresses[0][1])


def document(*addresses: bytes, **section: Any) -> dict[str, Any]:
    return {
        "service": {},
        "chain": {
            "rpc": "http://localhost",
            "chain_id": 1337,
            "adjudicator": "0x" + "11" * 20,
            "generation": 1,
        },
        "asset": [{"name": "ETH", "kind": "eth", "holder": "0x" + HOLDER.hex()}],
        "device": [
            {"address": "0x" + address.hex(), "budget": {"ETH": 120}} for address in addresses
        ],
        "perun_rs": {
            "listen": ["127.0.0.1:0"],
            "devices": ["0x" + address.hex() for address in addresses],
            **section,
        },
    }


@pytest.fixture
def deal() -> Deal:
    return Deal(1337, HOLDER, BALANCES)


@pytest.fixture
async def desk(deal, tmp_path) -> AsyncIterator[Desk]:
    config = parse(
        document(deal.parts[0], setup="127.0.0.1:0", receiver="0x" + RECEIVER.hex()), tmp_path
    )
    store = Store(tmp_path / "db.sqlite")
    await store.open({})
    async with store.write() as tx:
        await devices.put(tx, deal.parts[0], "", None)
        await devices.grant(tx, deal.parts[0], HOLDER, 120)
    woken: list[bytes] = []
    hub = Hub(1000, 1000)
    witness = Witness(config, Chain(config))
    identity = keys.Key(secrets.token_bytes(32))
    handlers = Handlers(config, store, identity, witness, woken.append)
    server = Server(config.perun_rs, config, store, hub, handlers)
    await server.start()
    yield Desk(server, hub, store, woken)
    await server.stop()
    await store.close()


def test_sizes_are_those_of_the_published_protocol():
    """Including the length in front."""
    deal = Deal(1337, HOLDER, BALANCES, duration=25)  # what the demonstration has
    first, later = deal.state(0), deal.state(200)
    assert len(deal.fund(0)) + 2 == 388
    assert len(deal.watch(0, first, RECEIVER)) + 2 == 544
    assert len(deal.watch(0, later, RECEIVER)) + 2 == 547
    assert len(deal.force_close(deal.watch_message(0, later, RECEIVER))) + 2 == 584
    remote = PerunRemote()
    assert len(remote.encode(FundingResponse(deal.id, True))) + 2 == 40
    assert len(remote.encode(ForceCloseResponse(deal.id, True))) + 2 == 40
    assert len(remote.encode(DisputeNotification(deal.id))) + 2 == 38
    assert len(remote.encode(WatchResponse(deal.id, 1, True))) + 2 == 42
    assert remote.encode(ForceCloseResponse(deal.id, True)).hex().endswith("1801")


async def test_watch_fund_and_hear(desk, deal):
    device = await desk.dial()
    device.send(deal.watch(0, deal.state(0), RECEIVER))
    device.send(deal.fund(0))
    assert await device.recv() == WatchResponse(deal.id, 0, True)
    await _until_spent(desk, deal, 100)
    desk.hub.publish(deal.parts[0], sm.ChainEvent(deal.id, sm.EVENT_FUNDED, 0, 0))
    assert await device.recv() == FundingResponse(deal.id, True)
    newer = deal.state(1, ((90, 60),))
    assert await device.ask(deal.watch(0, newer, RECEIVER)) == WatchResponse(deal.id, 1, True)
    assert await device.ask(deal.watch(0, newer, RECEIVER)) == WatchResponse(deal.id, 1, True)
    assert await device.ask(deal.force_close()) == ForceCloseResponse(deal.id, True)
    desk.hub.publish(deal.parts[0], sm.ChainEvent(deal.id, sm.EVENT_REGISTERED, 1, 5))
    assert await device.recv() == DisputeNotification(deal.id)
    assert desk.woken.count(deal.id) >= 3


async def _until_spent(desk: Desk, deal: Deal, amount: int) -> None:
    from service.kit import until

    async def spent() -> bool:
        async with desk.store.read() as tx:
            found = await devices.budgets(tx, deal.parts[0])
        return found[HOLDER].spent == amount

    await until(spent)


async def test_failed_funding_is_told(desk, deal):
    device = await desk.dial()
    await device.ask(deal.watch(0, deal.state(0), RECEIVER))
    device.send(deal.fund(0))
    await _until_spent(desk, deal, 100)
    desk.hub.publish(deal.parts[0], sm.ChainEvent(deal.id, sm.EVENT_FUNDING_FAILED, 0, 0))
    assert await device.recv() == FundingResponse(deal.id, False)


async def test_what_is_refused(desk, deal):
    device = await desk.dial()
    state = deal.state(0)
    no_fund = FundingResponse(deal.id, False)
    assert await device.ask(deal.fund(0)) == no_fund  # nothing signed was shown
    refused = WatchResponse(deal.id, 0, False)
    sigs = deal.sigs(state)
    for bad in (
        [sigs[0], sigs[0]],
        [sigs[1], sigs[0]],
        [sigs[0], sigs[1][:64] + bytes((sigs[1][64] - 27,))],
    ):
        assert await device.ask(deal.watch(0, state, RECEIVER, bad)) == refused
    assert await device.ask(deal.watch(1, state, RECEIVER)) == refused  # not listed
    assert await device.ask(deal.force_close()) == ForceCloseResponse(deal.id, False)
    good = WatchResponse(deal.id, 2, True)
    assert await device.ask(deal.watch(0, deal.state(2), RECEIVER)) == good
    old, other = deal.state(1), deal.state(2, ((99, 51),))
    assert await device.ask(deal.watch(0, old, RECEIVER)) == WatchResponse(deal.id, 1, False)
    assert await device.ask(deal.watch(0, other, RECEIVER)) == WatchResponse(deal.id, 2, False)
    assert await device.ask(deal.fund(0)) == no_fund  # beyond version 0
    stranger = Deal(1337, HOLDER, BALANCES)
    found = await device.ask(stranger.watch(0, stranger.state(0), RECEIVER))
    assert found == WatchResponse(stranger.id, 0, False)
    await _until_spent(desk, deal, 0)


async def test_over_the_budget(desk, deal):
    device = await desk.dial()
    big = Deal(1337, HOLDER, ((121, 0),))
    big.secrets, big.parts = deal.secrets, deal.parts
    big.params = big.params._replace(participants=deal.parts)
    from oracle import channel_id

    big.id = channel_id(big.params_tuple(), 1)
    assert (await device.ask(big.watch(0, big.state(0), RECEIVER))).success
    assert await device.ask(big.fund(0)) == FundingResponse(big.id, False)


async def test_force_close_shows_a_state(desk, deal):
    """Also one that the service did not have, on a connection of its own."""
    device = await desk.dial()
    latest = deal.watch_message(0, deal.state(3), RECEIVER)
    assert await device.ask(deal.force_close(latest)) == ForceCloseResponse(deal.id, True)
    device.close()
    stranger = await desk.dial()
    assert await stranger.ask(deal.force_close()) == ForceCloseResponse(deal.id, False)


async def test_a_newer_connection_gets_the_notifications(desk, deal):
    old = await desk.dial()
    await old.ask(deal.watch(0, deal.state(1), RECEIVER))
    new = await desk.dial()
    await new.ask(deal.watch(0, deal.state(1), RECEIVER))
    desk.hub.publish(deal.parts[0], sm.ChainEvent(deal.id, sm.EVENT_REGISTERED, 1, 5))
    assert await new.recv() == DisputeNotification(deal.id)
    assert await old.reader.read() == b""


@pytest.mark.parametrize(
    "body", [b"\xff", octets(9, b""), octets(3, b""), octets(2, b"x"), b"\x08\1"]
)
async def test_no_message_ends_the_connection(desk, body):
    device = await desk.dial()
    device.send(body)
    assert await device.reader.read() == b""


async def test_the_helper_of_the_demonstration(desk):
    from asyncio import open_connection

    reader, _ = await open_connection("127.0.0.1", desk.server.setup_addresses[0][1])
    assert await reader.read() == HOLDER + RECEIVER


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["chain"].update(generation=2), "speak generation 1"),
        (lambda d: d.update(device=[]), "no \\[\\[device\\]\\]"),
        (lambda d: d["perun_rs"].update(setup="x:1"), "belong together"),
        (lambda d: d["perun_rs"].update(devices=[]), "at least 1"),
    ],
)
def test_wrong_configurations(tmp_path, change, words):
    found = document(b"\1" * 20)
    change(found)
    with pytest.raises(ConfigError, match=words):
        parse(found, tmp_path)


def test_any_damage_is_a_message_or_an_error(deal):
    remote = PerunRemote()
    body = deal.watch(1, deal.state(1), RECEIVER)
    for at in range(len(body)):
        for flip in (1, 0x80, 0xFF):
            damaged = body[:at] + bytes((body[at] ^ flip,)) + body[at + 1 :]
            try:
                remote.decode(damaged)
            except WireError:
                pass
