"""Every reason to refuse a request: the right code, a text, and nothing changed."""

from __future__ import annotations

import secrets

import oracle
import pytest
from adoption import status
from perun.model import Params, SubAlloc
from perun.wire import control_messages as control
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit
from service.conftest import port
from service.kit import Deal


@pytest.fixture
async def desk(chain, start, cars):
    """A service, two connected devices, and a channel between them."""
    service = await start(*cars)
    for device in cars:
        await device.dial(port(service))
    return service, Deal(chain, cars, [kit.eth(chain), kit.erc20(chain)], ((50, 30), (7, 0)))


def refused(answer, code):
    assert isinstance(answer, sm.Error), answer
    assert answer.code == code, answer
    assert len(answer.text) > 10


def nothing_kept(service):
    assert status.read(service.config.service.database)["channels"] == []


def high_s(sig):
    s = oracle.ORDER - int.from_bytes(sig[32:64], "big")
    return sig[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - sig[64]])


SPOILED = [
    lambda sig: bytes(65),
    lambda sig: sig[:64] + bytes([sig[64] - 27]),
    high_s,
    lambda sig: bytes(32) + sig[32:],
    lambda sig: b"\xff" * 32 + sig[32:],
    lambda sig: sig[:10] + bytes([sig[10] ^ 1]) + sig[11:],
]


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("who", [0, 1])
async def test_signatures(desk, cars, spoil, who):
    service, deal = desk
    sigs = list(deal.sigs(deal.state(0)))
    sigs[who] = spoil(sigs[who])
    refused(await cars[0].watch(deal, deal.state(0), sigs=tuple(sigs)), sm.ERROR_SIGNATURE)
    refused(await cars[0].fund(deal, sigs=tuple(sigs)), sm.ERROR_SIGNATURE)
    nothing_kept(service)


async def test_signatures_in_the_wrong_order(desk, cars):
    service, deal = desk
    sigs = deal.sigs(deal.state(0))[::-1]
    refused(await cars[0].watch(deal, deal.state(0), sigs=sigs), sm.ERROR_SIGNATURE)
    nothing_kept(service)


async def test_another_device_or_participant(desk, cars):
    service, deal = desk
    refused(await cars[0].watch(deal, deal.state(0), participant=1), sm.ERROR_NOT_ALLOWED)
    refused(await cars[0].watch(deal, deal.state(0), participant=2), sm.ERROR_INVALID)
    refused(await cars[0].fund(deal, participant=1), sm.ERROR_NOT_ALLOWED)
    nothing_kept(service)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": 1},
        {"challenge_duration": 59},
        {"challenge_duration": 86401},
        {"challenge_duration": 2**64 - 1},
        {"ledger": False},
        {"virtual": True},
    ],
)
async def test_params(desk, cars, changes):
    service, deal = desk
    params = Params(**{**deal.params._asdict(), **changes})
    refused(await cars[0].watch(deal, deal.state(0), params=params), sm.ERROR_INVALID)
    refused(await cars[0].fund(deal, params=params), sm.ERROR_INVALID)
    nothing_kept(service)


@pytest.mark.parametrize("duration", [1, 59, 86401])
async def test_durations_outside_the_policy(chain, desk, cars, duration):
    """Even when the id fits the params."""
    service, _ = desk
    deal = Deal(chain, cars, [kit.eth(chain)], ((5, 5),), duration=duration)
    refused(await cars[0].watch(deal, deal.state(0)), sm.ERROR_INVALID)
    nothing_kept(service)


async def test_assets_that_are_not_pinned(chain, desk, cars):
    service, _ = desk
    deal = Deal(chain, cars, [secrets.token_bytes(20)], ((5, 5),))
    refused(await cars[0].watch(deal, deal.state(0)), sm.ERROR_ASSET)
    refused(await cars[0].fund(deal), sm.ERROR_ASSET)
    deal = Deal(chain, cars, [kit.eth(chain)], ((5, 5),))
    deal.assets = (deal.assets[0]._replace(chain_id=1),)
    refused(await cars[0].watch(deal, deal.state(0)), sm.ERROR_ASSET)
    nothing_kept(service)


async def test_amounts_that_overflow(chain, desk, cars):
    service, _ = desk
    deal = Deal(chain, cars, [kit.eth(chain)], ((2**256 - 1, 1),))
    refused(await cars[0].watch(deal, deal.state(0)), sm.ERROR_INVALID)
    nothing_kept(service)


