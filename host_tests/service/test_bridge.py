"""The bridge to go-perun nodes: devices open, pay and close through it, and strangers do not."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import stat
from collections.abc import AsyncIterator
from typing import Any

import oracle
import pytest
from adoption.bridge import addresses
from perun.channel import FINAL
from perun.client.handle import TimedOut
from perun.model import Allocation, with_balances
from perun.wire import control_messages as c
from perun.wire import inquiry_messages as im
from perun.wire import bridge_messages as bm
from perun.wire import messages as m
from perun.wire import service_messages as sm
from perun.wire.frame import tcp_frame
from service import bridgekit, kit
from service.bridgekit import RECEIVER, Car
from service.conftest import port
from service.gonode import CHAIN, Node, simple_address
from service.kit import Hung, until


@pytest.fixture
async def node(tmp_path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    await made.serve()
    yield made
    await made.close()


@pytest.fixture
async def car(chain) -> AsyncIterator[Car]:
    made = Car(chain)
    yield made
    if made.task:
        await made.stop()


@pytest.fixture
def begin(start):
    """begin(cars, nodes): a service with a bridge for them."""

    async def begin_one(cars: Any, nodes: Any, **more: Any) -> Any:
        devices = [kit.Device() for _ in cars]
        for device, car in zip(devices, cars, strict=True):
            device.address = car.address
        made = bridgekit.section(cars, *nodes, **more)
        return await start(*devices, bridge=made)

    return begin_one


def deposit(chain, channel: bytes, participant: bytes, amount: int) -> None:
    ident = oracle.funding_id(channel, participant)
    call = chain.eth_holder.functions.deposit(ident, amount)
    chain.send(call, value=amount)


async def opened(chain, car: Car, link: Any) -> Any:
    """A channel that the car proposed, funded by both: its handle."""
    link.device_account = car.address
    peer = await car.peer()
    task = asyncio.create_task(car.client.propose(peer, ((1000, 500),), 600))
    proposal = await link.get(m.LedgerChannelProposal)
    assert proposal.peers == (link.device, link.node.address)
    assert len(proposal.aux) == 256 and proposal.participant == car.address
    await link.accept(proposal)
    first = await link.get(m.ChannelUpdateAcc)
    state = car.client.channels[first.channel_id].state
    assert CHAIN.verify(car.address, CHAIN.state_hash(state), first.sig)
    await link.sign_first(state)
    handle = await task
    deposit(chain, handle.id, link.node.account.address, 500)
    await handle.opened(60)
    return handle


async def test_a_car_opens_pays_and_closes(chain, car, node, begin):
    service = await begin([car], [node])
    car.start(service)
    link = await node.links.get()
    handle = await opened(chain, car, link)
    for amount in (10, 20):
        paying = asyncio.create_task(handle.pay(amount))
        await link.agree()
        await paying
    state = await link.pay(handle.state, 1, 5)
    assert handle.state == state and handle.balance() == 975
    closing = asyncio.create_task(handle.close())
    end = await link.agree()
    await closing
    assert end.is_final and handle.phase == FINAL
    await handle.settled(60)
    paid = chain.web3.eth.get_balance(chain.web3.to_checksum_address(RECEIVER))
    assert paid == 975
    ident = oracle.funding_id(handle.id, node.account.address)
    assert chain.eth_holder.functions.holdings(ident).call() == 525


async def test_a_node_dials_and_proposes(chain, car, node, begin):
    node.port = 0  # the service has no address of it
    service = await begin([car], [node])
    car.start(service)
    identity = await wire_address(service, car)
    link = await node.dial(service.bridge.addresses[0][1], identity)
    assert addresses.proven("simple", identity, link.their_proof)
    link.device_account = car.address
    proposal = m.LedgerChannelProposal(
        secrets.token_bytes(32),
        600,
        secrets.token_bytes(32),
        b"",
        b"",
        Allocation((car.asset,), ((1000, 0),), ()),
        ((1000, 0),),
        bytes(256),
        node.account.address,
        (node.address, identity),
    )
    await link.send(proposal)
    acc = await link.get(m.LedgerChannelProposalAcc)
    assert acc.proposal_id == proposal.proposal_id and acc.participant == car.address
    first = await link.get(m.ChannelUpdateAcc)
    handle = car.client.channels[first.channel_id]
    await link.sign_first(handle.state)
    deposit(chain, handle.id, node.account.address, 1000)
    await handle.opened(60)
    state = await link.pay(handle.state, 0, 40)
    assert handle.state == state and handle.balance() == 40
    taking = with_balances(state, ((961, 39),))
    await link.send(m.ChannelUpdate(taking, 0, link.sign(taking)))
    assert "lower" in (await link.get(m.ChannelUpdateRej)).reason
    assert (await link.pay(state, 0, 2)).version == 2
    end = with_balances(handle.state, handle.state.allocation.balances, True)
    await link.send(m.ChannelUpdate(end, 0, link.sign(end)))
    assert (await link.get(m.ChannelUpdateAcc)).version == 3
    await handle.settled(60)


async def wire_address(service, car) -> bytes:
    """What the car is to the nodes, once its line is there."""
    await until(lambda: service.bridge._lines)
    return next(iter(service.bridge._lines.values())).ends.own.address


async def test_keys_stay_and_are_private(car, node, begin, tmp_path, start):
    service = await begin([car], [node])
    files = list((tmp_path / "bridge").iterdir())
    assert len(files) == 2
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    car.start(service)
    first = (await node.links.get()).device
    await start.stop(service)
    await car.stop()
    service = await begin([car], [node])
    car.start(service)
    assert (await node.links.get()).device == first


async def test_crossing_updates(chain, car, node, begin):
    """The node lets go of its update when it is refused, and then answers the car's."""
    car.start(await begin([car], [node]))
    link = await node.links.get()
    handle = await opened(chain, car, link)
    paying = asyncio.create_task(handle.pay(10))
    update = await link.get(m.ChannelUpdate)
    crossed = await link.pay(handle.state, 1, 5)
    assert isinstance(crossed, m.ChannelUpdateRej) and crossed.reason == "crossing updates"
    await link.send(m.ChannelUpdateAcc(handle.id, 1, link.sign(update.state)))
    assert await paying == 1
    assert (await link.pay(handle.state, 1, 5)).version == 2


