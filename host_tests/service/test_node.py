"""The node lags, errs, talks nonsense, or is several nodes that disagree: nothing is lost, nothing
is done twice, and an old state is refuted as soon as the node shows it."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from adoption import status
from adoption.store import blocks
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit, node
from service.conftest import port
from service.kit import DURATION, Deal, until
from structlog.testing import capture_logs


@pytest.fixture
async def proxy(chain):
    async with node.Node(chain.node.url) as one:
        yield one


@pytest.fixture
async def desk(chain, start, cars, proxy):
    """A service whose node is the proxy, and a channel that nobody has funded."""
    service = await start(cars[1], chain={"rpc": proxy.url, "request_timeout": 0.5})
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[1].dial(port(service))
    return service, deal, cars[1]


def sent(chain):
    """How many transactions of the service's wallet are in blocks."""
    return chain.web3.eth.get_transaction_count(chain.node.web3.eth.accounts[kit.WALLET])


def here(chain):
    return chain.web3.eth.block_number


async def funded(deal, station):
    await station.fund(deal)
    await station.watch(deal, deal.state(0))
    deal.deposit(deal.parties[0])
    await station.event(sm.EVENT_FUNDED)


async def looked(proxy, times=3):
    """The service has asked that often for the newest block."""
    before = proxy.calls.count("eth_getBlockByNumber")
    await until(lambda: proxy.calls.count("eth_getBlockByNumber") >= before + times)


async def read_up_to(service, number):
    """The service has read the events up to this block."""
    for _ in range(3000):
        async with service.store.read() as tx:
            if (await blocks.newest(tx))[0][0] == number:
                return
        await asyncio.sleep(0.02)
    raise AssertionError(f"block {number} is not read")


async def whole_life(chain, deal, station):
    """Funded, cheated, refuted, concluded, paid out: with four transactions of the service."""
    before = sent(chain)
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    deal.register(deal.state(2))
    await until(lambda: deal.registered() == 7)
    chain.node.pass_time(DURATION)
    await until(lambda: kit.wealth(chain, station) == 60)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60 and deal.holdings(station) == 0
    return sent(chain) - before


async def test_it_lags_while_an_old_state_is_registered(chain, proxy, desk):
    """It catches up before the challenge period ends: in time."""
    _, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    proxy.head = here(chain)
    deal.register(deal.state(0))
    chain.node.mine(5)
    await looked(proxy)
    assert deal.registered() == 0
    assert (await station.status(deal)).stage == im.STAGE_FUNDED  # what its node says
    proxy.head = None
    await station.event(sm.EVENT_REFUTED)
    assert deal.registered() == 7
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60


@pytest.mark.parametrize("blocks", [0, 300])
async def test_it_falls_behind_what_it_has_said(chain, proxy, desk, blocks):
    """Another node has taken its place that lacks blocks: it is not believed, nothing is done
    twice, and this is no reorganisation."""
    _, deal, station = desk
    before = here(chain)
    await funded(deal, station)
    made = sent(chain)
    chain.node.mine(blocks)
    await looked(proxy, 40 if blocks else 3)  # the newest ones are read one by one
    with capture_logs() as logs:
        proxy.head = before
        await station.fund(deal)  # asks for another look
        await looked(proxy, 6)
        chain.node.mine(3)
        await looked(proxy, 6)
    assert sent(chain) == made and deal.holdings(station) == 30
    assert any("lags" in str(entry.get("error", entry.get("reason"))) for entry in logs)
    assert not any("reorganisation" in entry["event"] for entry in logs)
    proxy.head = None
    await station.ask(im.DisputeRequest, deal.id)
    await station.event(sm.EVENT_REGISTERED)
    assert sent(chain) == made + 1


async def test_it_lags_after_the_payout(chain, proxy, desk):
    """The channel looks concluded and unpaid again: it is not paid twice."""
    service, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    await station.ask(im.DisputeRequest, deal.id)
    await station.event(sm.EVENT_REGISTERED)
    chain.node.pass_time(DURATION)
    await until(lambda: deal.phase() == 2)
    before = here(chain)
    await station.event(sm.EVENT_WITHDRAWN)
    made = sent(chain)
    proxy.head = before - 1
    service.watcher.wake(deal.id)
    await looked(proxy, 6)
    proxy.head = None
    chain.node.mine()
    await looked(proxy, 6)
    assert sent(chain) == made and kit.wealth(chain, station) == 60


async def test_it_lags_at_the_start(chain, proxy, start, cars):
    """The cursor of the database is newer than the node."""
    service = await start(cars[1], chain={"rpc": proxy.url})
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[1].dial(port(service))
    old = here(chain)
    await funded(deal, cars[1])
    await looked(proxy)
    made = sent(chain)
    await start.stop(service)
    proxy.head = old
    service = await start(cars[1], chain={"rpc": proxy.url})
    await looked(proxy, 6)
    assert sent(chain) == made
    await cars[1].dial(port(service))
    assert (await cars[1].status(deal)).stage == im.STAGE_FUNDED
    deal.register(deal.state(0))
    proxy.head = None
    await until(lambda: status.read(service.config.service.database)["channels"][0]["timeout"])


def lags(head, every=2):
    """Every other call is answered by a node that knows nothing after `head`."""
    return (None if number % every else head for number in itertools.count())


async def test_two_nodes_in_turn(chain, proxy, desk):
    """One of them is stuck in the past; every call reaches the next one."""
    _, deal, station = desk
    proxy.heads = lags(here(chain))
    assert await whole_life(chain, deal, station) == 4


