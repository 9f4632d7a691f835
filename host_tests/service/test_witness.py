"""The second opinion of a service that neither funds nor guards the channel."""

from __future__ import annotations

import pytest
from adoption import status
from adoption.store import devices
from perun.model import Params, ether
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from perun.wire.witness_messages import WitnessRequest
from service import kit, node
from service.conftest import port
from service.kit import DURATION, Deal, until
from service.test_requests import nothing_kept, refused

ALWAYS = {"witness_per_second": 1000, "witness_burst": 1000}


@pytest.fixture
async def desk(chain, start, cars):
    """A service that knows both devices, one of them connected, and a channel of the two that it
    has never heard of."""
    service = await start(*cars, limits=ALWAYS)
    await cars[1].dial(port(service))
    return service, Deal(chain, cars, [kit.eth(chain), kit.erc20(chain)], ((50, 30), (0, 7)))


async def stage(device, deal, **changes):
    """What the witness says: the stage, and the own deposits."""
    answer = await device.witness(deal, **changes)
    assert isinstance(answer, im.Status), answer
    assert (answer.channel_id, answer.version, answer.authorized) == (deal.id, 0, -1)
    return answer.stage, answer.holdings


async def test_it_sees_the_deposits(desk, cars):
    """Each participant's for itself, in each asset; nothing is kept of the question."""
    service, deal = desk
    device = cars[1]
    assert await stage(device, deal) == (im.STAGE_FUNDING, (0, 0))
    deal.deposit(cars[0], 1000)  # more than all of it: it does not stand in for the other's
    deal.deposit(cars[1], asset=1)
    assert await stage(device, deal) == (im.STAGE_FUNDING, (0, 7))
    deal.deposit(cars[1], 29)
    assert await stage(device, deal) == (im.STAGE_FUNDING, (29, 7))
    deal.deposit(cars[1], 1)
    assert await stage(device, deal) == (im.STAGE_FUNDED, (30, 7))
    nothing_kept(service)
    refused(await device.status(deal), sm.ERROR_UNKNOWN_CHANNEL)


async def test_what_was_agreed_counts(desk, cars):
    """The agreement says who deposits what, not the balances."""
    _, deal = desk
    deal.deposit(cars[0])
    deal.deposit(cars[1])
    deal.deposit(cars[1], asset=1)
    assert (await stage(cars[1], deal))[0] == im.STAGE_FUNDED
    assert (await stage(cars[1], deal, agreement=((49, 31), (0, 7))))[0] == im.STAGE_FUNDING


async def test_deposits_count_when_they_are_deep_enough(chain, start, cars):
    service = await start(cars[0], chain={"confirmations": 4}, limits=ALWAYS)
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
    deal.deposit(cars[0])
    for _ in range(3):
        assert await stage(cars[0], deal) == (im.STAGE_FUNDING, (0,))
        chain.node.mine(1)
    assert await stage(cars[0], deal) == (im.STAGE_FUNDED, (50,))


async def test_a_channel_in_dispute_is_no_funded_channel(desk, chain, cars):
    _, deal = desk
    for device, asset in ((cars[0], 0), (cars[1], 0), (cars[1], 1)):
        deal.deposit(device, asset=asset)
    deal.register(deal.state(3))
    answer = await cars[1].witness(deal)
    assert (answer.stage, answer.registered) == (im.STAGE_DISPUTE, 3)
    assert answer.timeout == deal.chain.web3.eth.get_block("latest").timestamp + DURATION
    chain.node.pass_time(DURATION)
    state = deal.state_tuple(deal.state(3))
    chain.send(chain.adjudicator.functions.conclude(deal.params_tuple(), state, []))
    answer = await cars[1].witness(deal)
    assert (answer.stage, answer.registered, answer.timeout) == (im.STAGE_CONCLUDED, 3, 0)


async def test_the_channel_is_the_one_of_the_params(desk, cars):
    """Other params are another channel: nobody has deposited there."""
    _, deal = desk
    for device, asset in ((cars[0], 0), (cars[1], 0), (cars[1], 1)):
        deal.deposit(device, asset=asset)
    other = deal.params._replace(nonce=deal.params.nonce ^ 1)
    answer = await cars[1].witness(deal, params=other)
    assert answer.stage == im.STAGE_FUNDING and answer.channel_id != deal.id


async def test_short_challenge_durations_are_the_guards_business(chain, start, cars):
    service = await start(cars[0], policy={"min_challenge_duration": DURATION + 1}, limits=ALWAYS)
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
    deal.deposit(cars[0])
    assert (await stage(cars[0], deal))[0] == im.STAGE_FUNDED