async def test_an_end_that_the_node_crosses(chain, car, node, begin):
    """However often it pays meanwhile: what the device has signed first stands, here the end."""
    car.start(await begin([car], [node]))
    link = await node.links.get()
    handle = await opened(chain, car, link)
    closing = asyncio.create_task(handle.close())
    end = (await link.get(m.ChannelUpdate)).state
    assert end.is_final
    for amount in (5, 6, 7):
        assert (await link.pay(handle.state, 1, amount)).reason == "crossing updates"
    await link.send(m.ChannelUpdateAcc(handle.id, 1, link.sign(end)))
    await closing
    assert handle.state == end


async def test_signatures_that_only_go_perun_takes(chain, car, node, begin):
    """v of 0 or 1, high s: refused with a reason, and the channel goes on."""
    car.start(await begin([car], [node]))
    link = await node.links.get()
    handle = await opened(chain, car, link)
    good = link.sign
    order = oracle.ORDER

    def low_v(state: Any) -> bytes:
        sig = good(state)
        return sig[:64] + bytes((sig[64] - 27,))

    def high_s(state: Any) -> bytes:
        sig = good(state)
        s = order - int.from_bytes(sig[32:64], "big")
        return sig[:32] + s.to_bytes(32, "big") + bytes((55 - sig[64],))

    for bad in (low_v, high_s):
        link.sign = bad
        answer = await link.pay(handle.state, 1, 5)
        assert isinstance(answer, m.ChannelUpdateRej) and "signature" in answer.reason
    link.sign = good
    assert (await link.pay(handle.state, 1, 5)).version == 1


async def test_the_device_restarts(chain, car, node, begin):
    """ChannelSync shows it what it missed; nothing is signed before."""
    service = await begin([car], [node])
    car.start(service)
    link = await node.links.get()
    handle = await opened(chain, car, link)
    paying = asyncio.create_task(handle.pay(10))
    update = await link.get(m.ChannelUpdate)
    paying.cancel()
    await car.stop()
    await link.hung()
    again = Car(chain, car.client.store, car.secret)
    (back,) = again.client.channels.values()
    again.start(service)
    link = await node.links.get()
    try:
        shown = await link.get(m.ChannelSync)
        assert shown.current.state == handle.machine.current.state
        sigs = (update.sig, link.sign(update.state))
        await link.send(m.ChannelSync(3, m_transaction(update.state, sigs)))
        await back.paid(1)
        link.device_account = again.address
        await until(lambda: not back.machine.doubts)
        assert (await link.pay(back.state, 1, 5)).version == 2
    finally:
        await again.stop()


def m_transaction(state: Any, sigs: Any) -> Any:
    from perun.model import Transaction

    return Transaction(state, sigs)


