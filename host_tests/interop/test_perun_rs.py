"""Devices that speak perun-rs's protocol to our service, on the contracts of generation 1."""

import secrets

import pytest
from adoption.perun_rs.messages import DisputeNotification, FundingResponse, WatchResponse
from service import kit
from service.conftest import start
from service.kit import until
from service.perun_rs_device import Connection, Deal

__all__ = ["start"]


@pytest.fixture
def generation():
    return 1


async def test_devices_live_on(chain, start):
    """Two of them: funded, paid, ended and paid out, by a service that knows nothing else."""
    deal = Deal(chain.web3.eth.chain_id, kit.eth(chain), ((1000, 500),))
    registered = []
    for address in deal.parts:
        device = kit.Device()
        device.address = address
        registered.append(device)
    section = {
        "listen": ["127.0.0.1:0"],
        "devices": ["0x" + address.hex() for address in deal.parts],
    }
    service = await start(*registered, chain={"generation": 1}, perun_rs=section)
    receivers = [secrets.token_bytes(20) for _ in range(2)]
    at = service.perun_rs.addresses[0][1]
    lines = [await Connection.dial(at) for _ in range(2)]
    for index, line in enumerate(lines):
        line.send(deal.watch(index, deal.state(0), receivers[index]))
        line.send(deal.fund(index))
    for line in lines:
        assert await line.recv() == WatchResponse(deal.id, 0, True)
        assert await line.recv(30) == FundingResponse(deal.id, True)
    for index, line in enumerate(lines):
        paid = deal.state(1, ((900, 600),))
        assert (await line.ask(deal.watch(index, paid, receivers[index]))).success
    for index, line in enumerate(lines):
        final = deal.state(2, ((850, 650),), final=True)
        assert (await line.ask(deal.watch(index, final, receivers[index]))).success

    def balances() -> list[int]:
        web3 = chain.web3
        return [web3.eth.get_balance(web3.to_checksum_address(one)) for one in receivers]

    await until(lambda: balances() == [850, 650])


async def test_a_device_has_its_channel_closed(chain, start, time_passes):
    deal = Deal(chain.web3.eth.chain_id, kit.eth(chain), ((1000, 0),))
    registered = kit.Device()
    registered.address = deal.parts[0]
    section = {"listen": ["127.0.0.1:0"], "devices": ["0x" + deal.parts[0].hex()]}
    service = await start(registered, chain={"generation": 1}, perun_rs=section)
    line = await Connection.dial(service.perun_rs.addresses[0][1])
    receiver = secrets.token_bytes(20)
    line.send(deal.watch(0, deal.state(0), receiver))
    line.send(deal.fund(0))
    assert await line.recv() == WatchResponse(deal.id, 0, True)
    assert await line.recv(30) == FundingResponse(deal.id, True)
    latest = deal.watch_message(0, deal.state(1, ((700, 300),)), receiver)
    assert (await line.ask(deal.force_close(latest))).success
    assert await line.recv(30) == DisputeNotification(deal.id)
    chain.node.pass_time(601)
    web3 = chain.web3
    address = web3.to_checksum_address(receiver)
    await until(lambda: web3.eth.get_balance(address) == 700)
