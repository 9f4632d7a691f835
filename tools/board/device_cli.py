"""The commands of `python -m board` for one device: deploy, provision, talk to it, back it up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from board import backup as backups
from board import console as consoles
from board import deploy as deploying
from board import doctor as doctors
from board import flash as flashing
from board import provision as provisioning
from board.console import Console, Event, Line, Serial
from board.definitions import Board, BoardError, board, boards
from board.deploy import Deployed, Software
from board.output import Output
from board.port import Repl, find

if TYPE_CHECKING:
    from board.network import Network

Port = Annotated[str | None, typer.Option(help="The serial port, if there are several boards.")]
Host = Annotated[
    str | None,
    typer.Option(help="HOST[:PORT] of a device that has a `control` section, instead of a port."),
]
Device = Annotated[
    str | None,
    typer.Option(help="The address of the device at --host, when it is not known here yet."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for tools.")]
Passphrase = Annotated[
    str,
    typer.Option(
        envvar="UPERUN_PASSPHRASE", prompt=True, hide_input=True, help="Of the backup's file."
    ),
]


@contextmanager
def _board(port: str | None, out: Output, restart: bool = True) -> Iterator[Repl]:
    """The REPL of a board whose device was asked to end first; it runs again afterwards."""
    place = find(port)
    if consoles.stop(place):
        out.say("the device was stopped")
    with Repl(place) as repl:
        try:
            yield repl
        finally:
            if restart:
                repl.restart()


def _line(port: str | None, host: str | None, device: str | None) -> Serial | Network:
    """What leads to the console of a running device."""
    if not host:
        if device:
            raise BoardError("--device goes with --host")
        return Serial(find(port))
    if port:
        raise BoardError("either --port or --host")
    from board.network import Network

    return Network(host, device)


def _show_start(out: Output, place: str, timeout: float = 60) -> dict[str, Any]:
    event = consoles.started(place, timeout)
    kind = event.pop("event")
    text = event.get("text") or event.get("address") or ""
    if kind == "repl":
        text = (
            "the device has this port for its service from now on. The way back is a reset: then "
            f"{event.get('window', 'some')} s for this tool, with the service stopped"
        )
        out.say(text, device=kind, **{**event, "text": text})
        return {"event": kind, **event}
    out.say(f"the device is {kind}: {text}", device=kind, **event)
    return {"event": kind, **event}


def flash(
    firmware: Annotated[Path, typer.Argument(help="A .bin (ESP32) or .uf2 (RP2) file.")],
    name: Annotated[
        str, typer.Option("--board", help="As `board list` shows; without it, what is found.")
    ] = "",
    port: Port = None,
    erase: Annotated[
        bool, typer.Option(help="Erase an ESP32's flash first: its key and channels go.")
    ] = False,
    mount: Annotated[Path | None, typer.Option(help="Where the boot loader's drive is.")] = None,
    as_json: Json = False,
) -> None:
    """Write MicroPython onto a board, when it is for the chip that is found there, and verify it.

    An ESP32 is written by esptool; an RP2 takes a UF2 file on the drive of its boot loader, which
    is started when MicroPython runs. What lies in the file system stays, unless it is erased.
    """
    out = Output(as_json)
    say = out.say
    if firmware.suffix == ".uf2":
        places = (lambda: iter([mount])) if mount else flashing.mounts
        waiting = flashing.drives(places)
        chip = flashing.drive_chip(waiting[0]) if waiting else ""
        definition = _definition(name, chip, firmware)
        flashing.flash_rp2(definition, firmware, None if waiting else find(port), places, say)
    else:
        place = find(port)
        definition = _definition(name, "" if name else flashing.detect(place, say=say), firmware)
        flashing.flash_esp32(definition, place, firmware, erase, say)
    out.result(
        {"board": definition.name, "firmware": str(firmware)},
        f"{definition.name} has {firmware.name}. Now: board deploy, board provision",
    )


def _definition(name: str, chip: str, path: Path) -> Board:
    """The named board, or one with this chip that takes the file."""
    if name:
        return board(name)
    trouble: list[BoardError] = []
    for one in boards().values():
        if one.chip == chip or not chip and one.uf2_family is not None:
            try:
                flashing.check(one, path)
            except BoardError as error:
                trouble.append(error)
            else:
                return one
    if trouble:
        raise trouble[0]
    raise BoardError(f"no definition of a board with {chip or 'that chip'}: board list")


def deploy(
    port: Port = None,
    host: Host = None,
    device: Device = None,
    folder: Annotated[Path | None, typer.Option(help="Of .mpy files, instead of ours.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what only an application of yours imports.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="With --host: do not wait for the end of charging.")
    ] = False,
    locked: Annotated[
        bool, typer.Option("--locked", help="With --host: somebody will type the PIN there.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds to start; with --host, six times that, to rest as well.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """Bring the software onto a board: what differs, checked, all of it or nothing.

    A version that does not start is taken back. With --host it comes over the network while the
    device works; it restarts when no payment is in flight, and goes back to what it ran before
    unless it is reached again.
    """
    out = Output(as_json)

    def choose(arch: str) -> Software:
        return deploying.load(folder) if folder else deploying.build(arch, everything)

    if not host:
        _refuse(device is not None or now or locked, "--device, --now and --locked go with --host")
        _deploy_over_cable(out, find(port), choose, timeout)
        return
    _refuse(port is not None, "either --port or --host")
    from board import air
    from board.network import Network

    with _copying(out) as show:
        done = air.deploy(
            lambda: Network(host, device), choose, out.say, show, now, locked, 6 * timeout
        )
    _show_deployed(out, done)
    if locked:
        out.say("it waits for its PIN (board unlock); then, within ten minutes, the same again")
    elif done.changed:
        out.say("the device was reached: it keeps this version when a minute has gone well")


def _refuse(wrong: bool, text: str) -> None:
    if wrong:
        raise BoardError(text)


def _deploy_over_cable(
    out: Output, place: str, choose: Callable[[str], Software], timeout: float
) -> None:
    with _board(place, out) as repl:
        identity = repl.identify()
        out.say(f"{identity.machine} with {identity.arch}, {identity.free // 1024} KB free")
        with _copying(out) as show:
            done = deploying.deploy(repl, choose(identity.arch), show)
    _show_deployed(out, done)
    try:
        _show_start(out, place, timeout)
    except consoles.TakenBack:  # by the board itself, after three tries
        raise
    except BoardError as error:
        if not done.before or done.before == done.version:
            raise
        with Repl(place) as repl:
            old = deploying.roll_back(repl)
            repl.restart()
        raise BoardError(f"{error}\nIt was taken back: version {old} runs again") from None


@contextmanager
def _copying(out: Output) -> Iterator[deploying.Progress]:
    """A progress bar that begins when it is known how long it is."""
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        before = 0

        def show(_name: str, done: int, total: int) -> None:
            nonlocal advance, before
            if advance is None:
                advance = stack.enter_context(out.progress("copying", total))
            advance(done - before)
            before = done

        yield show


def _show_deployed(out: Output, done: Deployed) -> None:
    out.say(
        f"version {done.version}: {done.copied} bytes copied, {done.kept} of {done.files} files "
        "were there",
        version=done.version,
        before=done.before,
        copied=done.copied,
        kept=done.kept,
        files=done.files,
    )


def restart(port: Port = None, as_json: Json = False) -> None:
    """Start the device of a board anew."""
    out, place = Output(as_json), find(port)
    with _board(port, out):
        pass
    _show_start(out, place)


def _asset(text: str) -> tuple[str, int]:
    holder, _, most = text.partition(":")
    if not most.isdigit():
        raise BoardError(f"{text}: an asset is HOLDER:MAX_DEPOSIT, in its smallest unit")
    return holder, int(most)


def _place(text: str, what: str) -> dict[str, Any]:
    host, _, number = text.rpartition(":")
    if not host or not number.isdigit():
        raise BoardError(f"{text}: {what} is HOST:PORT")
    return {"host": host, "port": int(number)}


def _service(option: str, place: str, certificate: str, address: str) -> dict[str, Any]:
    """What a config.json says of the service that these options name."""
    found: dict[str, Any] = {}
    if place:
        found["tcp"] = _place(place, f"--{option}")
        if certificate:
            found["tcp"]["certificate"] = certificate
    if address:
        found["address"] = address
    return found


def provision(
    port: Port = None,
    config: Annotated[
        Path | None, typer.Option(help="A config.json that is ready, instead of the options.")
    ] = None,
    app: Annotated[str, typer.Option(help="ev_station, ev_car, or a module of yours.")] = "",
    chain: Annotated[int, typer.Option(help="The chain's id.")] = 1337,
    asset: Annotated[list[str] | None, typer.Option(help="HOLDER:MAX_DEPOSIT, pinned.")] = None,
    receiver: Annotated[str, typer.Option(help="Your wallet: withdrawals go there.")] = "",
    service: Annotated[str, typer.Option(help="HOST:PORT of the adoption service.")] = "",
    service_serial: Annotated[
        str,
        typer.Option(
            help="Instead: uart (the board's), uart1, repl (this port), or a tty's path."
        ),
    ] = "",
    baud: Annotated[int | None, typer.Option(help="Of that line; 115200 without it.")] = None,
    service_address: Annotated[str, typer.Option(help="Its key, pinned.")] = "",
    certificate: Annotated[str, typer.Option(help="Of its TLS, as it shows it.")] = "",
    witness: Annotated[
        str, typer.Option(help="HOST:PORT of a second service, which must see deposits as well.")
    ] = "",
    witness_address: Annotated[str, typer.Option(help="Its key, pinned.")] = "",
    witness_certificate: Annotated[str, typer.Option(help="Of its TLS.")] = "",
    listen: Annotated[str, typer.Option(help="HOST:PORT for peers.")] = "",
    dial: Annotated[str, typer.Option(help="HOST:PORT of the peer.")] = "",
    price: Annotated[int, typer.Option(help="For a kWh, in the smallest unit.")] = 0,
    deposit: Annotated[int | None, typer.Option(help="A car's, in a channel.")] = None,
    station_deposit: Annotated[int, typer.Option(help="What a car asks of a station.")] = 0,
    wifi: Annotated[str, typer.Option(help="NETWORK:PASSWORD.")] = "",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="PATH=JSON: any other field.")
    ] = None,
    control: Annotated[
        str, typer.Option(help="HOST:PORT where the device listens to its owner: you.")
    ] = "",
    updates: Annotated[
        bool, typer.Option("--updates", help="With --control: deploy works over the network, too.")
    ] = False,
    pin: Annotated[bool, typer.Option(help="Ask for a PIN: the key is encrypted by it.")] = False,
    pin_value: Annotated[str, typer.Option(envvar="UPERUN_PIN", hidden=True)] = "",
    as_json: Json = False,
) -> None:
    """Make a board a device: configuration, a key that is made on it, its address, a self-test."""
    out, place = Output(as_json), find(port)
    if pin and not pin_value:
        pin_value = typer.prompt("PIN", hide_input=True, confirmation_prompt=True)
    with _board(port, out) as repl:
        if config:
            settings = _read(config)
        else:
            link = _service("service", service, certificate, service_address)
            if service_serial:
                line = provisioning.serial_line(service_serial, repl.identify().board, baud)
                link["serial"] = line
            settings = provisioning.configuration(
                repl.identify().board,
                chain_id=chain,
                assets=[_asset(one) for one in asset or ()],
                receiver=receiver,
                service=link,
                peer={
                    **({"listen": _place(listen, "--listen")} if listen else {}),
                    **({"dial": _place(dial, "--dial")} if dial else {}),
                },
                app=app,
                price_per_kwh=price,
                deposit=deposit,
                station_deposit=station_deposit,
                wifi=dict([wifi.split(":", 1)]) if wifi else None,
                witness=_service("witness", witness, witness_certificate, witness_address),
            )
        if control:
            settings["control"] = _owned(control) | ({"update": True} if updates else {})
        for one in setting or ():
            provisioning.change(settings, one)
        provisioning.install(repl, settings)
        key = provisioning.make_key(repl, pin_value or None)
    if key.sources is None:
        out.say("the board has its key already, which stays")
    else:
        out.say(f"the key was made on the board, of {', '.join(key.sources)}")
    if control:
        from board.owner import Known

        Known().add(key.address)
        out.say("it is yours: reach it with --host and its place in the network")
    number = settings["chain"]["id"]
    if not as_json:
        out.say(f"address  {key.address}\n{provisioning.qr(key.address, number)}")
        out.say("the service's operator lets it in: adoption devices add ADDRESS")
        if "witness" in settings:
            out.say("so does the operator of its witness")
    event = _show_start(out, place)
    out.result(
        {"address": key.address, "sources": key.sources, "pin": key.locked, "self_test": event},
        f"self-test: {event['event']}",
    )
    if event["event"] in ("error", "safe mode"):
        raise BoardError(f"the device does not run: {event.get('text')}")


def _owned(place: str) -> dict[str, Any]:
    """The section `control`: this computer's user is the owner."""
    from eth_utils import to_checksum_address

    from board.owner import key

    owner = to_checksum_address(key(create=True).address)
    return {"listen": _place(place, "--control"), "owner": owner}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BoardError(f"{path}: {error}") from None
    if not isinstance(found, dict) or "chain" not in found:
        raise BoardError(f"{path}: no configuration of a device")
    return found


