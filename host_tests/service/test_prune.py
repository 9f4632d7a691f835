"""What stays of channels that are paid out is enough, and the store stops growing."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import closing

import pytest
from adoption import late, status
from adoption.pruner import Pruner
from adoption.store import Store, StoreError, channels, devices, settled, tables
from adoption.store.channels import Registration, Signed
from perun.client import Client
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit
from service.conftest import port
from service.kit import DURATION, Deal, until
from service.test_requests import refused
from service.test_restart import Process, nursery

__all__ = ["nursery"]

SOON = {"keep_settled": 0.2}
NEVER = {"keep_settled": 10**9}


async def settle(chain, service, deal, station):
    """A channel from its funding to the payout, version 6."""
    await station.dial(port(service))
    await station.fund(deal)
    await station.watch(deal, deal.state(0))
    deal.deposit(deal.parties[0])
    await station.event(sm.EVENT_FUNDED)
    await station.watch(deal, deal.state(5, ((30, 50),)))
    await station.watch(deal, deal.state(6, ((20, 60),), final=True))
    await station.event(sm.EVENT_WITHDRAWN)


def found(service):
    return status.read(service.config.service.database)


def rows(path):
    """How many rows each table has."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for name in tables.metadata.tables if name not in ("meta", "block")]
        count = "SELECT count(*) FROM "
        return {name: connection.execute(count + name).fetchone()[0] for name in names}


async def test_what_is_left_answers_and_refuses(chain, start, cars):
    service = await start(*cars, policy=SOON)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    car, station = cars
    await settle(chain, service, deal, station)
    await until(lambda: found(service)["settled"] == 1)
    assert found(service)["channels"] == []
    left = rows(service.config.service.database)
    assert {name for name, count in left.items() if count} == {
        *("device", "budget", "settled", "settled_member", "settled_funding")
    }

    over = await station.status(deal)
    newest = deal.state(6, ((20, 60),), final=True)
    assert (over.stage, over.version, over.registered) == (im.STAGE_WITHDRAWN, 6, 6)
    assert over.state_hash == deal.hash(newest) and not any(over.holdings)
    async with service.store.read() as tx:
        assert (await settled.get(tx, deal.id)).payouts == ((20, 60),)

    for state in (deal.state(0), deal.state(5, ((30, 50),)), newest, deal.state(7)):
        for params in (deal.params, None):
            answer = await station.watch(deal, state, params=params)
            assert isinstance(answer, sm.Error) and answer.code == sm.ERROR_OUTDATED
    refused(await station.fund(deal), sm.ERROR_OUTDATED)
    refused(await station.ask(im.DisputeRequest, deal.id), sm.ERROR_OUTDATED)
    refused(await station.ask(im.StateRequest, deal.id), sm.ERROR_OUTDATED)
    await car.dial(port(service))
    refused(await car.status(deal), sm.ERROR_NOT_ALLOWED)
    refused(await car.watch(deal, deal.state(0)), sm.ERROR_OUTDATED)
    assert rows(service.config.service.database) == left

    # The budget stays spent, and there is room for another channel.
    holder = chain.web3.to_checksum_address(kit.eth(chain))
    budgets = {one["address"]: one["budgets"] for one in found(service)["devices"]}
    assert budgets[chain.web3.to_checksum_address(station.address)][holder]["spent"] == 30
    other = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    assert isinstance(await station.watch(other, other.state(0)), sm.Receipt)


async def test_a_deposit_that_comes_late(chain, start, cars):
    """For a channel that was paid out and pruned: noticed, also while the service was away, and
    the owner gets it with a new signature of the device."""
    service = await start(*cars, policy=SOON)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    station = cars[1]
    await settle(chain, service, deal, station)
    await until(lambda: found(service)["settled"] == 1)
    assert found(service)["late"] == []
    deal.deposit(station, 7)
    deal.deposit(cars[0], 9)  # the peer's: nothing of this device
    await until(lambda: found(service)["late"])
    channel, before = "0x" + deal.id.hex(), kit.wealth(chain, station)
    (noticed,) = found(service)["late"]
    assert (noticed["channel"], noticed["amount"]) == (channel, 7)
    await start.stop(service)
    deal.deposit(station, 4)
    service = await start(*cars, policy=SOON)
    await until(lambda: found(service)["late"][0]["amount"] == 11)

    auth = deal.auth(station, 0, 11)
    words = ["0x" + auth.receiver.hex(), 11, "0x" + auth.sig.hex()]
    listed = found(service)["late"]
    for wrong, said in (
        (("0x" + bytes(32).hex(), *words), "nothing came late"),
        ((channel, words[0], 12, words[2]), "nothing came late"),
        ((channel, words[0], 10, words[2]), "not the device's"),
        ((channel, "0x12", 11, words[2]), "hexadecimal"),
    ):
        with pytest.raises(ValueError, match=said):
            late.withdrawals(service.config, listed, *wrong)
    (transaction,) = late.withdrawals(service.config, listed, channel, *words)
    chain.web3.eth.send_transaction({"from": chain.web3.eth.accounts[5], **transaction})
    assert kit.wealth(chain, station) == before + 11
    await until(lambda: found(service)["late"] == [])


