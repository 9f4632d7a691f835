"""The service's money: for whom, how much, once, and back if the others do not pay."""

from __future__ import annotations

import asyncio

import pytest
from adoption import status
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit
from service.conftest import port
from service.kit import DURATION, ETHER, Deal, until
from service.test_requests import refused


def spent(service, device, name="ETH"):
    found = status.read(service.config.service.database)["devices"]
    holder = next(asset.holder for asset in service.config.asset if asset.name == name)
    mine = next(one for one in found if one["address"][2:].lower() == device.address.hex())
    return next(b["spent"] for h, b in mine["budgets"].items() if h[2:].lower() == holder.hex())


async def test_asked_again_and_again(chain, start, cars):
    """Same answer, one deposit; also for a second session."""
    service = await start(cars[0])
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    for _ in range(2):
        await cars[0].dial(port(service))
        for _ in range(3):
            assert isinstance(await cars[0].fund(deal), sm.Ack)
    await until(lambda: deal.holdings(cars[0]) == 50)
    deal.deposit(cars[1])
    await cars[0].event(sm.EVENT_FUNDED)
    assert isinstance(await cars[0].fund(deal), sm.Ack)
    await asyncio.sleep(0.2)
    assert deal.holdings(cars[0]) == 50
    assert spent(service, cars[0]) == 50
    await cars[0].event(sm.EVENT_FUNDED)  # it may have missed the first one
    assert (await cars[0].status(deal)).stage == im.STAGE_FUNDED


async def test_late_participant(chain, start, cars):
    """Who joins when all deposits are there hears that the channel is funded."""
    service = await start(*cars)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
    await cars[0].dial(port(service))
    await cars[0].fund(deal)
    await cars[0].event(sm.EVENT_FUNDED)
    await cars[1].dial(port(service))
    assert isinstance(await cars[1].fund(deal), sm.Ack)
    await cars[1].event(sm.EVENT_FUNDED)


async def test_budget(chain, start, cars):
    """What is spent stays spent; what would go beyond is refused and costs nothing."""
    service = await start(cars[0])
    await cars[0].dial(port(service))
    deals = [Deal(chain, cars, [kit.eth(chain)], ((60 * ETHER, 1),)) for _ in range(2)]
    assert isinstance(await cars[0].fund(deals[0]), sm.Ack)
    refused(await cars[0].fund(deals[1]), sm.ERROR_BUDGET)
    small = Deal(chain, cars, [kit.eth(chain)], ((40 * ETHER, 1),))
    assert isinstance(await cars[0].fund(small), sm.Ack)
    one_more = Deal(chain, cars, [kit.eth(chain)], ((1, 1),))
    refused(await cars[0].fund(one_more), sm.ERROR_BUDGET)
    assert spent(service, cars[0]) == 100 * ETHER
    # The other side's deposit is not the device's.
    free = Deal(chain, cars, [kit.eth(chain)], ((0, 10**30),))
    assert isinstance(await cars[0].fund(free), sm.Ack)


async def test_budget_per_asset(chain, start, cars):
    service = await start(cars[0])
    await cars[0].dial(port(service))
    both = [kit.eth(chain), kit.erc20(chain)]
    deal = Deal(chain, cars, both, ((1, 0), (101 * ETHER, 0)))
    refused(await cars[0].fund(deal), sm.ERROR_BUDGET)
    assert (spent(service, cars[0]), spent(service, cars[0], "PRN")) == (0, 0)


async def test_two_agreements(chain, start, cars):
    service = await start(cars[0])
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    assert isinstance(await cars[0].fund(deal), sm.Ack)
    refused(await cars[0].fund(deal, agreement=((49, 31),)), sm.ERROR_INVALID)


async def test_erc20(chain, start, cars):
    """A token: allowance, deposit, payout. Another asset of the same channel is Ether."""
    service = await start(*cars)
    both = [kit.erc20(chain), kit.eth(chain)]
    deal = Deal(chain, cars, both, ((50, 30), (4, 5)))
    for device in cars:
        await device.dial(port(service))
        await device.fund(deal)
    for device in cars:
        await device.event(sm.EVENT_FUNDED)
    final = deal.state(1, ((10, 70), (9, 0)), final=True)
    for device in cars:
        assert isinstance(await device.watch(deal, final), sm.Receipt)
    for device in cars:
        await device.event(sm.EVENT_WITHDRAWN)
    assert [kit.tokens(chain, device) for device in cars] == [10, 70]
    assert [kit.wealth(chain, device) for device in cars] == [9, 0]


async def test_responder_waits_for_the_proposer(chain, start, cars):
    service = await start(cars[1])
    responder = cars[1]
    await responder.dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await responder.fund(deal)
    deal.deposit(cars[0], 49)
    await asyncio.sleep(0.5)
    assert deal.holdings(responder) == 0
    deal.deposit(cars[0], 1)
    await responder.event(sm.EVENT_FUNDED)
    assert deal.holdings(responder) == 30