def status(
    port: Port = None, host: Host = None, device: Device = None, as_json: Json = False
) -> None:
    """Ask a running device how things stand."""
    with Console(_line(port, host, device)) as console:
        found = console.status()
    found.pop("event")
    Output(as_json).result(found)


def unlock(
    pin: Annotated[
        str, typer.Option(envvar="UPERUN_PIN", prompt=True, hide_input=True, help="Of the key.")
    ],
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Give a device that waits for it the PIN of its key."""
    with Console(find(port)) as console:
        if not console.status().get("locked"):
            Output(as_json).result({"locked": False}, "the device is not locked")
            return
        console.send(f"unlock {pin}")
        event = console.until(
            lambda one: (
                one["event"] == "ready"
                or one["event"] == "error"
                and one.get("command") == "unlock"
            ),
            120,
            "the key to open",
        )
    if event["event"] == "error":
        raise BoardError(str(event.get("text")))
    Output(as_json).result({"locked": False, "address": event.get("address")}, "the device runs")


def pay(
    wh: Annotated[int, typer.Argument(help="How many Wh to charge and pay.")],
    port: Port = None,
    host: Host = None,
    device: Device = None,
    timeout: Annotated[float, typer.Option(help="Seconds without progress.")] = 60,
    as_json: Json = False,
) -> None:
    """Have a car charge, and pay slice by slice; returns when that is done."""
    out = Output(as_json)
    with Console(_line(port, host, device)) as console, out.progress("charging", wh) as advance:
        console.status()
        console.send(f"charge {wh}")
        shown, start = 0, time.monotonic()
        base: int | None = None
        while time.monotonic() < start + timeout:
            for event in console.events(1):
                kind = event["event"]
                if kind == "charged":
                    event.pop("event")
                    out.result(event, f"charged: {event}")
                    return
                if kind in ("charging failed", "no energy", "commands"):
                    raise BoardError(f"{kind}: {event.get('text') or event}")
                if kind == "error" and event.get("command") == "charge":
                    raise BoardError(str(event.get("text")))
                if kind == "status":
                    paid = int(event.get("paid_wh", 0))
                    base = paid if base is None else base
                    if paid - base > shown:
                        advance(paid - base - shown)
                        shown, start = paid - base, time.monotonic()
            console.send("status")
    raise BoardError(f"nothing moved for {timeout:g} s: board status and board logs tell more")


def _settle(
    line: Line, command: str, kinds: tuple[str, ...], timeout: float, as_json: bool
) -> None:
    out = Output(as_json)

    def matches(one: Event) -> bool:
        if one["event"] == "error":
            return one.get("command") == command
        # In safe mode an event has the name of what has happened.
        return one["event"] in kinds or one["event"] == "channel" and one.get("kind") in kinds

    with Console(line) as console:
        status = console.status()
        if not status.get("channels") and not status.get("guarded"):
            out.result({"channels": 0}, "there is no open channel")
            return
        console.send(command)
        event = console.until(matches, timeout, f"the end of {command}")
    if event["event"] == "error":
        raise BoardError(f"{command}: {event.get('text')}")
    kind, detail = event.get("kind", event["event"]), event.get("detail", event.get("version"))
    out.result({"channel": event.get("id"), "kind": kind, "detail": detail})


Timeout = Annotated[float, typer.Option(help="Seconds.")]


def close(
    port: Port = None,
    host: Host = None,
    device: Device = None,
    timeout: Timeout = 60,
    as_json: Json = False,
) -> None:
    """Settle the open channels together with their peers."""
    kinds = ("closed", "concluded", "withdrawn")
    _settle(_line(port, host, device), "close", kinds, timeout, as_json)


def dispute(
    port: Port = None,
    host: Host = None,
    device: Device = None,
    timeout: Timeout = 60,
    as_json: Json = False,
) -> None:
    """Settle the open channels without their peers."""
    kinds = ("disputed", "concluded", "withdrawn")
    _settle(_line(port, host, device), "dispute", kinds, timeout, as_json)


def logs(
    port: Port = None,
    host: Host = None,
    device: Device = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after that.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a device says, until Ctrl-C."""
    out = Output(as_json)
    try:
        with Console(_line(port, host, device)) as console:
            for event in console.events(seconds):
                if event["event"] == "noise" and event["text"]:
                    out.say(str(event["text"]), **event)
                elif event["event"] not in ("noise", "prompt"):
                    words = " ".join(f"{k}={v}" for k, v in event.items() if k != "event")
                    out.say(f"{event['event']} {words}".strip(), **event)
    except KeyboardInterrupt:
        pass


def doctor(
    port: Port = None, host: Host = None, device: Device = None, as_json: Json = False
) -> None:
    """Examine a board and say what is wrong.

    A running device is stopped meanwhile; over the network it runs on.
    """
    out, line = Output(as_json), _line(port, host, device)
    findings = doctors.listen(line)
    if isinstance(line, Serial):
        with _board(port, out) as repl:
            findings += doctors.examine(repl)
    else:
        findings += doctors.judge(doctors.by_network(line))
    for one in findings:
        out.say(
            f"{'ok' if one.ok else 'NO'}  {one.what}: {one.text}",
            check=one.what,
            ok=one.ok,
            text=one.text,
        )
    if not all(one.ok for one in findings):
        raise BoardError("something is wrong with this board")


def backup(
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    passphrase: Passphrase,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Save the device's configuration, key and channels, encrypted. The device runs on."""
    out = Output(as_json)
    with _board(port, out) as repl:
        identity = repl.identify()
        key = provisioning.key(repl)
        if key is None:
            raise BoardError(
                "there is no key on this board: it is no device yet (board provision)"
            )
        name = identity.board.name if identity.board else identity.machine
        saved = backups.take(repl, key.address, name)
    backups.write(path, backups.seal(saved, passphrase))
    out.result(
        {"file": str(path), "address": saved.address, "files": sorted(saved.files)},
        f"{path}: {saved.address}. Whoever has it and its passphrase has the money. It grows old "
        "with the next payment: restore it only when this board is no more.",
    )


def restore(
    path: Annotated[Path, typer.Argument(help="A backup.")],
    passphrase: Passphrase,
    port: Port = None,
    replace: Annotated[bool, typer.Option(help="The board's own key and channels go.")] = False,
    gone: Annotated[
        bool, typer.Option("--the-old-board-is-gone", help="It will never run again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a board the device that a backup was taken of.

    It has forgotten what was signed since then, so it signs nothing until its peer and its service
    have shown what they hold.
    """
    out, place = Output(as_json), find(port)
    try:
        saved = backups.unseal(path.read_bytes(), passphrase)
    except OSError as error:
        raise BoardError(f"{path}: {error.strerror}") from None
    age = max(0, int(time.time()) - saved.made)
    if not gone:
        raise BoardError(
            f"this backup of {saved.address} is {age // 3600} h old. If the board that it was "
            "taken of ever runs again, two devices sign with one key, and money can be lost. Say "
            "--the-old-board-is-gone if it will not"
        )
    with _board(port, out) as repl:
        backups.restore(repl, saved, replace)
    event = _show_start(out, place)
    out.result(
        {"address": saved.address, "age_seconds": age, "device": event},
        "it signs nothing until its peer and its service have shown what they hold",
    )


COMMANDS = (
    *(flash, deploy, provision, unlock, status, pay, close, dispute, logs),
    *(doctor, backup, restore, restart),
)