async def test_what_is_not_over_stays(chain, start, cars):
    """An open channel, a dispute, and one whose money waits for a signature."""
    service = await start(*cars, policy={**SOON, "authorization_wait": 3600})
    station = cars[1]
    await station.dial(port(service))
    deals = [Deal(chain, cars, [kit.eth(chain)], ((50, 30),)) for _ in range(3)]
    for deal in deals:
        await station.fund(deal)
        deal.deposit(cars[0])
        await station.event(sm.EVENT_FUNDED)
    final = deals[0].state(1, ((20, 60),), final=True)
    await station.watch(deals[0], final, auths=())
    await station.event(sm.EVENT_NEED_AUTHORIZATION)
    await station.ask(im.DisputeRequest, deals[1].id)
    await station.event(sm.EVENT_REGISTERED)
    assert await service.pruner.prune() == 0
    await asyncio.sleep(0.5)
    assert len(found(service)["channels"]) == 3 and found(service)["settled"] == 0
    await station.watch(deals[0], final, params=None)
    await station.event(sm.EVENT_WITHDRAWN)
    await until(lambda: found(service)["settled"] == 1)
    assert kit.wealth(chain, station) == 60


async def test_a_device_that_was_away(chain, start, cars, tmp_path):
    """Its channel was paid out and pruned meanwhile; it has an older state, and learns the end."""
    from perun.chain.account import Account
    from perun.channel import DOUBT_SERVICE, WITHDRAWN, Limits
    from perun.channel.machine import Channel
    from perun.client.records import dump_channel
    from perun.link import tcp
    from perun.model import Transaction
    from perun.store.memory import MemoryStore

    service = await start(*cars, policy=SOON)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    station = cars[1]
    await settle(chain, service, deal, station)
    await until(lambda: found(service)["settled"] == 1)
    station.hang_up()

    store, account = MemoryStore(), Account(station.secret)
    client = Client(
        account, 1337, Limits(deal.assets, (10**18,), 30, 86400), bytes(19) + b"1", store
    )
    old = deal.state(5, ((30, 50),))
    machine = Channel(
        client.chain, account, deal.params, 1, deal.agreement, 3, Transaction(old, deal.sigs(old))
    )
    store.put(b"c" + deal.id, dump_channel(machine))
    errors = []
    client.on_error = errors.append
    handle = client.restore(DOUBT_SERVICE)[0]
    task = asyncio.create_task(client.guard(lambda: tcp.connect("127.0.0.1", port(service))))
    await until(lambda: handle.phase == WITHDRAWN)
    task.cancel()
    assert errors == [] and not handle.machine.doubts


async def test_killed_while_pruning(chain, tmp_path, cars, nursery):
    """It is all there, or what must stay is."""
    kit.write_wallet(tmp_path)
    document = kit.document(chain, cars, policy=SOON)
    async with Process(tmp_path, document) as process:
        process.start("prune", 1)
        deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
        car, station = cars
        deal.deposit(car)
        await process.persist(station, lambda: station.fund(deal))
        await until(lambda: deal.holdings(station) == 30)
        final = deal.state(6, ((20, 60),), final=True)
        await process.persist(station, lambda: station.watch(deal, final))
        assert await process.ended() == -signal.SIGKILL
        before = status.read(process.database)
        assert len(before["channels"]) == 1 and before["settled"] == 0
        assert rows(process.database)["authorization"]
        process.start()
        await until(lambda: status.read(process.database)["settled"] == 1)
        station.wire = None
        answer = await process.persist(station, lambda: station.watch(deal, deal.state(0)))
        refused(answer, sm.ERROR_OUTDATED)
        assert kit.wealth(chain, station) == 60


# -- the file -------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path):
    one = Store(tmp_path / "adoption.sqlite")
    await one.open({})
    yield one
    await one.close()


