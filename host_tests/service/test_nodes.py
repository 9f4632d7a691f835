"""Of three nodes one lies, lags, hangs or is away: the service does as if it were not there. Of
two that disagree neither is believed."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest
from adoption.chain import Chain, ChainError
from adoption.chain.nodes import NoMajority, Nodes
from adoption.chain.nodes import Node as OneNode
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit, node
from service.conftest import port
from service.kit import DURATION, Deal
from service.test_node import funded, here, looked, whole_life
from structlog.testing import capture_logs


@pytest.fixture
async def proxies(chain):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node.Node(chain.node.url)) for _ in range(3)]


@pytest.fixture
async def desk(chain, start, cars, proxies):
    """A service that asks three nodes, and a channel that nobody has funded."""
    urls = [one.url for one in proxies]
    service = await start(cars[1], chain={"rpc": urls, "request_timeout": 3})
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[1].dial(port(service))
    return service, deal, cars[1]


def lies(changes):
    """A node that tells the truth, but for these methods: what it makes of their results."""

    async def spoil(one, _, call):
        change = changes.get(call["method"])
        if call["method"] == "eth_sendRawTransaction" and change:
            return {"jsonrpc": "2.0", "id": call["id"], **change}  # it hands it to nobody
        answer = await one.forward(call)
        if change and answer.get("result") is not None:
            answer["result"] = change(answer["result"])
        return {"jsonrpc": "2.0", "id": call["id"], **answer}

    return spoil


def another(**fields):
    return lambda found: {**found, **fields}


LIARS = {
    "it hides": {
        "eth_call": lambda text: "0x" + "00" * (len(text) // 2 - 1),
        "eth_getLogs": lambda _: [],
        "eth_getTransactionReceipt": lambda _: None,
        "eth_getTransactionCount": lambda _: "0x0",
        "eth_sendRawTransaction": {"result": "0x" + "11" * 32},
    },
    "it invents": {
        "eth_call": lambda text: "0x" + "01" * (len(text) // 2 - 1),
        "eth_getBlockByNumber": another(number=hex(10**9)),
        "eth_getTransactionReceipt": another(status="0x0"),
        "eth_getTransactionCount": lambda _: "0x1234",
        "eth_estimateGas": lambda _: hex(10**12),
        "eth_maxPriorityFeePerGas": lambda _: hex(10**15),
        "eth_sendRawTransaction": {"error": {"code": -32003, "message": "insufficient funds"}},
    },
    "it is on another chain": {
        "eth_chainId": lambda _: "0x7",
        "eth_getBlockByNumber": another(hash="0x" + "22" * 32),
        "eth_estimateGas": lambda _: hex(21_000),
        "eth_sendRawTransaction": {"error": {"code": -32000, "message": "nonce too low"}},
    },
    "its clock is wrong": {
        "eth_getBlockByNumber": another(timestamp=hex(2**40), baseFeePerGas=hex(10**15)),
    },
}


@pytest.mark.parametrize("liar", [0, 2])
@pytest.mark.parametrize("lie", LIARS)
async def test_one_lies(chain, proxies, desk, lie, liar):
    """A whole life with a dispute: funded, cheated, refuted, paid out, nothing done twice."""
    _, deal, station = desk
    proxies[liar].faults = itertools.repeat(lies(LIARS[lie]))
    assert await whole_life(chain, deal, station) == 4


async def test_one_errs(chain, proxies, desk):
    """In another way each time."""
    _, deal, station = desk
    faults = [fault for fault in node.FAULTS if fault is not node.hangs]
    proxies[1].faults = itertools.cycle(faults)
    assert await whole_life(chain, deal, station) == 4


async def test_one_refuses(chain, proxies, desk):
    """It says that the contracts would revert every transaction."""
    _, deal, station = desk

    async def refuses(one, _, call):
        answer = await one.forward(call)
        if call["method"] == "eth_estimateGas":
            answer = {"error": {"code": 3, "message": "execution reverted", "data": "0x"}}
        return {"jsonrpc": "2.0", "id": call["id"], **answer}

    proxies[0].faults = itertools.repeat(refuses)
    assert await whole_life(chain, deal, station) == 4


async def test_one_hides_a_dispute(chain, proxies, desk):
    """It shows the chain as it was before, until the dispute is over: in vain."""
    _, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    proxies[0].head = here(chain)
    with capture_logs() as logs:
        deal.register(deal.state(0))
        await station.event(sm.EVENT_REFUTED)
        await looked(proxies[1], 3)
    assert deal.registered() == 7
    name = proxies[0].url.removeprefix("http://")
    assert [one for one in logs if one["event"] == "a node answers differently"][0]["node"] == name
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60


async def test_one_is_away(chain, proxies, desk):
    """It was there at the start, hangs, then nothing listens any more."""
    _, deal, station = desk
    proxies[1].faults = itertools.repeat(node.hangs)
    await funded(deal, station)
    await proxies[1].stop()
    await station.watch(deal, deal.state(7, ((20, 60),)))
    deal.register(deal.state(2))
    await station.event(sm.EVENT_REFUTED)
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60


async def test_two_of_three_are_away(chain, proxies, desk):
    """Then nobody is believed, until one of them is back."""
    _, deal, station = desk
    await funded(deal, station)
    await station.watch(deal, deal.state(7, ((20, 60),)))
    for one in proxies[:2]:
        one.faults = itertools.repeat(node.overloaded)
    deal.register(deal.state(2))
    await looked(proxies[2], 3)
    assert deal.registered() == 2
    assert (await station.status(deal)).stage == im.STAGE_FUNDED
    proxies[0].faults = itertools.repeat(None)
    await station.event(sm.EVENT_REFUTED, 60)
    assert deal.registered() == 7


async def test_of_two_one_invents_a_deposit(chain, proxies, start, cars):
    """The device is not told that its channel is funded, and hears it when it is true."""
    urls = [one.url for one in proxies[:2]]
    service = await start(cars[1], chain={"rpc": urls, "request_timeout": 3})
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    station = cars[1]
    await station.dial(port(service))
    proxies[0].faults = itertools.repeat(
        lies({"eth_call": lambda text: "0x" + "01" * 32 if len(text) == 66 else text})
    )
    with capture_logs() as logs:
        await station.fund(deal)
        await station.watch(deal, deal.state(0))
        await looked(proxies[1], 5)
        assert (await station.status(deal)).stage == im.STAGE_FUNDING
    assert any("2 of 2 nodes" in str(one.get("reason")) for one in logs)
    proxies[0].faults = itertools.repeat(None)
    deal.deposit(deal.parties[0])
    await station.event(sm.EVENT_FUNDED, 60)


async def test_nothing_of_an_address_is_told(chain, proxies):
    """The path of an address often is a password."""
    urls = [f"{one.url}/v3/s3cr3t{number}" for number, one in enumerate(proxies)]
    for one in proxies:
        one.faults = itertools.repeat(node.html)
    nodes = Nodes([OneNode(url, 1) for url in urls])
    with capture_logs() as logs, pytest.raises(NoMajority) as error:
        await nodes.make_request("eth_chainId", [])
    await nodes.disconnect()
    warnings = [one for one in logs if one["log_level"] == "warning"]
    assert len(warnings) == 3 and "s3cr3t" not in f"{logs}{error.value}"


async def test_one_that_hangs_is_asked_no_more(chain, proxies):
    """Questions to it do not pile up, and nothing is left of them at the end."""
    proxies[0].faults = itertools.repeat(node.hangs)
    nodes = Nodes([OneNode(one.url, 60) for one in proxies])
    for _ in range(100):
        await nodes.make_request("eth_chainId", [])
    assert proxies[0].calls.count("eth_chainId") <= 32
    assert proxies[1].calls.count("eth_chainId") == 100
    await nodes.disconnect()
    assert not [task for task in asyncio.all_tasks() if "make_request" in repr(task)]


async def test_all_disagree(chain, proxies, tmp_path):
    """An error that says so; another try may succeed."""
    for number, one in enumerate(proxies):
        one.faults = itertools.repeat(lies({"eth_chainId": lambda _, n=number: hex(n + 1)}))
    kit.write_wallet(tmp_path)
    rpc = {"rpc": [one.url for one in proxies]}
    asked = Chain(kit.parse(kit.document(chain, (), chain=rpc), tmp_path))
    with pytest.raises(ChainError, match="2 of 3 nodes must give the same answer to eth_chainId"):
        await asked.check()
    proxies[0].faults = proxies[1].faults = itertools.repeat(None)
    await asked.check()
    await asked.close()
