"""The command line: `python -m adoption --help`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
from eth_utils import to_checksum_address
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adoption import config as configuration
from adoption import certificate as certificates
from adoption import keys, late, status
from adoption.bridge import addresses
from adoption.bridge.identity import described, rsa_key, simple_identity
from adoption.chain import WrongChain
from adoption.config import Config, ConfigError
from adoption.service import Service
from adoption.store import Store, StoreError, devices

app = typer.Typer(help="The IoT adoption service: funds, watches and settles devices' channels.")
devices_app = typer.Typer(help="Which devices may use the service, and with what budget.")
app.add_typer(devices_app, name="devices")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
DeviceArgument = Annotated[str, typer.Argument(help="The device's address, 0x...")]


def _load(path: Path) -> Config:
    try:
        return configuration.load(path)
    except ConfigError as error:
        raise _failure(str(error)) from error


def _failure(text: str) -> typer.Exit:
    Console(stderr=True).print(f"[bold red]Error:[/] {escape(text)}", highlight=False)
    return typer.Exit(1)


@app.command()
def serve(
    config: ConfigOption,
    log_json: Annotated[bool, typer.Option(help="Write logs as JSON lines.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log decisions too.")] = False,
) -> None:
    """Run the service until SIGINT or SIGTERM."""
    loaded = _load(config)
    _set_up_logs(log_json, verbose)
    try:
        asyncio.run(_serve(loaded))
    except (keys.BadKey, WrongChain, StoreError, OSError, ValueError) as error:
        raise _failure(str(error)) from error


async def _serve(config: Config) -> None:
    task = asyncio.create_task(Service(config).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _set_up_logs(as_json: bool, verbose: bool) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@app.command(name="certificate")
def show_certificate(
    config: ConfigOption,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Make the next certificate, to be pinned as well.")
    ] = False,
    switch: Annotated[
        bool, typer.Option("--switch", help="Use the next certificate from the next start on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what devices pin: the SHA-256 of the TLS certificate, which is made if need be.

    To change it: --prepare, add the second fingerprint on every device, --switch, start the
    service anew, drop the first fingerprint on the devices.
    """
    path = _load(config).service.certificate
    try:
        if switch:
            certificates.switch(path)
        found = {"current": certificates.load(path, create=True).fingerprint.hex()}
        if prepare or certificates.next_path(path).exists():
            found["next"] = certificates.prepare(path).fingerprint.hex()
    except (certificates.BadCertificate, OSError) as error:
        raise _failure(str(error)) from error
    if as_json:
        print(json.dumps(found))
        return
    for name, fingerprint in found.items():
        print(f"{name:8} {fingerprint}")


