"""TLS between device and service: the pin, and the proof that both saw the same certificate.

The device is lib/perun on a CPython of its own and in the MicroPython VM: the same driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import ssl
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from adoption import certificate, cli, listeners
from adoption.certificate import BadCertificate, Certificate
from contracts.toolchain import ROOT
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from demo.device import MICROPYTHON, MODULES
from perun.link import LinkError, tcp
from perun.wire import service_messages as sm
from service import kit
from typer.testing import CliRunner

# Connects as a device does, shakes hands, and prints what it hears then, or the error.
DRIVER = """
import asyncio, sys
from perun.chain.account import Account
from perun.channel import Limits
from perun.client import Client
from perun.link import tcp
from perun.store.memory import MemoryStore
from perun.wire.compact import Compact, Contexts
from perun.wire.messages import ROLE_DEVICE

port, chain_id, secret, pins = sys.argv[-4:]
pins = tuple(bytes.fromhex(pin) for pin in pins.split(",") if pin)
account = Account(bytes.fromhex(secret))
client = Client(account, int(chain_id), Limits((), (), 1, 2), bytes([1] * 20), MemoryStore())

async def main():
    try:
        link = await tcp.connect("127.0.0.1", int(port), 1024, pins)
        await client.handshake(link, ROLE_DEVICE)
        body = await asyncio.wait_for(link.recv(), 60)
        print("heard", type(Compact(Contexts()).decode(body)).__name__)
    except OSError as error:
        print("error", error)

asyncio.run(main())
"""
MACHINES = ["cpython", "micropython"]


async def dial(machine: str, port: int, device: kit.Device, *pins: bytes) -> str:
    """What the driver printed."""
    pinned = ",".join(pin.hex() for pin in pins)
    command = [sys.executable, "-c"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    if machine == "micropython":
        command = [str(MICROPYTHON), "-X", "heapsize=192k", "-c"]
        environment = {**os.environ, "MICROPYPATH": f"{MODULES}:.frozen"}
    process = await asyncio.create_subprocess_exec(
        *command,
        DRIVER,
        str(port),
        str(device.chain_id),
        device.secret.hex(),
        pinned,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return output.decode()


def tls_port(service) -> int:
    return service.listeners.tls_addresses[0][1]


def pin_of(service) -> bytes:
    return service.certificate.fingerprint


TLS = {"listen_tls": ["127.0.0.1:0"]}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server of the test's own: its port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def other_certificate(folder: Path, name: str = "other.pem") -> Certificate:
    return certificate.load(folder / name, create=True)


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def relay_to(port: int, context: ssl.SSLContext | None) -> Handler:
    """Somebody in between, who reads everything and passes it on."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    return handle


# -- who gets in ----------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
async def test_pinned(start, cars, machine):
    service = await start(*cars, service=TLS)
    assert (
        await dial(machine, tls_port(service), cars[0], pin_of(service)) == "heard ServiceInfo\n"
    )


@pytest.mark.parametrize("machine", MACHINES)
async def test_either_of_two_pins(start, cars, machine):
    service = await start(*cars, service=TLS)
    pins = (bytes(32), pin_of(service))
    assert await dial(machine, tls_port(service), cars[0], *pins) == "heard ServiceInfo\n"


@pytest.mark.parametrize("machine", MACHINES)
async def test_another_certificate(tmp_path, cars, machine):
    """Nothing is sent to it, and the device says which one it saw."""
    other = other_certificate(tmp_path)
    heard = []

    async def handle(reader, writer):
        with contextlib.suppress(OSError):
            heard.append(await reader.read(100))
        writer.close()

    async with listening(handle, other.context()) as port:
        said = await dial(machine, port, cars[0], bytes(range(32)))
    assert "not the pinned one" in said and other.fingerprint.hex() in said
    assert not any(heard)


@pytest.mark.parametrize("machine", MACHINES)
async def test_relay_with_its_own_certificate(start, cars, tmp_path, machine):
    """It ends the TLS of the device and begins one of its own: the pin shows it."""
    service = await start(*cars, service=TLS)
    other = other_certificate(tmp_path)
    relay = relay_to(tls_port(service), client_context())
    async with listening(relay, other.context()) as port:
        said = await dial(machine, port, cars[0], pin_of(service))
    assert "not the pinned one" in said