async def test_what_is_refused(desk, chain, cars):
    service, deal = desk
    device = cars[1]
    strangers = Deal(chain, (kit.Device(), kit.Device()), [kit.eth(chain)], ((5, 5),))
    refused(await device.witness(strangers), sm.ERROR_NOT_ALLOWED)
    foreign = (ether(1337, bytes(range(20))), deal.assets[1])
    refused(await device.witness(deal, assets=foreign), sm.ERROR_ASSET)
    refused(await device.witness(deal, assets=(ether(5, kit.eth(chain)),) * 2), sm.ERROR_ASSET)
    refused(await device.witness(deal, assets=deal.assets[:1]), sm.ERROR_INVALID)
    # Twice the same asset: the same deposit would count twice.
    refused(await device.witness(deal, assets=deal.assets[:1] * 2), sm.ERROR_INVALID)
    virtual = Params(DURATION, 1, deal.params.participants, b"", False, True)
    refused(await device.witness(deal, params=virtual), sm.ERROR_INVALID)
    alone = deal.params._replace(participants=(device.address, device.address))
    refused(await device.witness(deal, params=alone), sm.ERROR_INVALID)
    nothing_kept(service)


async def test_only_known_devices(start, cars):
    """There is no other way in than for every device."""
    service = await start(cars[0])
    with pytest.raises(AssertionError, match="not registered here"):
        await cars[1].dial(port(service))


async def test_no_budget_is_needed(chain, start, cars):
    service = await start(limits=ALWAYS)
    async with service.store.write() as tx:
        await devices.put(tx, cars[0].address, "", None)
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
    deal.deposit(cars[0])
    assert (await stage(cars[0], deal))[0] == im.STAGE_FUNDED
    refused(await cars[0].fund(Deal(chain, cars, [kit.eth(chain)], ((1, 0),))), sm.ERROR_BUDGET)


async def test_asked_too_often(chain, start, cars):
    """The node is spared; other requests, and other devices, are served."""
    limits = {"witness_per_second": 0.01, "witness_burst": 3}
    service = await start(*cars, limits=limits)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
    await cars[0].dial(port(service))
    for _ in range(3):
        assert isinstance(await cars[0].witness(deal), im.Status)
    refused(await cars[0].witness(deal), sm.ERROR_BUSY)
    await cars[0].dial(port(service))  # a new session brings no new questions
    refused(await cars[0].witness(deal), sm.ERROR_BUSY)
    assert isinstance(await cars[0].ask(im.StatusRequest, b""), sm.Ack)
    await cars[1].dial(port(service))
    assert isinstance(await cars[1].witness(deal), im.Status)


async def test_its_node_is_away(chain, start, cars):
    """An error that says so, and no opinion."""
    async with node.Node(chain.node.url) as proxy:
        service = await start(
            cars[0], chain={"rpc": proxy.url, "request_timeout": 2}, limits=ALWAYS
        )
        await cars[0].dial(port(service))
        deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
        deal.deposit(cars[0])
        assert (await stage(cars[0], deal))[0] == im.STAGE_FUNDED
    refused(await cars[0].witness(deal), sm.ERROR_CHAIN)


async def test_its_node_lags(chain, start, cars):
    """It has no opinion before the node knows the block that it knew already."""
    async with node.Node(chain.node.url) as proxy:
        service = await start(cars[0], chain={"rpc": proxy.url}, limits=ALWAYS)
        await cars[0].dial(port(service))
        deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
        deal.deposit(cars[0])
        assert (await stage(cars[0], deal))[0] == im.STAGE_FUNDED
        proxy.head = chain.web3.eth.block_number - 1
        refused(await cars[0].witness(deal), sm.ERROR_CHAIN)
        proxy.head = None
        assert (await stage(cars[0], deal))[0] == im.STAGE_FUNDED


async def test_a_damaged_question_is_answered(desk, cars):
    """With its number, so that the device need not wait."""
    _, deal = desk
    device = cars[1]
    body = device.codec.encode(WitnessRequest(77, deal.params, deal.assets, deal.agreement))
    await device.wire.send(body[:-1])
    answer = await device.answer()
    refused(answer, sm.ERROR_MALFORMED)
    assert answer.request == 77


async def test_its_own_channels_as_well(desk, chain, cars):
    """Whoever is served here may ask: it costs the channel nothing."""
    service, deal = desk
    await cars[1].fund(deal)
    deal.deposit(cars[0])
    await cars[1].event(sm.EVENT_FUNDED)
    assert (await stage(cars[1], deal))[0] == im.STAGE_FUNDED
    found = status.read(service.config.service.database)["channels"]
    assert [one["funding"] for one in found] == ["done"]
    await until(lambda: deal.holdings(cars[1]) == 30)