async def test_order_set_per_device(chain, start, cars):
    service = await start(policy={"egoistic": "always"})
    async with service.store.write() as tx:
        from adoption.store import devices

        await devices.put(tx, cars[1].address, "", egoistic=False)
        await devices.grant(tx, cars[1].address, kit.eth(chain), 100)
    await cars[1].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[1].fund(deal)
    await until(lambda: deal.holdings(cars[1]) == 30)


async def test_surplus_of_one_does_not_fund_the_other(chain, start, cars):
    service = await start(cars[0])
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain), kit.erc20(chain)], ((50, 30), (0, 9)))
    await cars[0].fund(deal)
    await until(lambda: deal.holdings(cars[0]) == 50)
    deal.deposit(cars[1], 9, asset=1)
    deal.deposit(cars[0], 1000)
    await asyncio.sleep(0.4)
    assert (await cars[0].status(deal)).stage == im.STAGE_FUNDING
    deal.deposit(cars[1], 30)
    await cars[0].event(sm.EVENT_FUNDED)


async def test_somebody_else_deposits(chain, start, cars):
    """What is there already is not deposited again; the budget is not used for it."""
    service = await start(cars[1])
    await cars[1].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[1].fund(deal)
    deal.deposit(cars[1])
    deal.deposit(cars[0])
    await cars[1].event(sm.EVENT_FUNDED)
    assert deal.holdings(cars[1]) == 30
    await until(lambda: spent(service, cars[1]) == 0)


@pytest.mark.parametrize("late", [False, True])
async def test_recovery(chain, start, cars, late):
    """The other side does not pay in time: the own deposit comes back to the wei."""
    service = await start(cars[0])
    car = cars[0]
    await car.dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),), agreement=((60, 20),))
    await car.fund(deal)
    auths = [deal.auth(car, 0, 60), deal.auth(car, 0, 50)]
    assert isinstance(await car.watch(deal, deal.state(0), auths=auths), sm.Receipt)
    await until(lambda: deal.holdings(car) == 60)
    chain.node.pass_time(DURATION - 5)
    await asyncio.sleep(0.3)
    assert deal.registered() == 0 and not car.events
    chain.node.pass_time(6)
    await car.event(sm.EVENT_FUNDING_FAILED)
    await car.event(sm.EVENT_REGISTERED)
    if late:  # then the channel is funded after all, and its balances count
        deal.deposit(cars[1])
    chain.node.pass_time(DURATION)
    await car.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, car) == (50 if late else 60)


async def test_failure_without_own_deposit(chain, start, cars):
    """Nothing to get back: no dispute, the budget is free again, the channel does not count."""
    service = await start(cars[1], limits={"channels_per_device": 1})
    responder = cars[1]
    await responder.dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await responder.fund(deal)
    await until(lambda: spent(service, responder) == 30)
    await responder.until_stage(deal, im.STAGE_FUNDING)
    await asyncio.sleep(0.2)
    chain.node.pass_time(DURATION + 1)
    await responder.event(sm.EVENT_FUNDING_FAILED)
    assert spent(service, responder) == 0
    assert deal.registered() == 0
    refused(await responder.fund(deal), sm.ERROR_INVALID)
    await until(lambda: status.read(service.config.service.database)["channels"][0]["closed"])
    other = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    assert isinstance(await responder.fund(other), sm.Ack)


async def test_confirmations(chain, start, cars):
    """Deposits count when they are as deep as the configuration asks."""
    service = await start(cars[0], chain={"confirmations": 4})
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[0].fund(deal)
    await until(lambda: deal.holdings(cars[0]) == 50)
    deal.deposit(cars[1])
    chain.node.mine(2)
    await asyncio.sleep(0.4)
    assert (await cars[0].status(deal)).stage == im.STAGE_FUNDING
    chain.node.mine(1)
    await cars[0].event(sm.EVENT_FUNDED)


async def test_not_into_a_dispute(chain, start, cars):
    """Once somebody registered the channel, nothing more is deposited."""
    service = await start(cars[1])
    await cars[1].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    deal.register(deal.state(0))
    await cars[1].fund(deal)
    deal.deposit(cars[0])
    await cars[1].event(sm.EVENT_FUNDING_FAILED)
    assert deal.holdings(cars[1]) == 0


async def test_empty_wallet(chain, start, cars):
    """The service says nothing wrong, goes on trying, and pays when it can."""
    service = await start(cars[0])
    wallet = chain.web3.to_checksum_address(service.sender.address)
    full = chain.web3.eth.get_balance(wallet)
    chain.node.rpc("anvil_setBalance", wallet, hex(1000))
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    assert isinstance(await cars[0].fund(deal), sm.Ack)
    await asyncio.sleep(0.5)
    assert deal.holdings(cars[0]) == 0
    chain.node.rpc("anvil_setBalance", wallet, hex(full))
    await until(lambda: deal.holdings(cars[0]) == 50)
