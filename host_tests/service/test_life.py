"""The lives of channels, from funding to payout, to the wei."""

from __future__ import annotations

from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit
from service.conftest import port
from service.kit import ETHER, Deal, until


async def test_honest(chain, start, cars):
    """Both devices at one service: funded, updated, final, concluded, paid out."""
    car, station = cars
    service = await start(car, station)
    deal = Deal(chain, cars, [kit.eth(chain)], ((5 * ETHER, 3 * ETHER),))
    for device in cars:
        await device.dial(port(service))
        receipt = await device.watch(deal, deal.state(0))
        assert isinstance(receipt, sm.Receipt), receipt
        assert await device.fund(deal) == sm.Ack(device.number)
    for device in cars:
        assert (await device.event(sm.EVENT_FUNDED)).channel_id == deal.id
    assert (deal.holdings(car), deal.holdings(station)) == (5 * ETHER, 3 * ETHER)

    paid = deal.state(1, ((5 * ETHER - 7, 3 * ETHER + 7),))
    assert isinstance(await car.watch(deal, paid, params=None), sm.Receipt)
    assert isinstance(await station.watch(deal, paid, params=None), sm.Receipt)
    final = deal.state(2, ((5 * ETHER - 10, 3 * ETHER + 10),), final=True)
    assert isinstance(await car.watch(deal, final, params=None), sm.Receipt)
    assert isinstance(await station.watch(deal, final, params=None), sm.Receipt)
    for device in cars:
        assert (await device.event(sm.EVENT_WITHDRAWN)).version == 2
    assert kit.wealth(chain, car) == 5 * ETHER - 10
    assert kit.wealth(chain, station) == 3 * ETHER + 10
    for device in cars:
        status = await device.status(deal)
        assert (status.stage, status.registered, status.holdings) == (im.STAGE_WITHDRAWN, 2, (0,))


async def test_refutes_an_old_state(chain, start, cars):
    """The car registers version 0 while the station is away; the service does the rest."""
    car, station = cars
    service = await start(station)
    deal = Deal(chain, cars, [kit.eth(chain)], ((5 * ETHER, ETHER),))
    await station.dial(port(service))
    await station.fund(deal)
    deal.deposit(car)
    await station.event(sm.EVENT_FUNDED)
    newest = deal.state(9, ((2 * ETHER, 4 * ETHER),))
    assert isinstance(await station.watch(deal, newest), sm.Receipt)
    station.hang_up()

    deal.register(deal.state(0))
    await until(lambda: deal.registered() == 9)
    chain.node.pass_time(kit.DURATION)
    await until(lambda: kit.wealth(chain, station) == 4 * ETHER)
    assert deal.phase() == 2
    await station.dial(port(service))
    await station.until_stage(deal, im.STAGE_WITHDRAWN)