async def many(chain, store, cars, count):
    """So many channels come, are paid out and closed."""
    async with store.write() as tx:
        await devices.put(tx, cars[1].address, "station", None)
    for _ in range(count):
        deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
        state = deal.state(6, ((20, 60),), final=True)
        signed = Signed(state, deal.hash(state), (bytes(65), bytes(65)))
        async with store.write() as tx:
            await channels.create(tx, deal.id, deal.params, signed)
            await channels.join(tx, deal.id, 1, cars[1].address)
            for version, amount in enumerate((30, 40, 50, 60)):
                auth = sm.WithdrawalAuth(0, cars[1].receiver, amount, bytes(65))
                await channels.authorize(tx, deal.id, 1, version, auth)
            await channels.accuse(tx, deal.id, signed, 8)
            await channels.set_holdings(tx, deal.id, 1, [60])
            seen = Registration(2, 6, signed.hash, 0, state)
            await channels.set_chain(tx, deal.id, seen)
            await channels.set_member(tx, deal.id, 1, withdrawn=True)
            await channels.close(tx, deal.id)


def pages(store):
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return (
            connection.execute("PRAGMA page_count").fetchone()[0],
            connection.execute("PRAGMA freelist_count").fetchone()[0],
        )


async def test_the_file_stops_growing(chain, store, cars, tmp_path):
    """Pages are used again; what stays of a channel is a tenth of it, and a restart gives back
    the rest."""
    document = kit.document(chain, cars, policy={"keep_settled": 0})
    pruner = Pruner(kit.parse(document, tmp_path), store)
    await many(chain, store, cars, 50)
    unpruned = pages(store)[0]
    sizes = []
    for _ in range(4):
        assert await pruner.prune() == 50
        sizes.append(pages(store)[0])
        await many(chain, store, cars, 50)
    assert sizes[0] == unpruned
    grown = (sizes[-1] - sizes[0]) * 4096 / 150
    print("bytes that stay of a channel:", round(grown), "of", unpruned * 4096 // 50)
    assert grown * 5 < unpruned * 4096 / 50
    await pruner.prune()
    before = pages(store)
    assert before[1] * 4 > before[0]
    await store.close()
    again = Store(store.path)
    await again.open({})
    after = pages(again)
    assert after[1] == 0 and after[0] < before[0] / 2
    async with again.read() as tx:
        assert await settled.ripe(tx, time.time(), 1000) == []
    assert rows(store.path)["settled"] == 250
    await again.close()


def make_old(path):
    """A file as schema 1 had it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in (
            "DROP TABLE late",
            "DROP TABLE settled_funding",
            "DROP TABLE settled_member",
            "DROP TABLE settled",
            "ALTER TABLE channel DROP COLUMN closed_at",
            "UPDATE meta SET value = '1' WHERE key = 'schema'",
        ):
            connection.execute(statement)


async def test_a_file_of_schema_1(chain, store, cars, tmp_path):
    await many(chain, store, cars, 3)
    await store.close()
    make_old(store.path)
    for _ in range(2):
        again = Store(store.path)
        await again.open({})
        async with again.read() as tx:
            assert len(await settled.ripe(tx, time.time() + 1, 10)) == 3
            assert await settled.ripe(tx, time.time() - 3600, 10) == []  # closed just now
        await again.close()
    newer = Store(store.path)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(StoreError, match="newer version"):
        await newer.open({})
    await newer.close()


async def test_killed_while_the_schema_is_renewed(chain, tmp_path, cars, nursery):
    kit.write_wallet(tmp_path)
    async with Process(tmp_path, kit.document(chain, cars, policy=NEVER)) as process:
        process.start()
        deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
        await process.persist(cars[1], lambda: cars[1].watch(deal, deal.state(3)))
        process.process.terminate()
        assert await process.ended() == 0
        make_old(process.database)
        process.start("migrate", 1)
        assert await process.ended() == -signal.SIGKILL
        with closing(sqlite3.connect(process.database)) as connection:
            names = {row[1] for row in connection.execute("PRAGMA table_info(channel)")}
            schema = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        assert "closed_at" not in names and schema == ("1",)
        cars[1].wire = None
        process.start()
        now = await process.persist(cars[1], lambda: cars[1].status(deal))
        assert now.version == 3


async def test_a_channel_that_was_never_funded(chain, start, cars):
    service = await start(*cars, policy=SOON)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[1].dial(port(service))
    await cars[1].fund(deal)

    async def deadline():
        async with service.store.read() as tx:
            return (await channels.get(tx, deal.id)).deadline

    await until(deadline)
    chain.node.pass_time(DURATION)
    await cars[1].event(sm.EVENT_FUNDING_FAILED)
    await until(lambda: found(service)["settled"] == 1)
    assert (await cars[1].status(deal)).version == 0
    async with service.store.read() as tx:
        assert (await settled.get(tx, deal.id)).payouts is None
