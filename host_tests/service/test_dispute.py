"""Disputes: the newest state wins, and the device's money reaches its receiver."""

from __future__ import annotations

import asyncio

import pytest
from adoption import status
from contracts.deploy import deploy_one
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit
from service.conftest import port
from service.kit import DURATION, ETHER, Deal, until


@pytest.fixture
async def desk(chain, start, cars):
    """A funded channel; the second device uses the service, the first one does not."""
    service = await start(cars[1], policy={"authorization_wait": 3600})
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[1].dial(port(service))
    await cars[1].fund(deal)
    await cars[1].watch(deal, deal.state(0))
    deal.deposit(cars[0])
    await cars[1].event(sm.EVENT_FUNDED)
    return service, deal, cars[1]


async def test_on_request(chain, desk):
    """A device asks for a dispute; asked twice it is still one."""
    service, deal, station = desk
    await station.watch(deal, deal.state(3, ((40, 40),)))
    for _ in range(2):
        assert isinstance(await station.ask(im.DisputeRequest, deal.id), sm.Ack)
    event = await station.event(sm.EVENT_REGISTERED)
    assert event.version == 3
    now = await station.status(deal)
    assert (now.stage, now.registered, now.timeout) == (im.STAGE_DISPUTE, 3, event.timeout)
    chain.node.pass_time(DURATION)
    assert (await station.event(sm.EVENT_CONCLUDED)).version == 3
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 40
    assert isinstance(await station.ask(im.DisputeRequest, deal.id), sm.Ack)


async def test_not_before_the_time(chain, desk):
    service, deal, station = desk
    await station.ask(im.DisputeRequest, deal.id)
    event = await station.event(sm.EVENT_REGISTERED)
    chain.node.at(event.timeout - 1)
    chain.node.mine()
    await asyncio.sleep(0.3)
    assert deal.phase() == 0
    chain.node.at(event.timeout)
    chain.node.mine()
    await station.event(sm.EVENT_CONCLUDED)


async def test_refutes_each_old_state(chain, desk):
    service, deal, station = desk
    await station.watch(deal, deal.state(7, ((40, 40),)))
    deal.register(deal.state(0))
    event = await station.event(sm.EVENT_REFUTED)
    assert event.version == 7
    # A newer state arrives while the dispute runs: it refutes, too.
    await station.watch(deal, deal.state(8, ((39, 41),)))
    await until(lambda: deal.registered() == 8)
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 41


async def test_takes_over_a_newer_state(chain, desk):
    """The peer registers what the device never handed over; only a signature is missing."""
    service, deal, station = desk
    newer = deal.state(5, ((10, 70),))
    deal.register(newer)
    assert (await station.event(sm.EVENT_REGISTERED)).version == 5
    await until(
        lambda: status.read(service.config.service.database)["channels"][0]["version"] == 5
    )
    now = await station.status(deal)
    assert (now.version, now.state_hash, now.authorized) == (5, deal.hash(newer), 0)
    chain.node.pass_time(DURATION)
    assert (await station.event(sm.EVENT_NEED_AUTHORIZATION)).version == 5
    now = await station.status(deal)
    assert (now.stage, now.holdings) == (im.STAGE_CONCLUDED, (70,))
    station.hang_up()
    await station.dial(port(service))  # a new session is told again
    assert (await station.event(sm.EVENT_NEED_AUTHORIZATION)).version == 5
    assert isinstance(await station.watch(deal, newer, params=None), sm.Receipt)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 70


async def test_final_state_beats_a_registered_one(chain, desk):
    service, deal, station = desk
    deal.register(deal.state(0))
    await station.watch(deal, deal.state(6, ((20, 60),), final=True))
    await station.event(sm.EVENT_WITHDRAWN)  # without waiting for any time
    assert kit.wealth(chain, station) == 60