async def test_the_node_restarts(chain, car, node, begin):
    car.start(await begin([car], [node]))
    link = await node.links.get()
    handle = await opened(chain, car, link)
    link.close()
    link = await node.links.get()
    link.device_account = car.address
    paying = asyncio.create_task(handle.pay(10))
    await link.agree()
    await paying


async def test_a_silent_node(car, node, begin):
    """What go-perun finds invalid it drops: the error says so."""
    car.start(await begin([car], [node]))
    peer = await car.peer()
    with pytest.raises(TimedOut, match="go-perun drops"):
        await car.client.propose(peer, ((1000, 500),), 600, timeout=0.3)


async def test_perunio_keeps_locked_funds(chain, car, node, begin):
    from perun.model import SubAlloc

    node.serializer = "perunio"
    node.drips = True
    car.start(await begin([car], [node]))
    link = await node.links.get()
    handle = await opened(chain, car, link)
    state = handle.state
    locked = Allocation(
        state.allocation.assets, ((900, 500),), (SubAlloc(b"\7" * 32, (100,), ()),)
    )
    locking = state._replace(version=1, allocation=locked)
    await link.send(m.ChannelUpdate(locking, 1, link.sign(locking)))
    answer = await link.get(m.ChannelUpdateRej)  # devices lock nothing
    assert "signature" not in answer.reason and answer.version == 1
    paying = asyncio.create_task(handle.pay(10))
    await link.agree()
    await paying


# -- strangers and bad input ----------------------------------------------------------------------


async def test_a_perunio_node_dials(car, node, begin):
    """Its first message comes in pieces."""
    node.port = 0
    node.serializer = "perunio"
    node.drips = True
    service = await begin([car], [node], listen=[], listen_perunio=["127.0.0.1:0"])
    car.start(service)
    link = await node.dial(service.bridge.addresses[0][1], await wire_address(service, car))
    assert addresses.proven("simple", link.device, link.their_proof)
    await car.peer()


async def test_who_is_not_expected(car, node, begin, tmp_path):
    node.port = 0
    service = await begin([car], [node])
    car.start(service)
    own = await wire_address(service, car)
    place = service.bridge.addresses[0][1]
    stranger = Node(tmp_path, "stranger", 1)
    namesake = Node(tmp_path, "node", 1)
    for who, whom, proof in (
        (stranger, own, None),
        (namesake, own, None),  # the same name with another key
        (node, own, namesake.proof),
        (node, own, b""),
        (node, simple_address("nobody", node.key), None),
    ):
        with pytest.raises((Hung, ConnectionError)):
            await who.dial(place, whom, proof)
    for bad in (
        b"\0\0",
        b"\0\3abc",
        b"\xff\xff" + bytes(65535),
        tcp_frame(b"\x0a\x02\x0a\x00\x12\x02\x0a\x00\x32\x00"),
    ):
        link = None
        with contextlib.suppress(Hung, ConnectionError):
            link = await _raw(node, place, bad)
            await link.hung()
    link = await node.dial(place, own)
    await until(lambda: car.client.foreign("node").connected)


async def _raw(node: Node, place: int, data: bytes) -> Any:
    import ssl

    from service.gonode import NodeLink

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", place, ssl=context)
    link = NodeLink(node, reader, writer, b"x")
    link.raw(data)
    return link


def entries(*pairs: tuple[bytes, bytes]) -> bytes:
    """A gen2 Address with these (backend, address) entries."""

    def field(number: int, data: bytes) -> bytes:
        size = len(data)
        head = bytes((number << 3 | 2,))
        while size > 127:
            head += bytes((size & 127 | 128,))
            size >>= 7
        return head + bytes((size,)) + data

    return b"".join(field(1, field(1, key) + field(2, value)) for key, value in pairs)


