"""The device's own code against the service: what one encodes and signs, the other accepts.

perun.chain and perun.crypto on one side, eth-abi and coincurve on the other.
"""

from __future__ import annotations

import asyncio
import secrets

import pytest
from perun.adoption.session import ServiceError, Session
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.link import tcp
from perun.link.handshake import HandshakeError, handshake
from perun.model import Transaction
from perun.wire import service_messages as sm
from perun.wire.compact import Compact
from perun.wire.messages import ROLE_DEVICE
from service import kit
from service.conftest import port
from service.kit import DURATION, Deal


async def session(service, device, events, expect=None):
    """The device's handshake and session; (session, the task that reads it)."""
    chain, account = Ethereum(), Account(device.secret)
    link = await tcp.connect("127.0.0.1", port(service))
    codec = Compact(device.contexts)
    hello = await handshake(
        link, codec, chain, account, ROLE_DEVICE, 1337, secrets.token_bytes(32), expect
    )

    async def on_event(event):
        events.append(event.kind)

    one = Session(link, codec, chain, account.address, hello.address, on_event)
    return one, asyncio.create_task(one.run())


def signed(deal, state):
    """Signed by both with the device's code, which must give the very same bytes as oracle."""
    chain = Ethereum()
    hashed = chain.state_hash(state)
    sigs = tuple(chain.sign(Account(party.secret), hashed) for party in deal.parties)
    assert sigs == deal.sigs(state)
    return Transaction(state, sigs), hashed


async def test_a_whole_life(chain, start, cars):
    service = await start(*cars)
    deal = Deal(chain, cars, [kit.eth(chain), kit.erc20(chain)], ((50, 30), (0, 7)))
    assert Ethereum().channel_id(deal.params) == deal.id
    events = []
    one, reader = await session(service, cars[0], events, service.identity.address)
    first, hashed = signed(deal, deal.state(0))
    with pytest.raises(ServiceError) as unknown:
        await one.status(deal.id)
    assert unknown.value.code == sm.ERROR_UNKNOWN_CHANNEL
    await one.watch(0, deal.params, first, hashed)
    await one.fund(0, deal.params, first, deal.agreement)
    deal.deposit(cars[1])
    deal.deposit(cars[1], asset=1)
    await kit.until(lambda: sm.EVENT_FUNDED in events)

    second, hashed = signed(deal, deal.state(1, ((20, 60), (3, 4))))
    coin, account = Ethereum(), Account(cars[0].secret)
    auths = tuple(
        sm.WithdrawalAuth(
            asset,
            cars[0].receiver,
            amount,
            coin.sign(
                account,
                coin.withdrawal_hash(deal.id, account.address, cars[0].receiver, amount),
            ),
        )
        for asset, amount in ((0, 20), (1, 3))
    )
    await one.watch(0, None, second, hashed, auths)
    with pytest.raises(ServiceError) as outdated:
        await one.watch(0, None, first, coin.state_hash(first.state))
    assert outdated.value.code == sm.ERROR_OUTDATED
    await one.dispute(deal.id)
    await kit.until(lambda: sm.EVENT_REGISTERED in events)
    chain.node.pass_time(DURATION)
    await kit.until(lambda: sm.EVENT_WITHDRAWN in events)
    assert (kit.wealth(chain, cars[0]), kit.tokens(chain, cars[0])) == (20, 3)
    one.close()
    reader.cancel()


async def test_device_refuses_another_service(start, cars):
    service = await start(*cars)
    with pytest.raises(HandshakeError, match="another address"):
        await session(service, cars[0], [], bytes(20))
