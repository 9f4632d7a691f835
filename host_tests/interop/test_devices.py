"""Real devices, MicroPython processes with the firmware, that speak to a go-perun node themselves.

Behind the bridge they are in the demonstration: `make demo PEER=go-perun`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from adoption.bridge.identity import rsa_key, simple_identity
from contracts.ports import free_port
from demo.device import Device
from goperun.node import Identity
from service import kit
from service.conftest import start

__all__ = ["start"]

# The peak with TLS, RSA addresses and protocol buffers, on a machine with words of 64 bits.
HEAP = {1: "224k", 2: "288k"}
SLICE = 10  # Wh


class Meter:
    """The car's end of the cable: a datagram for each Wh."""

    def __init__(self) -> None:
        self.port = free_port(socket.SOCK_DGRAM)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def deliver(self, wh: int) -> None:
        for _ in range(wh):
            self._socket.sendto(b"\1", ("127.0.0.1", self.port))


def peer_of(generation: int, node: Any, folder: Path) -> dict[str, Any]:
    """What the configuration says of the node; with the identity that the tool makes."""
    there: dict[str, Any] = {"host": "127.0.0.1", "port": node.port}
    if generation == 1:
        return {"dial": there, "protocol": "go-perun-1", "name": "car", "peer_name": "Alice"}
    pem = ssl.get_server_certificate(("127.0.0.1", node.port))
    there["certificate"] = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    own = simple_identity("car", rsa_key(folder / "car.pem"))
    identity = {"address": own.address.hex(), "peer": node.wire.hex(), "proof": own.proof.hex()}
    (folder / "wire.json").write_text(json.dumps(identity))
    return {
        "dial": there,
        "protocol": "go-perun-2",
        "identity": "wire.json",
        "peer_name": "Alice",
    }


@pytest.fixture
async def car(chain, start, new_node, generation, tmp_path) -> AsyncIterator[Any]:
    """(the device, the node, the car's meter, its owner's address)."""
    node = await new_node(identity=Identity("Alice"), payer=7)
    folder = tmp_path / "car"
    folder.mkdir()
    meter = Meter()
    wallet = chain.web3.to_checksum_address(secrets.token_bytes(20))
    at = free_port()
    config = {
        "chain": {
            "id": chain.web3.eth.chain_id,
            "generation": generation,
            "assets": [{"holder": chain.place.eth_holder, "max_deposit": "1000000"}],
        },
        "receiver": wallet,
        "service": {"tcp": {"host": "127.0.0.1", "port": at}},
        "peer": peer_of(generation, node, folder),
        "app": {
            "module": "ev_car",
            "price_per_kwh": "1000000",
            "slice_wh": SLICE,
            "deposit": "100000",
            "station_deposit": "500",
            "challenge_duration": 600,
            "charger": {"module": "cable", "end": "car", "port": meter.port},
        },
        "console": "json",
    }
    device = Device("car", folder, config, HEAP[generation])
    await device.make_key()
    registered = kit.Device()
    registered.address = bytes.fromhex(device.address[2:])
    await start(
        registered, service={"listen": [f"127.0.0.1:{at}"]}, chain={"generation": generation}
    )
    await device.start()
    yield device, node, meter, wallet
    await device.stop()


@pytest.mark.parametrize("generation", [1, 2])
async def test_a_car_charges_at_a_node(car, chain, generation):
    device, node, meter, wallet = car
    await device.said("peer connected", 40)

    def feed(event: Any) -> None:
        if event["event"] == "update" and not event.get("final"):
            meter.deliver(SLICE)

    node.on_event = feed
    await device.command("charge 30")
    charged = await device.said("charged", 60)
    assert (charged["paid_wh"], charged["delivered_wh"], charged["version"]) == (30, 30, 3)
    await device.said("channel", 60, kind="closed")
    await asyncio.gather(
        device.said("channel", 60, kind="withdrawn"),
        node.settle((await node.channels())[0]["channel"]),
    )
    assert chain.web3.eth.get_balance(wallet) == 100000 - 30 * 1000