async def test_bad_envelopes_leave_the_channel_unharmed(chain, car, node, begin):
    car.start(await begin([car], [node]))
    link = await node.links.get()
    handle = await opened(chain, car, link)
    before = handle.machine.current
    backend = b"\0\0\0\1"

    def envelope(sender: bytes, body: bytes = b"\x1a\x00") -> bytes:
        def field(number: int, data: bytes) -> bytes:
            assert len(data) < 16384
            return bytes((number << 3 | 2, len(data) & 127 | 128, len(data) >> 7)) + data

        return tcp_frame(field(1, sender) + field(2, entries((backend, link.device))) + body)

    own = entries((backend, node.address))
    for bad in (
        envelope(entries((backend, simple_address("other", node.key)))),
        envelope(entries((backend, simple_address("node", None)))),  # no key
        envelope(entries((backend, node.address), (b"\0\0\0\2", b"x"))),
        envelope(entries()),
        envelope(own, b""),
        envelope(own, b"\x18\x01"),  # a ping that is a number
        envelope(own, b"\x72\x00"),  # an update without anything
        envelope(own, b"\x1a\x00\x22\x00"),  # two messages
        tcp_frame(b"\0" * 65535),
    ):
        link.raw(bad)
    update = before.state._replace(version=1)
    await link.send(m.ChannelUpdate(update._replace(id=b"\1" * 32), 1, link.sign(update)))
    await link.send(m.ChannelUpdateAcc(handle.id, 1, link.sign(update)))
    await link.send(m.LedgerChannelProposalAcc(b"\1" * 32, b"\2" * 32, b"\3" * 20))
    await link.send(c.Ping(1))
    assert handle.machine.current == before
    assert (await link.pay(handle.state, 1, 5)).version == 1
    assert sum("dropped" in text for text in car.errors) == 9


async def test_a_flood_does_not_end_the_session(chain, car, node, begin):
    service = await begin([car], [node])
    car.start(service)
    link = await node.links.get()
    handle = await opened(chain, car, link)
    for _ in range(300):
        await link.send(m.ChannelUpdateRej(handle.id, 9, "x" * 200))
    await handle.checkpoint()
    await until(lambda: (handle.watched, handle.receipt) != (-1, None))
    assert not any("service:" in text for text in car.errors)


async def test_what_the_bridge_does_not_relay(chain, car, node, begin):
    """Also a device of one's own may be broken."""
    service = await begin([car], [node])
    device = kit.Device()
    device.secret, device.address = car.secret, car.address
    await device.dial(port(service))

    async def told() -> Any:
        while True:
            message = await device.recv()
            if isinstance(message, bm.PeerState) and message.text:
                return message.text

    await device.send(bm.Relay("node", device.codec.encode(c.Ping(1))))
    assert "not attached" in await told()
    refused = await device.ask(bm.Attach, "nobody")
    assert isinstance(refused, sm.Error) and "there are node" in refused.text
    assert isinstance(await device.ask(bm.Attach, "node"), sm.Ack)
    link = await node.links.get()
    assert (await device.recv()) == bm.PeerState("node", True, "")
    for body in (b"", b"\xff", device.codec.encode(m.HelloProof(bytes(65)))):
        await device.send(bm.Relay("node", body))
        assert "not relayed" in await told()
    await device.send(bm.Relay("node", device.codec.encode(m.ChannelSync(3, None))))
    assert (await link.recv()) == m.ChannelSync(3, None)
    device.hang_up()
    await link.hung()


async def test_a_device_without_the_bridge(chain, start, cars):
    service = await start(cars[0])
    await cars[0].dial(port(service))
    answer = await cars[0].ask(bm.Attach, "node")
    assert isinstance(answer, sm.Error) and "no bridge" in answer.text
    await cars[0].send(bm.Relay("node", b"x"))
    assert (await cars[0].answer()).peer == "node"
    assert isinstance(await cars[0].ask(im.StatusRequest, b""), sm.Ack)


# -- two connections ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aaa", "zzz"])
async def test_dialled_by_both_at_once(car, tmp_path, begin, name):
    """What the smaller name dialled is closed, as go-perun does."""
    node = Node(tmp_path, name)
    await node.serve()
    try:
        service = await begin([car], [node])  # the car is "car0"
        car.start(service, name)
        first = await node.links.get()
        await until(lambda: car.client.foreign(name).connected)
        second = await node.dial(service.bridge.addresses[0][1], first.device)
        loser = second if name < "car0" else first
        await loser.hung()
        winner = first if name < "car0" else second
        await winner.send(c.Ping(1))
        await winner.send(m.ChannelProposalRej(b"\1" * 32, "x"))
        await until(lambda: any("no proposal" in text for text in car.errors))
    finally:
        await node.close()


async def test_a_node_that_redials_replaces_its_dead_connection(car, node, begin):
    port_, node.port = node.port, 0
    service = await begin([car], [node])
    car.start(service)
    own = await wire_address(service, car)
    place = service.bridge.addresses[0][1]
    first = await node.dial(place, own)
    await until(lambda: car.client.foreign("node").connected)
    second = await node.dial(place, own)
    await first.hung()
    await second.send(m.ChannelProposalRej(b"\1" * 32, "x"))
    await until(lambda: any("no proposal" in text for text in car.errors))
    assert port_


