"""The command line: `python -m board --help`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from board import firmware as building
from board import device_cli, virtual_cli
from board.definitions import ROOT, BoardError, board, boards
from board.output import Output

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Boards: from a bare one to a device that earns money, real and virtual.",
)
for command in device_cli.COMMANDS:
    app.command()(command)
app.add_typer(virtual_cli.app, name="virtual")

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for tools.")]


@app.command("list")
def list_boards(as_json: Json = False) -> None:
    """Show the boards that uPerun knows."""
    out = Output(as_json)
    for one in boards().values():
        facts = {"board": one.name, "product": one.product, "port": one.port, "arch": one.arch}
        out.say(f"{one.name:17} {one.product:24} {one.port:6} {one.arch}", **facts)


@app.command()
def firmware(
    name: Annotated[str, typer.Argument(envvar="BOARD", help="As `board list` shows.")],
    checkout: Annotated[
        Path | None, typer.Argument(envvar="MICROPYTHON_DIR", help="A MicroPython checkout.")
    ] = None,
    dry: Annotated[bool, typer.Option(help="Only show the commands.")] = False,
    as_json: Json = False,
) -> None:
    """Build firmware with uPerun frozen into it, with a MicroPython checkout of yours."""
    out, one = Output(as_json), board(name)
    if checkout is None:
        raise BoardError("name a MicroPython checkout: make firmware MICROPYTHON_DIR=...")
    if dry:
        for command in building.plan(one, checkout.resolve()).commands:
            out.say(" ".join(command), command=command)
        return
    result = building.run(one, checkout)
    out.say(f"{result}: board flash --firmware {result}", firmware=str(result))


@app.command()
def packages(as_json: Json = False) -> None:
    """Write packages for `mpremote mip install`, one for each architecture: build/packages."""
    from board import packages as packing

    out = Output(as_json)
    for arch, path in packing.write_all().items():
        out.say(str(path), arch=arch, package=str(path))
    out.say(
        "Serve the folder (python -m http.server -d build/packages), then\n"
        "mpremote mip install http://HOST:8000/ARCH/package.json"
    )


@app.command()
def emulate(
    uf2: Annotated[Path | None, typer.Argument(help="MicroPython for the Pico.")] = None,
    bootrom: Annotated[Path | None, typer.Argument(help="The RP2040's boot ROM.")] = None,
    keep: Annotated[bool, typer.Option(help="Run on behind a pty until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Boot a user's MicroPython in an emulated RP2040, with our files, and test them there."""
    from board import emulate as emulating

    out = Output(as_json)
    with emulating.emulate(uf2, bootrom) as one:
        out.say(f"an emulated RP2040 at {one.port}; times are the emulator's", port=one.port)
        out.result(emulating.self_test(one))
        try:
            while keep and one.running:
                time.sleep(0.2)
        except KeyboardInterrupt:
            pass


@app.command()
def tutorial() -> None:
    """From two bare boards to money in a wallet, on virtual boards: about a minute."""
    import asyncio

    from board import tutorial as story

    verdict = asyncio.run(story.run(ROOT / "build" / "board" / "tutorial"))
    if not verdict.ok:
        raise BoardError(f"it must be {verdict.expected}, and it is {verdict.actual}")


def main() -> None:
    """Run; an error that the user can do something about is one line, and status 1."""
    try:
        app(prog_name="board")
    except BoardError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": str(error)}))
        else:
            print(f"board: {error}", file=sys.stderr)
        raise SystemExit(1) from None
