"""Nobody gets in who cannot prove who he is, and everybody else learns why."""

from __future__ import annotations

import asyncio
import secrets

import oracle
import pytest
from perun.wire import inquiry_messages as im
from perun.wire import messages
from perun.wire import service_messages as sm
from service import kit
from service.conftest import port


async def refusal(device, code):
    """The service says why and hangs up."""
    error = await device.recv()
    assert isinstance(error, sm.Error), error
    assert (error.request, error.code) == (0, code), error
    assert error.text
    with pytest.raises(kit.Hung):
        await device.recv()


async def test_service_proves_itself_and_says_what_it_serves(chain, start, cars):
    service = await start(*cars)
    info = await cars[0].dial(port(service))
    assert cars[0].service == service.identity.address
    assert info.chain_id == chain.web3.eth.chain_id
    assert info.adjudicator == bytes.fromhex(chain.place.adjudicator[2:])
    assert [asset.holder for asset in info.assets] == [kit.eth(chain), kit.erc20(chain)]
    assert info.min_challenge_duration == 60


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"chain_id": 1}, sm.ERROR_ASSET),
        ({"role": messages.ROLE_PEER}, sm.ERROR_NOT_ALLOWED),
        ({"role": messages.ROLE_SERVICE}, sm.ERROR_NOT_ALLOWED),
        ({"version": 2}, sm.ERROR_NOT_ALLOWED),
    ],
)
async def test_wrong_hello(start, cars, changes, code):
    service = await start(*cars)
    device = cars[0]
    device.wire = await kit.TcpWire.dial(port(service))
    await device.send(device.hello(**changes))
    await refusal(device, code)


async def test_own_address_of_the_service(start, cars):
    service = await start(*cars)
    device = cars[0]
    device.wire = await kit.TcpWire.dial(port(service))
    await device.send(device.hello(address=service.identity.address))
    await refusal(device, sm.ERROR_NOT_ALLOWED)


async def answer_hello(device, service, transcript_of):
    device.wire = await kit.TcpWire.dial(port(service))
    own = device.hello()
    await device.send(own)
    other = await device.recv()
    await device.send(messages.HelloProof(transcript_of(own, other)))


async def test_proof_by_another_key(start, cars):
    service = await start(*cars)
    thief = secrets.token_bytes(32)
    await answer_hello(
        cars[0],
        service,
        lambda own, other: oracle.sign(thief, messages.hello_transcript(own, other)),
    )
    await refusal(cars[0], sm.ERROR_SIGNATURE)


async def test_proof_from_an_earlier_session(start, cars):
    """A recorded proof is worth nothing: the service's challenge is new each time."""
    service = await start(*cars)
    device = cars[0]
    recorded = []

    def sign(own, other):
        recorded.append(oracle.sign(device.secret, messages.hello_transcript(own, other)))
        return recorded[0]

    await answer_hello(device, service, sign)
    assert isinstance(await device.recv(), messages.HelloProof)
    device.hang_up()
    await answer_hello(device, service, sign)
    await refusal(device, sm.ERROR_SIGNATURE)


async def test_malleable_proof(start, cars):
    """The other s of the same signature is refused, as the contracts would."""
    service = await start(*cars)
    device = cars[0]

    def sign(own, other):
        sig = oracle.sign(device.secret, messages.hello_transcript(own, other))
        s = oracle.ORDER - int.from_bytes(sig[32:64], "big")
        return sig[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - sig[64]])

    await answer_hello(device, service, sign)
    await refusal(device, sm.ERROR_SIGNATURE)


async def test_unknown_device(start, cars):
    service = await start(cars[0])
    stranger = cars[1]
    await answer_hello(
        stranger,
        service,
        lambda own, other: oracle.sign(stranger.secret, messages.hello_transcript(own, other)),
    )
    assert isinstance(await stranger.recv(), messages.HelloProof)
    await refusal(stranger, sm.ERROR_NOT_ALLOWED)


async def test_open_registration(chain, start, cars):
    policy = {"open_registration": True, "default_budget": {"ETH": 5}}
    service = await start(policy=policy)
    device = cars[0]
    await device.dial(port(service))
    deal = kit.Deal(chain, cars, [kit.eth(chain)], ((6, 5),))
    assert (await device.fund(deal)).code == sm.ERROR_BUDGET
    deal = kit.Deal(chain, cars, [kit.eth(chain)], ((5, 5),))
    assert isinstance(await device.fund(deal), sm.Ack)


async def test_open_registration_is_not_endless(start, cars):
    service = await start(policy={"open_registration": True}, limits={"open_devices": 1})
    await cars[0].dial(port(service))
    with pytest.raises(AssertionError, match="registration is full"):
        await cars[1].dial(port(service))
    await cars[0].dial(port(service))


@pytest.mark.parametrize("frames", [0, 1])
async def test_silent_stranger(start, cars, frames):
    """Neither before nor after its Hello can a stranger hold the line."""
    service = await start(*cars, limits={"handshake_timeout": 0.3})
    device = cars[0]
    device.wire = await kit.TcpWire.dial(port(service))
    if frames:
        await device.send(device.hello())
        assert isinstance(await device.recv(), messages.Hello)
    await refusal(device, sm.ERROR_NOT_ALLOWED)


async def test_first_message_is_no_hello(start, cars):
    service = await start(*cars)
    device = cars[0]
    device.wire = await kit.TcpWire.dial(port(service))
    await device.send(im.StatusRequest(1, b""))
    await refusal(device, sm.ERROR_NOT_ALLOWED)


async def test_random_first_frame(start, cars):
    service = await start(*cars)
    device = cars[0]
    device.wire = await kit.TcpWire.dial(port(service))
    await device.wire.send(b"\xc1" + secrets.token_bytes(40))
    await refusal(device, sm.ERROR_MALFORMED)


async def test_too_many_sessions(start, cars):
    service = await start(*cars, limits={"sessions": 1})
    await cars[0].dial(port(service))
    cars[1].wire = await kit.TcpWire.dial(port(service))
    await refusal(cars[1], sm.ERROR_BUSY)


async def test_newest_session_wins(start, cars):
    """A device that lost its link comes back before the service notices the loss."""
    service = await start(*cars)
    device = cars[0]
    await device.dial(port(service))
    old = device.wire
    await device.dial(port(service))
    with pytest.raises(kit.Hung):
        async with asyncio.timeout(60):
            await old.recv()
    assert isinstance(await device.ask(im.StatusRequest, b""), sm.Ack)


async def test_hello_in_a_session_starts_a_new_one(start, cars):
    service = await start(*cars)
    await cars[0].dial(port(service))
    await cars[0].connect(cars[0].wire)
    assert isinstance(await cars[0].ask(im.StatusRequest, b""), sm.Ack)
