"""Noise, damage and nonsense on both kinds of links: an answer or the end of the session, and
the service goes on."""

from __future__ import annotations

import asyncio
import os
import pty
import random
import socket
import struct
import tty

import pytest
from perun.wire import inquiry_messages as im
from perun.wire import messages
from perun.wire import service_messages as sm
from perun.wire.frame import tcp_frame
from perun.wire.serial import serial_frame
from service import kit
from service.conftest import port
from service.kit import Deal


@pytest.fixture
def line():
    """A serial line: (the device's end, the path of the service's end)."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    yield kit.SerialWire(master), os.ttyname(slave)
    os.close(slave)


async def lives(service, device):
    """Another device is served as if nothing had happened."""
    await device.dial(port(service))
    assert isinstance(await device.ask(im.StatusRequest, b""), sm.Ack)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00",  # a frame of nothing
        b"\xff\xff" + bytes(100),  # longer than the service takes
        b"\x00\x05ab",  # cut off
        b"\x00",
        b"",
    ],
)
@pytest.mark.parametrize("in_session", [False, True])
async def test_broken_tcp_stream(start, cars, data, in_session):
    service = await start(*cars)
    device = cars[0]
    if in_session:
        await device.dial(port(service))
    else:
        device.wire = await kit.TcpWire.dial(port(service))
    device.wire.raw(data)
    device.wire.writer.write_eof()
    with pytest.raises(kit.Hung):
        error = await device.recv()
        assert error.code == sm.ERROR_MALFORMED, error
        await device.recv()
    await lives(service, cars[1])


async def test_reset_connections(start, cars):
    service = await start(*cars)
    for size in range(0, 40, 4):
        wire = await kit.TcpWire.dial(port(service))
        wire.raw(tcp_frame(cars[0].codec.encode(cars[0].hello()))[:size])
        sock = wire.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await asyncio.sleep(0)
        wire.close()
    await lives(service, cars[1])


async def test_random_bodies_in_a_session(start, cars):
    """Each gets an error; too many of them end the session."""
    service = await start(*cars)
    rng = random.Random(2)
    await cars[0].dial(port(service))
    for _ in range(15):
        await cars[0].wire.send(rng.randbytes(rng.randrange(1, 200)))
        answer = await cars[0].answer()
        assert isinstance(answer, sm.Error), answer
    assert isinstance(await cars[0].ask(im.StatusRequest, b""), sm.Ack)
    with pytest.raises(kit.Hung):
        for _ in range(3):
            await cars[0].wire.send(b"\xc1")
            await cars[0].answer()
    await lives(service, cars[1])


async def test_damaged_requests(chain, start, cars):
    """Any byte of a request changed: an error or (outside of what is signed) the same request,
    never a different state."""
    service = await start(*cars)
    await cars[0].dial(port(service))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    state = deal.state(1, ((40, 40),))
    await cars[0].watch(deal, state)
    good = cars[0].codec.encode(
        sm.WatchRequest(9, 0, None, deal.state(2, ((39, 41),)), deal.sigs(state), ())
    )
    rng = random.Random(3)
    for _ in range(60):
        if not cars[0].wire or cars[0].wire.reader.at_eof():
            await cars[0].dial(port(service))
        body = bytearray(good)
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        await cars[0].wire.send(bytes(body))
        try:
            assert isinstance(await cars[0].answer(), sm.Error)
        except kit.Hung:
            await cars[0].dial(port(service))
    assert (await cars[0].status(deal)).version == 1


async def test_truncated_requests(chain, start, cars):
    """Every prefix of a request is an error that names the request where it can be read."""
    service = await start(*cars)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    state = deal.state(0)
    body = cars[0].codec.encode(
        sm.FundRequest(77, 0, deal.params, state, deal.sigs(state), deal.agreement)
    )
    await cars[0].dial(port(service))
    for count, size in enumerate(range(1, len(body), 23)):
        if count % 12 == 11:
            await cars[0].dial(port(service))
        await cars[0].wire.send(body[:size])
        answer = await cars[0].answer()
        assert answer.code == sm.ERROR_MALFORMED
        assert answer.request in (0, 77)
    await lives(service, cars[1])


async def test_device_that_does_not_read(chain, start, cars):
    """It loses its session, not the service its memory."""
    service = await start(*cars, limits={"outgoing_queue": 8, "send_timeout": 0.5})
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # as small as a device's
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port(service)))
    await cars[0].connect(kit.TcpWire(*await asyncio.open_connection(sock=sock)))
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await cars[0].watch(deal, deal.state(0))
    cars[0].wire.writer.transport.pause_reading()
    request = tcp_frame(cars[0].codec.encode(im.StatusRequest(1, b"")))
    cars[0].wire.raw(request * 5000)
    await kit.until(lambda: not service.hub.connected(cars[0].address), 80)
    await lives(service, cars[1])


async def test_serial(chain, start, cars, line):
    """A whole life over a serial line, with noise between the frames."""
    wire, path = line
    await start(*cars, service={"serial": [{"path": path, "baud": 115200}]})
    await wire.raw(b"booting...\r\n\x00\x07MPY: soft reboot\r\n")
    info = await cars[0].connect(wire)
    assert info.chain_id == chain.web3.eth.chain_id
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 0),))
    assert isinstance(await cars[0].watch(deal, deal.state(0)), sm.Receipt)
    await wire.raw(os.urandom(64) + b"\x00")
    assert isinstance(await cars[0].fund(deal), sm.Ack)
    assert (await cars[0].event(sm.EVENT_FUNDED)).channel_id == deal.id
    body = bytearray(serial_frame(cars[0].codec.encode(im.StatusRequest(5, b""))))
    body[3] ^= 0x10
    await wire.raw(bytes(body))  # damaged: dropped without an answer
    final = deal.state(1, ((20, 30),), final=True)
    assert isinstance(await cars[0].watch(deal, final, params=None), sm.Receipt)
    await cars[0].event(sm.EVENT_WITHDRAWN)
    assert kit.wealth(chain, cars[0]) == 20


async def test_device_restarts_on_a_serial_line(start, cars, line):
    """No connection ends: the Hello in the middle of a session says it all."""
    wire, path = line
    service = await start(*cars, service={"serial": [{"path": path}]})
    for device in (cars[0], cars[0], cars[1]):
        await device.connect(wire)
        assert isinstance(await device.ask(im.StatusRequest, b""), sm.Ack)
        await wire.raw(serial_frame(device.codec.encode(im.StatusRequest(9, b"")))[:7])
        await wire.raw(b"\x00")
    await lives(service, cars[0])


async def test_device_restarts_during_the_handshake(start, cars, line):
    """On a serial line nothing tells that a device starts anew but its next Hello."""
    wire, path = line
    service = await start(*cars, service={"serial": [{"path": path}]})
    cars[0].wire = wire
    for _ in range(2):
        await cars[0].send(cars[0].hello())
        assert isinstance(await cars[0].recv(), messages.Hello)
    await cars[0].connect(wire)
    await lives(service, cars[0])


async def test_service_restarts_on_a_serial_line(start, cars, line):
    """A device that goes on as if nothing had happened is told that it has no session."""
    wire, path = line
    service = await start(*cars, service={"serial": [{"path": path}]})
    await cars[0].connect(wire)
    await start.stop(service)
    await start(*cars, service={"serial": [{"path": path}]})
    await cars[0].send(im.StatusRequest(4, b""))
    error = await cars[0].answer()
    assert (error.request, error.code) == (0, sm.ERROR_NOT_ALLOWED)
    await cars[0].connect(wire)
    assert isinstance(await cars[0].ask(im.StatusRequest, b""), sm.Ack)


async def test_serial_noise_only(start, cars, line):
    wire, path = line
    service = await start(*cars, service={"serial": [{"path": path}]})
    rng = random.Random(5)
    for _ in range(20):
        await wire.raw(rng.randbytes(1000))
    await wire.raw(b"\x00")
    await cars[0].connect(wire)
    await lives(service, cars[1])


async def test_serial_line_that_is_not_there_yet(start, cars, line, tmp_path, monkeypatch):
    from adoption import listeners

    monkeypatch.setattr(listeners, "_REOPEN", 0.1)
    wire, path = line
    link = tmp_path / "ttyUSB0"
    service = await start(*cars, service={"serial": [{"path": str(link)}]})
    await lives(service, cars[1])
    link.symlink_to(path)
    await asyncio.sleep(0.3)
    await cars[0].connect(wire)