async def test_a_node_that_is_not_there_yet(car, node, begin):
    await node.close()
    service = await begin([car], [node])
    car.start(service)
    await until(lambda: any("node:" in text for text in car.errors))
    await node.serve()
    await node.links.get()
    await car.peer()


async def test_a_certificate_that_is_not_the_pinned_one(car, node, begin, tmp_path):
    other = Node(tmp_path, "other")._keyring.certificate().path
    made = bridgekit.section([car], node)
    made["peer"][0]["certificate"] = str(other)
    service = await begin([car], [node], peer=made["peer"])
    car.start(service)
    await until(lambda: any("pinned" in text for text in car.errors))
    assert node.links.empty()


def test_what_operators_are_shown(tmp_path, chain):
    import json

    from adoption.cli import app
    from typer.testing import CliRunner

    device = kit.Device()
    node = Node(tmp_path)
    found = kit.document(chain, [device])
    found["bridge"] = bridgekit.section([device], node)
    path = tmp_path / "adoption.toml"
    path.write_text(_toml(found))
    done = CliRunner().invoke(app, ["bridge", "-c", str(path), "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)["devices"][0]
    assert addresses.parse_simple(bytes.fromhex(shown["simple"][2:])).name == b"car0"
    assert bytes.fromhex(shown["ethereum"][2:]) == device.address
    again = CliRunner().invoke(app, ["bridge", "-c", str(path)])
    assert shown["simple"] in again.stdout
    del found["bridge"]
    path.write_text(_toml(found))
    done = CliRunner().invoke(app, ["bridge", "-c", str(path)])
    assert done.exit_code == 1 and "no [bridge]" in done.output


def _toml(document: dict[str, Any]) -> str:
    """Enough of TOML for kit.document()."""

    def value(found: Any) -> str:
        if isinstance(found, dict):
            return "{" + ", ".join(f"{k} = {value(v)}" for k, v in found.items()) + "}"
        if isinstance(found, list):
            return "[" + ", ".join(map(value, found)) + "]"
        return f'"{found}"' if isinstance(found, str) else str(found).lower()

    return "\n".join(f"{name} = {value(section)}" for name, section in document.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": "0x0004" + b"node".hex()}, "no public key"),
        ({"address": "0x00"}, "cut off"),
        ({"address": "node"}, "hex digits"),
        ({"wire": "ethereum"}, "20 bytes"),
        ({"serializer": "json"}, "perunio"),
        ({"devices": ["0x" + "11" * 20]}, "is not in [[bridge.device]]"),
        ({}, "of generation 2"),
    ],
)
def test_wrong_configurations(tmp_path, chain, change, words):
    from adoption.config import ConfigError

    device = kit.Device()
    found = kit.document(chain, [device])
    found["bridge"] = bridgekit.section([device], Node(tmp_path))
    found["bridge"]["peer"][0].update(change)
    if not change:
        found["chain"]["generation"] = 1
    with pytest.raises(ConfigError, match=words.replace("[", r"\[").replace("]", r"\]")):
        kit.parse(found, tmp_path)


async def test_the_ethereum_wire_address(car, node, begin):
    """Twenty bytes, and a constant for a proof."""
    node.address = node.account.address
    node.proof = b"Authenticate"
    made = bridgekit.section([car], node)
    made["peer"][0]["wire"] = "ethereum"
    service = await begin([car], [node], peer=made["peer"])
    car.start(service)
    link = await node.links.get()
    assert link.device == car.address and link.their_proof == b"Authenticate"
    await car.peer()


def test_the_identity_of_a_device_of_its_own(tmp_path):
    """What the tool writes, the firmware reads and a node believes."""
    import json

    from adoption.cli import app
    from typer.testing import CliRunner

    node = Node(tmp_path)
    out = tmp_path / "wire.json"
    options = ["--name", "car", "--key", str(tmp_path / "car.pem"), "--out", str(out)]
    done = CliRunner().invoke(app, ["identity", "--peer", "0x" + node.address.hex(), *options])
    assert done.exit_code == 0, done.output
    found = {name: bytes.fromhex(text) for name, text in json.loads(out.read_text()).items()}
    assert addresses.proven("simple", found["address"], found["proof"])
    assert found["peer"] == node.address and found["address"].hex() in done.stdout
    assert stat.S_IMODE((tmp_path / "car.pem").stat().st_mode) == 0o600
    first = out.read_text()
    CliRunner().invoke(app, ["identity", "--peer", "0x" + node.address.hex(), *options])
    assert out.read_text() == first
    done = CliRunner().invoke(app, ["identity", "--peer", "0x0004" + b"node".hex(), *options])
    assert done.exit_code == 1 and "no public key" in done.output