@pytest.mark.parametrize("machine", MACHINES)
async def test_relay_that_the_device_was_made_to_trust(start, cars, tmp_path, machine):
    """A wrong pin, or none: the service notices, because the device signed what it saw."""
    service = await start(*cars, service=TLS)
    other = other_certificate(tmp_path)
    relay = relay_to(tls_port(service), client_context())
    async with listening(relay, other.context()) as port:
        assert "somebody in between" in await dial(machine, port, cars[0], other.fingerprint)
    async with listening(relay) as port:  # no TLS at all on the device's side
        assert "somebody in between" in await dial(machine, port, cars[0])
    async with listening(
        relay_to(service.listeners.addresses[0][1], None), other.context()
    ) as port:
        # The relay comes to the service without TLS.
        assert "not signed" in await dial(machine, port, cars[0], other.fingerprint)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("years", [(2001, 2002), (2090, 2091)])
async def test_dates_do_not_count(tmp_path, cars, machine, years):
    """A device has no clock; what counts is the pin."""
    path = tmp_path / "dated.pem"
    path.write_bytes(dated(*years))
    path.chmod(0o600)
    service = certificate.load(path)
    heard = asyncio.get_running_loop().create_future()

    async def handle(reader, writer):
        heard.set_result(await reader.read(100))
        writer.close()

    async with listening(handle, service.context()) as port:
        await dial(machine, port, cars[0], service.fingerprint)
        assert await asyncio.wait_for(heard, 60)  # the Hello came