async def test_locked_funds(desk, cars):
    service, deal = desk
    state = deal.state(0)
    sub = SubAlloc(secrets.token_bytes(32), (1, 1), ())
    locked = state._replace(allocation=state.allocation._replace(locked=(sub,)))
    refused(await cars[0].watch(deal, locked), sm.ERROR_INVALID)
    nothing_kept(service)


@pytest.mark.parametrize(
    "agreement",
    [((51, 30), (7, 0)), ((50, 30), (0, 8)), ((2**256 - 1, 2**256 - 1), (7, 0)), ((80, 0),)],
)
async def test_funding_agreement(desk, cars, agreement):
    service, deal = desk
    refused(await cars[0].fund(deal, agreement=agreement), sm.ERROR_INVALID)
    nothing_kept(service)


async def test_only_version_zero_is_funded(desk, cars):
    service, deal = desk
    for state in (deal.state(1), deal.state(0, final=True)):
        answer = await cars[0].fund(deal, state=state, sigs=deal.sigs(state))
        refused(answer, sm.ERROR_INVALID)
    nothing_kept(service)


async def test_unknown_channel(desk, cars):
    service, deal = desk
    answer = await cars[0].watch(deal, deal.state(0), params=None)
    refused(answer, sm.ERROR_UNKNOWN_CHANNEL)
    refused(await cars[0].status(deal), sm.ERROR_UNKNOWN_CHANNEL)
    refused(await cars[0].ask(im.DisputeRequest, deal.id), sm.ERROR_UNKNOWN_CHANNEL)
    cars[0].contexts.remove(deal.id)
    refused(await cars[0].status(deal), sm.ERROR_UNKNOWN_CHANNEL)
    refused(await cars[0].ask(im.DisputeRequest, deal.id), sm.ERROR_UNKNOWN_CHANNEL)
    nothing_kept(service)


async def test_channels_of_others(chain, desk, cars):
    """A stranger with an account can neither see nor dispute a channel."""
    service, deal = desk
    await cars[0].watch(deal, deal.state(0))
    cars[1].contexts.remove(deal.id)
    refused(await cars[1].status(deal), sm.ERROR_NOT_ALLOWED)
    refused(await cars[1].ask(im.DisputeRequest, deal.id), sm.ERROR_NOT_ALLOWED)
    assert not status.read(service.config.service.database)["channels"][0]["registered"]
    assert deal.registered() == 0


async def test_messages_that_no_device_sends(desk, cars):
    _, deal = desk
    for message in (sm.Ack(0), control.Shutdown("bye"), sm.ChainEvent(deal.id, 1, 0, 0)):
        await cars[0].send(message)
        refused(await cars[0].answer(), sm.ERROR_NOT_ALLOWED)
    await cars[0].send(control.Ping(77))
    assert await cars[0].answer() == control.Pong(77)


async def test_too_many_requests(chain, start, cars):
    service = await start(cars[0], limits={"requests_per_second": 0.01, "request_burst": 3})
    await cars[0].dial(port(service))
    for _ in range(3):
        assert isinstance(await cars[0].ask(im.StatusRequest, b""), sm.Ack)
    refused(await cars[0].ask(im.StatusRequest, b""), sm.ERROR_BUSY)
    await cars[0].dial(port(service))  # a new session brings no new requests
    refused(await cars[0].ask(im.StatusRequest, b""), sm.ERROR_BUSY)


async def test_too_many_channels(chain, start, cars):
    service = await start(cars[0], limits={"channels_per_device": 2})
    await cars[0].dial(port(service))
    for _ in range(2):
        deal = Deal(chain, cars, [kit.eth(chain)], ((5, 5),))
        assert isinstance(await cars[0].watch(deal, deal.state(0)), sm.Receipt)
    deal = Deal(chain, cars, [kit.eth(chain)], ((5, 5),))
    refused(await cars[0].watch(deal, deal.state(0)), sm.ERROR_BUSY)
    refused(await cars[0].fund(deal), sm.ERROR_BUSY)


async def test_internal_failure_is_an_answer(desk, cars):
    """A broken store is no reason to leave the device without one."""
    service, deal = desk
    await service.store.close()

    def broken(*_):
        raise OSError("disk")

    service.store.write = broken
    refused(await cars[0].watch(deal, deal.state(0)), sm.ERROR_INTERNAL)
    assert isinstance(await cars[0].ask(im.StatusRequest, b""), sm.Ack)