@pytest.mark.parametrize("seed", range(2))
async def test_nodes_at_random(chain, proxy, desk, seed):
    """Some lag by a block or by many."""
    _, deal, station = desk
    chance = random.Random(seed)
    start = here(chain)
    proxy.heads = (
        chance.choice((None, None, start, max(start, here(chain) - 1))) for _ in itertools.count()
    )
    assert await whole_life(chain, deal, station) == 4


async def test_events_that_a_node_left_out(chain, proxy, desk):
    """A registration of which no event was ever shown is found all the same: each channel is
    looked at some times within its challenge period."""
    _, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))

    async def without_logs(one, _, call):
        answer = await one.forward(call)
        if call["method"] == "eth_getLogs":
            answer = {"result": []}
        return {"jsonrpc": "2.0", "id": call["id"], **answer}

    proxy.faults = itertools.repeat(without_logs)
    deal.register(deal.state(0))
    await looked(proxy, 3)
    assert deal.registered() == 0
    chain.node.pass_time(DURATION // 4 + 1)
    await station.event(sm.EVENT_REFUTED)


@pytest.mark.parametrize("first", range(4))
async def test_it_errs(chain, proxy, desk, first):
    """In many ways, now and then and some times on end, while a channel lives."""
    _, deal, station = desk
    faults = node.FAULTS[first::4]
    spoiled = [
        [None] * 5 + [fault] * count
        for count in (2, 6)
        for fault in faults
        if fault is not node.hangs
    ]
    if node.hangs in faults:
        spoiled.insert(1, [None, node.hangs] * 2)
    proxy.faults = itertools.chain(*spoiled, itertools.repeat(None))
    with capture_logs() as logs:
        assert await whole_life(chain, deal, station) == 4
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


@pytest.mark.parametrize("fault", [node.error, node.another_type, node.cut_short])
async def test_it_errs_at_the_start(chain, proxy, start, cars, fault):
    """Then the service waits for it."""
    proxy.faults = itertools.chain([fault] * 3, itertools.repeat(None))
    service = await start(cars[1], chain={"rpc": proxy.url})
    await cars[1].dial(port(service))


async def test_three_blocks_are_replaced(chain, proxy, desk):
    """A registration, a refutation and blocks after them vanish; an older state is registered in
    the new blocks."""
    _, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    before = chain.node.snapshot()
    made = sent(chain)
    start = here(chain)
    deal.register(deal.state(1))
    await station.event(sm.EVENT_REFUTED)
    chain.node.mine(3 - (here(chain) - start))
    assert here(chain) == start + 3
    await looked(proxy)
    with capture_logs() as logs:
        chain.node.revert(before)
        deal.register(deal.state(2))
        chain.node.mine(3)
        await until(lambda: deal.registered() == 7)
    assert any("reorganisation" in entry["event"] for entry in logs)
    assert sent(chain) == made + 1
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60


async def test_replaced_before_it_was_followed(chain, proxy, desk):
    """A look at a channel saw a block whose events could not be read before it was replaced."""
    _, deal, station = desk
    await funded(deal, station)
    await read_up_to(desk[0], here(chain))
    before = chain.node.snapshot()

    async def without_logs(one, request, call):
        if call["method"] == "eth_getLogs":
            return node.error(one, request, call)
        return {"jsonrpc": "2.0", "id": call["id"], **await one.forward(call)}

    proxy.faults = itertools.repeat(without_logs)
    await station.ask(im.DisputeRequest, deal.id)
    await station.event(sm.EVENT_REGISTERED)
    chain.node.rpc("evm_setAutomine", False)  # else its transaction is back before it looks
    chain.node.revert(before)
    chain.node.mine(3)
    proxy.faults = itertools.repeat(None)
    await station.until_stage(deal, im.STAGE_FUNDED)
    chain.node.rpc("evm_setAutomine", True)
    chain.node.mine()
    await station.event(sm.EVENT_REGISTERED)  # it was registered again


async def test_replaced_while_it_lags(chain, proxy, desk):
    """The node has not seen that three blocks were replaced, then it has."""
    service, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    before = chain.node.snapshot()
    chain.node.mine(3)
    # What it only saw, and could not read, it would take for what the node lags behind.
    await read_up_to(service, here(chain))
    proxy.head = here(chain)
    chain.node.revert(before)
    proxy.head = here(chain)  # nothing new yet: like a node that is behind
    await looked(proxy)
    deal.register(deal.state(2))
    chain.node.mine(1)
    proxy.head = None
    await station.event(sm.EVENT_REFUTED)
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60


async def test_requests_are_answered_meanwhile(proxy, desk):
    """A node that hangs stops no device."""
    _, deal, station = desk
    proxy.faults = itertools.repeat(node.hangs)
    for version in range(5):
        async with asyncio.timeout(2):
            assert isinstance(await station.watch(deal, deal.state(version)), sm.Receipt)
    proxy.faults = itertools.repeat(None)


async def test_the_limit_it_hides_a_dispute(chain, proxy, desk):
    """A node that shows nothing of a dispute until its time is over: the old state wins. It cannot
    touch the rest: the device gets what that state gives it."""
    _, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    proxy.head = here(chain)
    deal.register(deal.state(0))
    chain.node.pass_time(DURATION)
    await looked(proxy)
    assert deal.registered() == 0
    proxy.head = None
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 30