async def test_peer_concludes_first(chain, desk):
    """A transaction that somebody else was faster with is no error."""
    service, deal, station = desk
    final = deal.state(6, ((20, 60),), final=True)
    params, state, sigs = deal.signed(final)
    chain.send(chain.adjudicator.functions.concludeFinal(params, state, sigs))
    await station.watch(deal, final)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60


async def test_somebody_else_withdraws(chain, desk):
    """The authorization is public once it was used; whoever submits it, the money arrives."""
    service, deal, station = desk
    final = deal.state(6, ((20, 60),), final=True)
    await station.watch(deal, final, auths=())
    await station.event(sm.EVENT_NEED_AUTHORIZATION)
    auth = deal.auth(station, 0, 60)
    value = (deal.id, (station.address, bytes(32)), auth.receiver, 60)
    chain.send(chain.eth_holder.functions.withdraw(value, auth.sig))
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 60


async def test_smaller_authorization_after_a_while(chain, start, cars):
    """A device that is away for ever gets at least what it signed for, if that is most of it."""
    service = await start(cars[1], policy={"authorization_wait": 0.5})
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    station = cars[1]
    await station.dial(port(service))
    await station.fund(deal)
    deal.deposit(cars[0])
    await station.event(sm.EVENT_FUNDED)
    await station.watch(deal, deal.state(1, ((30, 50),)))
    await station.watch(deal, deal.state(2, ((25, 55),), final=True), auths=())
    await station.event(sm.EVENT_NEED_AUTHORIZATION)
    assert kit.wealth(chain, station) == 0
    await asyncio.sleep(0.6)
    chain.node.pass_time(2)
    await until(lambda: kit.wealth(chain, station) == 50)
    await until(
        lambda: (
            status.read(service.config.service.database)["channels"][0]["members"][0]["holdings"]
            == [5]
        )
    )
    rest = deal.auth(station, 0, 5)
    final = deal.state(2, ((25, 55),), final=True)
    assert isinstance(await station.watch(deal, final, auths=[rest]), sm.Receipt)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 55


async def test_registered_while_unknown(chain, start, cars):
    """A dispute that began before the service heard of the channel, more than 100 blocks ago."""
    service = await start(cars[1])
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),), duration=3600)
    for device in cars:
        deal.deposit(device)
    deal.register(deal.state(2, ((45, 35),)))
    chain.node.mine(150)
    await cars[1].dial(port(service))
    await cars[1].watch(deal, deal.state(0))
    await until(
        lambda: status.read(service.config.service.database)["channels"][0]["version"] == 2
    )
    await cars[1].watch(deal, deal.state(3, ((44, 36),)))
    await cars[1].event(sm.EVENT_REFUTED)
    assert deal.registered() == 3


async def test_equivocation_on_chain(chain, desk):
    """The peer registers another state with the version that is held: evidence, and payout."""
    service, deal, station = desk
    await station.watch(deal, deal.state(3, ((40, 40),)))
    deal.register(deal.state(3, ((45, 35),)))
    await until(
        lambda: status.read(service.config.service.database)["channels"][0]["evidence"] == [3]
    )
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_NEED_AUTHORIZATION)
    auth = deal.auth(station, 0, 35)
    answer = await station.watch(deal, deal.state(3, ((40, 40),)), auths=[auth])
    assert isinstance(answer, sm.Receipt)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 35


async def test_reorganisation(chain, desk):
    """A registration that was dropped with its block leaves no trace; the next one counts."""
    service, deal, station = desk
    before = chain.node.snapshot()
    await station.ask(im.DisputeRequest, deal.id)
    await until(lambda: deal.registered() == 0 and deal.phase() == 0)
    await station.event(sm.EVENT_REGISTERED)
    chain.node.revert(before)
    chain.node.mine(3)
    await station.event(sm.EVENT_REGISTERED)  # it was registered again