@app.command(name="status")
def show_status(
    config: ConfigOption,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show devices and channels as the store has them (reads only)."""
    try:
        found = status.read(_load(config).service.database)
    except FileNotFoundError as error:
        raise _failure(str(error)) from error
    if as_json:
        print(json.dumps(found))
        return
    console = Console()
    console.print(f"followed the chain up to block {found['block']}")
    table = Table("channel", "version", "balances", "funding", "registered", "device", "stage")
    for channel in found["channels"]:
        for member in channel["members"]:
            table.add_row(
                channel["id"][:12],
                f"{channel['version']}{' final' if channel['final'] else ''}",
                " ".join(str(tuple(row)) for row in channel["balances"]),
                channel["funding"],
                "-" if channel["registered"] is None else str(channel["registered"]),
                member["device"],
                member["stage"] + (" (needs a signature)" * member["needs_authorization"]),
            )
    console.print(table)


@app.command(name="late")
def show_late(
    config: ConfigOption,
    channel: Annotated[str, typer.Option(help="Of what the device has signed, 0x...")] = "",
    receiver: Annotated[str, typer.Option(help="The owner's address, as it was signed.")] = "",
    amount: Annotated[int, typer.Option(help="As it was signed.")] = 0,
    sig: Annotated[str, typer.Option(help="The device's signature, 0x...")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show deposits that came for channels after they were paid out, and how to get them back.

    The contract pays them out to whom the device names, in a signature that it makes for its
    owner: `export CHANNEL AMOUNT` on its console. With that (--channel, --receiver, --amount,
    --sig) this shows the transactions to send; any wallet may, they cost nothing but gas.
    """
    loaded = _load(config)
    try:
        found = status.read(loaded.service.database)["late"]
        if sig:
            found = late.withdrawals(loaded, found, channel, receiver, amount, sig)
    except (FileNotFoundError, ValueError) as error:
        raise _failure(str(error)) from error
    if as_json:
        print(json.dumps(found))
        return
    for one in found:
        print("  ".join(f"{name} {value}" for name, value in one.items()))
        if not sig:
            print(f"  on the device's console: export {one['channel']} {one['amount']}")


@app.command(name="bridge")
def show_bridge(
    config: ConfigOption,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what the operator of a go-perun node needs: the devices' wire addresses, and the
    bridge's certificate. Keys that are missing are made."""
    section = _load(config).bridge
    if section is None:
        raise _failure("the configuration has no [bridge]")
    try:
        found = described(section)
    except (keys.BadKey, certificates.BadCertificate, OSError) as error:
        raise _failure(str(error)) from error
    if as_json:
        print(json.dumps(found))
        return
    for device in found["devices"]:
        print(f"{device['device']}  {device['name']}")
        for kind in ("simple", "ethereum"):
            print(f"  {kind:9} {device[kind]}")
    print(found["certificate"], end="")


@app.command(name="identity")
def make_identity(
    name: Annotated[str, typer.Option(help="The name in the device's wire address.")],
    peer: Annotated[str, typer.Option(help="The node's marshalled wire address, 0x...")],
    key: Annotated[Path, typer.Option(help="The RSA key; made if it is not there.")],
    out: Annotated[Path, typer.Option(help="The file for the device.")] = Path("wire.json"),
) -> None:
    """Make the wire identity of a device that speaks to a go-perun node itself (generation 2).

    The file goes beside the device's config.json, whose peer names it as its identity: the wire
    addresses of both, and the signature that the device shows in the handshake. It is always the
    same, so the key stays here.
    """
    try:
        address = configuration.parse_bytes(peer)
        addresses.parse_simple(address)
        identity = simple_identity(name, rsa_key(key))
    except (keys.BadKey, OSError, ValueError) as error:
        raise _failure(str(error)) from error
    found = {"address": identity.address, "peer": address, "proof": identity.proof}
    text = json.dumps({field: value.hex() for field, value in found.items()}, indent=1)
    out.touch(0o600)
    out.write_text(text + "\n")
    print(f"{out} is for the device; the operator of the node needs its wire address:")
    print("0x" + identity.address.hex())


@devices_app.command(name="list")
def list_devices(config: ConfigOption) -> None:
    """List the devices and their budgets."""
    loaded = _load(config)
    names = {to_checksum_address(asset.holder): asset.name for asset in loaded.asset}
    try:
        found = status.read(loaded.service.database)
    except FileNotFoundError as error:
        raise _failure(str(error)) from error
    table = Table("device", "name", "allowed", "budget (spent of granted)")
    for device in found["devices"]:
        budgets = [
            f"{names.get(holder, holder)}: {budget['spent']} of {budget['granted']}"
            for holder, budget in device["budgets"].items()
        ]
        allowed = "yes" if device["enabled"] else "no"
        table.add_row(device["address"], device["name"], allowed, "\n".join(budgets))
    Console().print(table)


@devices_app.command(name="add")
def add_device(
    config: ConfigOption,
    address: DeviceArgument,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
) -> None:
    """Let a device in (its budget is nothing until you set one)."""

    async def change(store: Store) -> None:
        async with store.write() as tx:
            await devices.put(tx, _address(address), name, None)

    _change(_load(config), change)


@devices_app.command(name="remove")
def remove_device(config: ConfigOption, address: DeviceArgument) -> None:
    """Let a device no longer in. Its channels stay guarded."""

    async def change(store: Store) -> None:
        async with store.write() as tx:
            await devices.disable(tx, _address(address))

    _change(_load(config), change)


@devices_app.command(name="budget")
def set_budget(
    config: ConfigOption,
    address: DeviceArgument,
    asset: Annotated[str, typer.Argument(help="The asset's name in the configuration.")],
    amount: Annotated[str, typer.Argument(help="In the smallest unit, spent or not.")],
) -> None:
    """Set how much of an asset the service deposits for a device, in total."""
    loaded = _load(config)
    holder = next((one.holder for one in loaded.asset if one.name == asset), None)
    if holder is None:
        raise _failure(f'no asset is called "{asset}"')
    try:
        granted = configuration.parse_amount(amount)
    except ValueError as error:
        raise _failure(str(error)) from error

    async def change(store: Store) -> None:
        async with store.write() as tx:
            if await devices.get(tx, _address(address)) is None:
                raise StoreError(f"{address} is not registered: add it first")
            await devices.grant(tx, _address(address), holder, granted)

    _change(loaded, change)


def _address(text: str) -> bytes:
    try:
        return configuration.parse_address(text)
    except ValueError as error:
        raise StoreError(str(error)) from error


def _change(config: Config, change: object) -> None:
    async def run() -> None:
        store = Store(config.service.database)
        try:
            await store.open({"chain_id": str(config.chain.chain_id)})
            await change(store)  # type: ignore[operator]
        finally:
            await store.close()

    try:
        asyncio.run(run())
    except StoreError as error:
        raise _failure(str(error)) from error
    Console().print("done")