def dated(first: int, last: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dated")])
    found = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(first, 1, 1))
        .not_valid_after(datetime.datetime(last, 1, 1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return found.public_bytes(pem) + secret


# -- what breaks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
async def test_truncated_handshake(start, cars, machine):
    """The line breaks after some bytes of the service's: an error, wherever it is."""
    service = await start(*cars, service=TLS)

    def cut_after(most: int) -> Handler:
        async def handle(reader, writer):
            there = await asyncio.open_connection("127.0.0.1", tls_port(service))
            there[1].write(await reader.read(4096))
            writer.write(await there[0].readexactly(most) if most else b"")
            await writer.drain()
            writer.close()
            there[1].close()

        return handle

    for most in (0, 3, 60, 150, 500):
        async with listening(cut_after(most)) as port:
            said = await dial(machine, port, cars[0], pin_of(service))
        assert said.startswith("error"), (most, said)


@pytest.mark.parametrize("machine", MACHINES)
async def test_no_tls_there(start, cars, machine):
    service = await start(*cars, limits={"handshake_timeout": 0.5})
    port = service.listeners.addresses[0][1]
    assert (await dial(machine, port, cars[0], bytes(32))).startswith("error")


async def test_a_listener_that_is_silent(monkeypatch):
    monkeypatch.setattr(tcp, "CONNECT_TIMEOUT", 0.2)
    done = asyncio.Event()

    async def handle(reader, writer):
        await done.wait()
        writer.close()

    async with listening(handle) as port:
        with pytest.raises(LinkError, match="no answer"):
            await tcp.connect("127.0.0.1", port, pins=(bytes(32),))
        done.set()


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00", b"\x00\x10uPerun"])
async def test_slow_and_plain_clients_of_the_tls_port(start, cars, first):
    """They hold a place for a moment only."""
    service = await start(*cars, service=TLS, limits={"handshake_timeout": 0.3, "sessions": 1})
    reader, writer = await asyncio.open_connection("127.0.0.1", tls_port(service))
    writer.write(first)
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while await reader.read(100):
                pass
    writer.close()
    await kit.until(lambda: not service.listeners._is_full())
    said = await dial("cpython", tls_port(service), cars[0], pin_of(service))
    assert said == "heard ServiceInfo\n"


async def test_too_many_on_the_tls_port(start, cars):
    service = await start(*cars, service=TLS, limits={"sessions": 1})
    await cars[0].dial(service.listeners.addresses[0][1])
    said = await dial("cpython", tls_port(service), cars[1], pin_of(service))
    assert said.startswith("error")


async def test_plain_only_from_this_computer(start, cars, monkeypatch):
    assert listeners._is_local(("127.0.0.1", 1))
    assert listeners._is_local(("::1", 1, 0, 0))
    assert listeners._is_local(("::ffff:127.0.0.1", 1, 0, 0))
    for stranger in ("192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::1"):
        assert not listeners._is_local((stranger, 1))
    assert not listeners._is_local(None)
    monkeypatch.setattr(listeners, "_is_local", lambda peer: False)
    service = await start(*cars)
    cars[0].wire = await kit.TcpWire.dial(service.listeners.addresses[0][1])
    error = await cars[0].recv()
    assert error.code == sm.ERROR_NOT_ALLOWED and "TLS" in error.text
    with pytest.raises(kit.Hung):
        await cars[0].recv()
    await start.stop(service)
    service = await start(*cars, service={"plain_from": "anywhere"})
    await cars[0].dial(service.listeners.addresses[0][1])


# -- the certificate ------------------------------------------------------------------------------


def test_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "certificate.pem"
    first = certificate.load(path, create=True)
    assert certificate.load(path, create=True) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(BadCertificate, match="chmod 600"):
        certificate.load(path)


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_damaged(tmp_path, keep):
    path = tmp_path / "certificate.pem"
    certificate.load(path, create=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(BadCertificate, match="restore it"):
        certificate.load(path, create=True)


def test_command_and_rotation(chain, tmp_path):
    kit.write_wallet(tmp_path)
    place = chain.place
    (tmp_path / "config.toml").write_text(
        f'[chain]\nrpc = "{chain.node.url}"\nchain_id = 1337\n'
        f'adjudicator = "{place.adjudicator}"\n'
        f'[[asset]]\nname = "ETH"\nkind = "eth"\nholder = "{place.eth_holder}"\n'
    )

    def run(*options: str) -> dict[str, str]:
        arguments = ["certificate", "-c", str(tmp_path / "config.toml"), "--json", *options]
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    first = run()["current"]
    assert run() == {"current": first}
    both = run("--prepare")
    assert both == run("--prepare") == run() and both["current"] == first != both["next"]
    assert run("--switch") == {"current": both["next"]}
    path = tmp_path / "certificate.pem"
    assert certificate.load(path).fingerprint.hex() == both["next"]
    arguments = ["certificate", "-c", str(tmp_path / "config.toml"), "--switch"]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 1  # none is prepared


# A TLS link, and then as many connections as a station may have, all of them waited for, and two
# more TLS links among them.
CROWD = """
import asyncio, sys
from perun.link import tcp

tls, plain, pin = sys.argv[-3:]

tasks = []

async def wait(link):
    try:
        await link.recv()
    except OSError:
        pass

async def securely():
    link = await tcp.connect("127.0.0.1", int(tls), 1024, (bytes.fromhex(pin),))
    await link.send(b"hello")
    tasks.append(asyncio.create_task(wait(link)))

async def main():
    await securely()
    blocks = []
    for number in range(9):
        other = await tcp.connect("127.0.0.1", int(plain))
        tasks.append(asyncio.create_task(wait(other)))
        blocks.append(bytearray(64))  # lies where the table would have grown
        await asyncio.sleep(0.02)
        if number % 4 == 3:
            await securely()
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    print("still here")

asyncio.run(main())
"""


async def test_many_links_beside_tls(tmp_path: Path) -> None:
    """poll() of the unix port would die of it: see lib/perun/link/dial_micropython.py."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    own = other_certificate(tmp_path)
    async with listening(silent, own.context()) as tls, listening(silent) as plain:
        process = await asyncio.create_subprocess_exec(
            *(str(MICROPYTHON), "-X", "heapsize=192k", "-c", CROWD),
            *(str(tls), str(plain), own.fingerprint.hex()),
            env={**os.environ, "MICROPYPATH": f"{MODULES}:.frozen"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output.decode()) == (0, "still here\n")
