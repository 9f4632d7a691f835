"""The device's own code against the service: what one encodes and signs, the other accepts.

perun.chain and perun.crypto on one side, eth-abi and coincurve on the other.
"""

from __future__ import annotations

import asyncio
import secrets

import pytest
from demo.wires import SerialLine
from perun.adoption.session import ServiceError, Session
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import Limits
from perun.client import Client
from perun.client.guardian import Guardian
from perun.link import memory, serial, tcp
from perun.link.handshake import HandshakeError, handshake
from perun.model import Transaction, ether
from perun.store.memory import MemoryStore
from perun.wire import service_messages as sm
from perun.wire.compact import Compact
from perun.wire.messages import ROLE_DEVICE
from service import kit
from service.conftest import port
from service.kit import DURATION, Deal


async def session(service, device, events, expect=None):
    """The device's handshake and session; (session, the task that reads it)."""
    chain, account = Ethereum(), Account(device.secret)
    link = await tcp.connect("127.0.0.1", port(service))
    codec = Compact(device.contexts)
    hello = await handshake(
        link, codec, chain, account, ROLE_DEVICE, 1337, secrets.token_bytes(32), expect
    )

    async def on_event(event):
        events.append(event.kind)

    one = Session(link, codec, chain, account.address, hello.address, on_event)
    return one, asyncio.create_task(one.run())


def signed(deal, state):
    """Signed by both with the device's code, which must give the very same bytes as oracle."""
    chain = Ethereum()
    hashed = chain.state_hash(state)
    sigs = tuple(chain.sign(Account(party.secret), hashed) for party in deal.parties)
    assert sigs == deal.sigs(state)
    return Transaction(state, sigs), hashed


async def test_a_whole_life(chain, start, cars):
    service = await start(*cars)
    deal = Deal(chain, cars, [kit.eth(chain), kit.erc20(chain)], ((50, 30), (0, 7)))
    assert Ethereum().channel_id(deal.params) == deal.id
    events = []
    one, reader = await session(service, cars[0], events, service.identity.address)
    first, hashed = signed(deal, deal.state(0))
    with pytest.raises(ServiceError) as unknown:
        await one.status(deal.id)
    assert unknown.value.code == sm.ERROR_UNKNOWN_CHANNEL
    await one.watch(0, deal.params, first, hashed)
    await one.fund(0, deal.params, first, deal.agreement)
    deal.deposit(cars[1])
    deal.deposit(cars[1], asset=1)
    await kit.until(lambda: sm.EVENT_FUNDED in events)

    second, hashed = signed(deal, deal.state(1, ((20, 60), (3, 4))))
    coin, account = Ethereum(), Account(cars[0].secret)
    auths = tuple(
        sm.WithdrawalAuth(
            asset,
            cars[0].receiver,
            amount,
            coin.sign(
                account,
                coin.withdrawal_hash(deal.id, account.address, cars[0].receiver, amount),
            ),
        )
        for asset, amount in ((0, 20), (1, 3))
    )
    await one.watch(0, None, second, hashed, auths)
    with pytest.raises(ServiceError) as outdated:
        await one.watch(0, None, first, coin.state_hash(first.state))
    assert outdated.value.code == sm.ERROR_OUTDATED
    await one.dispute(deal.id)
    await kit.until(lambda: sm.EVENT_REGISTERED in events)
    chain.node.pass_time(DURATION)
    await kit.until(lambda: sm.EVENT_WITHDRAWN in events)
    assert (kit.wealth(chain, cars[0]), kit.tokens(chain, cars[0])) == (20, 3)
    one.close()
    reader.cancel()


async def test_device_refuses_another_service(start, cars):
    service = await start(*cars)
    with pytest.raises(HandshakeError, match="another address"):
        await session(service, cars[0], [], bytes(20))


async def test_a_device_with_nothing_to_say_notices_that_its_service_started_anew(
    start, cars, monkeypatch
):
    """Behind a serial line nothing else tells; whoever asks for the device would ask in vain."""
    line = SerialLine()
    section = {"serial": [{"path": line.service, "baud": 115200}]}
    first = await start(*cars, service=section)
    monkeypatch.setattr(Guardian, "quiet", 0.1)
    limits = Limits((), (), 60, 86400)
    client = Client(Account(cars[0].secret), 1337, limits, cars[0].receiver, MemoryStore())
    guarding = asyncio.create_task(client.guard(lambda: serial.dial(line.device)))
    await kit.until(lambda: client.guardian and client.guardian.connected)
    await start.stop(first)
    second = await start(*cars, service=section)
    await kit.until(lambda: second.hub.connected(client.account.address))
    guarding.cancel()
    line.close()


class Queued:
    """Two devices with three channels, and one of them may reach the service."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()

    def __init__(self, chain, service, cars):
        self.tasks = []
        self.service = service
        assets = (ether(1337, kit.eth(chain)),)
        limits = Limits(assets, (10**18,), 60, 86400)
        self.clients = [
            Client(Account(car.secret), 1337, limits, car.receiver, MemoryStore()) for car in cars
        ]
        self.watched = []  # (channel, version), as the service takes them over
        original = service.handlers._watch

        async def watch(device, request):
            receipt = await original(device, request)
            self.watched.append((request.state.id, request.state.version))
            return receipt

        service.handlers._watch = watch

    async def open(self, count):
        """So many channels: the payee's handles and the payer's."""
        payee, payer = self.clients
        payee.on_proposal = lambda proposal: None
        one, other = memory.pair()
        accepting = asyncio.create_task(payee.accept(other))
        peer = await payer.connect(one, payee.account.address)
        await accepting
        mine = [await payer.propose(peer, ((1000, 1000),), 600) for _ in range(count)]
        theirs = [payee.channels[handle.id] for handle in mine]
        for handle in mine + theirs:
            await handle.signed()
            await handle.happened("funded")
        return theirs, mine

    def guard(self):
        dial = lambda: tcp.connect("127.0.0.1", port(self.service))  # noqa: E731
        self.tasks.append(asyncio.create_task(self.clients[0].guard(dial)))


async def test_what_queued_offline_is_the_newest_of_each_channel(chain, start, cars):
    """Payments go on without the service; it then gets one state of each channel, not all."""
    async with Queued(chain, await start(*cars), cars) as queued:
        theirs, mine = await queued.open(3)
        for count, handle in zip((40, 5, 1), mine, strict=True):
            for _ in range(count):
                await handle.pay(1)
        queued.guard()
        await kit.until(lambda: all(one.watched == one.version for one in theirs))
        newest = [(one.id, one.version) for one in theirs]
        assert sorted(set(queued.watched)) == sorted(newest)
        assert [one.version for one in theirs] == [40, 5, 1]


async def test_a_busy_channel_starves_no_other(chain, start, cars):
    """While one channel is paid without a pause, a payment in another one is soon guarded."""
    async with Queued(chain, await start(*cars), cars) as queued:
        theirs, mine = await queued.open(2)
        queued.guard()

        async def flood():
            while True:
                await mine[0].pay(1)

        queued.tasks.append(asyncio.create_task(flood()))
        await kit.until(lambda: theirs[0].watched > 2, 60)
        for one, other in zip(mine[1:], theirs[1:], strict=True):
            version = await one.pay(1)
            await other.paid(version)
            before = len(queued.watched)
            await kit.until(lambda other=other: other.watched == other.version, 60)
            # Requests in between: the one on its way, and those that queued before it.
            assert (other.id, version) in queued.watched[before - 1 : before + 4]
        assert theirs[0].version > 4
