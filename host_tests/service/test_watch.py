"""What is held, what replaces it, and what proves it."""

from __future__ import annotations

import pytest
from adoption import status
from oracle import verify
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit
from service.conftest import port
from service.kit import Deal
from service.test_requests import SPOILED, refused


@pytest.fixture
async def desk(chain, start, cars):
    service = await start(*cars)
    await cars[0].dial(port(service))
    return service, Deal(chain, cars, [kit.eth(chain), kit.erc20(chain)], ((50, 30), (7, 0)))


def held(service):
    return status.read(service.config.service.database)["channels"][0]


async def test_receipt(desk, cars):
    """Signed by the service that proved itself, over what was handed over, and durable."""
    service, deal = desk
    for state in (deal.state(0), deal.state(3, ((49, 31), (6, 1))), deal.state(2**64 - 1)):
        receipt = await cars[0].watch(deal, state)
        hashed = deal.hash(state)
        assert receipt[1:4] == (deal.id, state.version, hashed)
        transcript = sm.receipt_transcript(cars[0].address, deal.id, state.version, hashed)
        assert verify(cars[0].service, transcript, receipt.sig)
        assert held(service)["version"] == state.version
        now = await cars[0].status(deal)
        assert (now.version, now.state_hash) == (state.version, hashed)
        assert (now.stage, now.registered, now.authorized) == (0, -1, state.version)


async def test_same_state_again(desk, cars):
    _, deal = desk
    first = await cars[0].watch(deal, deal.state(4))
    again = await cars[0].watch(deal, deal.state(4), params=None)
    assert first[1:] == again[1:]


async def test_state_is_given_back(desk, cars):
    """To a device that lost it, with both signatures; to nobody else."""
    service, deal = desk
    refused(await cars[0].ask(im.StateRequest, deal.id), sm.ERROR_UNKNOWN_CHANNEL)
    state = deal.state(4, ((49, 31), (6, 1)))
    await cars[0].watch(deal, state)
    answer = await cars[0].ask(im.StateRequest, deal.id)
    assert answer[1:] == (state, deal.sigs(state))
    await cars[1].dial(port(service))
    refused(await cars[1].ask(im.StateRequest, deal.id), sm.ERROR_NOT_ALLOWED)


async def test_older_state(desk, cars):
    service, deal = desk
    await cars[0].watch(deal, deal.state(4))
    for version in (0, 3):
        refused(await cars[0].watch(deal, deal.state(version)), sm.ERROR_OUTDATED)
    assert held(service)["version"] == 4


async def test_equivocation(desk, cars):
    """Two states of one version: refused, and kept as evidence; once each, and not for ever."""
    service, deal = desk
    await cars[0].watch(deal, deal.state(4))
    for amount in (1, 1, *range(1, 12)):
        other = deal.state(4, ((50 - amount, 30 + amount), (7, 0)))
        refused(await cars[0].watch(deal, other), sm.ERROR_EQUIVOCATION)
    found = held(service)
    assert found["version"] == 4
    assert found["balances"] == [[50, 30], [7, 0]]
    assert found["evidence"] == [4] * 8


async def test_equivocation_about_version_zero(desk, cars):
    """Also when it comes as a request for funding."""
    service, deal = desk
    await cars[0].watch(deal, deal.state(0))
    other = deal.state(0, ((49, 31), (7, 0)))
    refused(await cars[0].fund(deal, state=other, sigs=deal.sigs(other)), sm.ERROR_EQUIVOCATION)
    assert held(service)["evidence"] == [0]


async def test_nothing_follows_a_final_state(desk, cars):
    _, deal = desk
    await cars[0].watch(deal, deal.state(4, final=True))
    refused(await cars[0].watch(deal, deal.state(5)), sm.ERROR_INVALID)


async def test_totals_and_assets_stay(chain, desk, cars):
    _, deal = desk
    await cars[0].watch(deal, deal.state(1))
    refused(await cars[0].watch(deal, deal.state(2, ((50, 31), (7, 0)))), sm.ERROR_INVALID)
    refused(await cars[0].watch(deal, deal.state(2, ((50, 29), (7, 0)))), sm.ERROR_INVALID)
    deal.assets = deal.assets[::-1]
    refused(await cars[0].watch(deal, deal.state(2)), sm.ERROR_INVALID)


async def test_authorizations_come_later(desk, cars):
    _, deal = desk
    await cars[0].watch(deal, deal.state(2), auths=())
    assert (await cars[0].status(deal)).authorized == -1
    await cars[0].watch(deal, deal.state(2), auths=[deal.auth(cars[0], 0, 50)], params=None)
    assert (await cars[0].status(deal)).authorized == -1
    await cars[0].watch(deal, deal.state(2), auths=[deal.auth(cars[0], 1, 7)], params=None)
    assert (await cars[0].status(deal)).authorized == 2
    await cars[0].watch(deal, deal.state(3), auths=(), params=None)
    assert (await cars[0].status(deal)).authorized == 3  # its balances are those of version 2
    await cars[0].watch(deal, deal.state(4, ((49, 31), (7, 0))), auths=(), params=None)
    assert (await cars[0].status(deal)).authorized == 3


async def test_wrong_authorizations(desk, cars):
    service, deal = desk
    car, station = cars
    good = deal.auth(car, 0, 50)
    bad = [
        (deal.auth(car, 0, 49), sm.ERROR_INVALID),
        (deal.auth(car, 0, 51), sm.ERROR_INVALID),
        (deal.auth(car, 1, 50), sm.ERROR_INVALID),
        (good._replace(asset=2), sm.ERROR_INVALID),
        (good._replace(receiver=bytes(20)), sm.ERROR_INVALID),
        (good._replace(receiver=station.receiver), sm.ERROR_SIGNATURE),
        (good._replace(sig=deal.auth(station, 0, 50).sig), sm.ERROR_SIGNATURE),
        *((good._replace(sig=spoil(good.sig)), sm.ERROR_SIGNATURE) for spoil in SPOILED),
    ]
    for auth, code in bad:
        refused(await car.watch(deal, deal.state(0), auths=[deal.auth(car, 1, 7), auth]), code)
    assert status.read(service.config.service.database)["channels"] == []


async def test_own_deposit_is_an_amount_too(chain, desk, cars):
    """For the case that the others do not deposit: what the agreement says, not the balance."""
    service, _ = desk
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),), agreement=((80, 0),))
    refused(
        await cars[0].watch(deal, deal.state(0), auths=[deal.auth(cars[0], 0, 80)]),
        sm.ERROR_INVALID,
    )
    await cars[0].fund(deal)
    both = [deal.auth(cars[0], 0, 80), deal.auth(cars[0], 0, 50)]
    assert isinstance(await cars[0].watch(deal, deal.state(0), auths=both), sm.Receipt)


async def test_both_devices_of_a_channel(desk, cars, chain):
    """The second one needs no params, and its receipts are its own."""
    service, deal = desk
    await cars[0].watch(deal, deal.state(1))
    await cars[1].dial(port(service))
    # Its session does not know the channel yet, so the handle says nothing.
    refused(await cars[1].watch(deal, deal.state(1), params=None), sm.ERROR_UNKNOWN_CHANNEL)
    receipt = await cars[1].watch(deal, deal.state(1))
    transcript = sm.receipt_transcript(cars[1].address, deal.id, 1, deal.hash(deal.state(1)))
    assert verify(cars[1].service, transcript, receipt.sig)
    everything = await cars[1].ask(im.StatusRequest, b"")
    assert (everything.channel_id, everything.version) == (deal.id, 1)
    assert await cars[1].answer() == sm.Ack(cars[1].number)