async def test_late_deposit_after_the_payout(chain, desk):
    """It stays with the participant; the device is asked for another signature."""
    service, deal, station = desk
    await station.watch(deal, deal.state(1, ((20, 60),), final=True))
    await station.event(sm.EVENT_WITHDRAWN)
    deal.deposit(station, 11)
    await station.event(sm.EVENT_NEED_AUTHORIZATION)
    final = deal.state(1, ((20, 60),), final=True)
    await station.watch(deal, final, auths=[deal.auth(station, 0, 11)])
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 71


async def test_app_channel(chain, start, cars):
    """An app channel waits twice before it is concluded, and follows a progress."""
    service = await start(cars[1])
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),), app=bytes([7] * 20))
    station = cars[1]
    await station.dial(port(service))
    await station.fund(deal)
    deal.deposit(cars[0])
    await station.event(sm.EVENT_FUNDED)
    await station.watch(deal, deal.state(1, ((45, 35),), data=b"move"))
    await station.ask(im.DisputeRequest, deal.id)
    await station.event(sm.EVENT_REGISTERED)
    chain.node.pass_time(DURATION)
    await asyncio.sleep(0.3)
    assert deal.phase() == 0
    chain.node.pass_time(DURATION)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 35


async def test_large_amounts(chain, start, cars):
    service = await start(*cars)
    deal = Deal(
        chain, cars, [kit.eth(chain)], ((90 * ETHER + 1, 0),), agreement=((90 * ETHER, 1),)
    )
    for device in cars:
        await device.dial(port(service))
        await device.fund(deal)
        await device.watch(deal, deal.state(0))
    for device in cars:
        await device.event(sm.EVENT_FUNDED)
    final = deal.state(1, ((1, 90 * ETHER),), final=True)
    for device in cars:
        await device.watch(deal, final)
    for device in cars:
        await device.event(sm.EVENT_WITHDRAWN)
    assert [kit.wealth(chain, device) for device in cars] == [1, 90 * ETHER]


async def test_concluded_while_funding(chain, start, cars):
    """Somebody concludes before the funding is complete: the unused budget is free again."""
    service = await start(cars[1])
    station = cars[1]
    await station.dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    final = deal.state(1, final=True)
    params, state, sigs = deal.signed(final)
    chain.send(chain.adjudicator.functions.concludeFinal(params, state, sigs))
    assert isinstance(await station.fund(deal), sm.Ack)

    def spent():
        found = status.read(service.config.service.database)
        return found["channels"][0]["closed"] and found["devices"][0]["budgets"]

    budgets = await until(spent)
    assert [one["spent"] for one in budgets.values()] == [0, 0]
    assert deal.holdings(station) == 0


async def test_progress_by_the_peer(chain, start, cars):
    """In an app channel the peer moves on alone: the service learns the state from the call data,
    concludes with it, and pays out what it gives."""
    app = deploy_one(chain.web3, chain.accounts[0], "TrivialApp")
    service = await start(cars[1])
    station = cars[1]
    raw = bytes.fromhex(app.address[2:])
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),), app=raw)
    await station.dial(port(service))
    await station.fund(deal)
    deal.deposit(cars[0])
    await station.event(sm.EVENT_FUNDED)
    held = deal.state(1, ((45, 35),), data=b"move 1")
    await station.watch(deal, held)
    deal.register(held)
    await station.event(sm.EVENT_REGISTERED)
    chain.node.pass_time(DURATION)
    moved = deal.state(2, ((44, 36),), data=b"move 2")
    params, old, _ = deal.signed(held)
    sig = deal.sigs(moved)[0]
    progress = chain.adjudicator.functions.progress
    chain.send(progress(params, old, deal.state_tuple(moved), 0, sig))
    assert (await station.event(sm.EVENT_PROGRESSED)).version == 2
    assert (await station.status(deal)).version == 1  # what both signed
    chain.node.pass_time(DURATION)
    assert (await station.event(sm.EVENT_NEED_AUTHORIZATION)).version == 2
    auth = deal.auth(station, 0, 36)
    assert isinstance(await station.watch(deal, held, auths=[auth]), sm.Receipt)
    await station.event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, station) == 36
