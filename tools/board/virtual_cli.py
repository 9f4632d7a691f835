"""`python -m board virtual ...`: boards without boards."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from board import control
from board.cable import ChargingCable
from board.definitions import BoardError, board
from board.output import Output
from board.virtual import BUILD, HEAP_FACTOR, Virtual

app = typer.Typer(no_args_is_help=True, help="Boards without boards.")

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for tools.")]


def _place(name: str, directory: Path | None) -> Path:
    return directory or BUILD / "boards" / name


@app.command()
def start(
    name: Annotated[str, typer.Argument(envvar="BOARD", help="As `board list` shows.")],
    directory: Annotated[Path | None, typer.Option(help="Where its flash is.")] = None,
    firmware: Annotated[str, typer.Option(help="stock or custom.")] = "stock",
    heap: Annotated[int | None, typer.Option(help="Bytes, instead of the board's.")] = None,
    wifi: Annotated[list[str] | None, typer.Option(help="NETWORK:PASSWORD in reach.")] = None,
    uart: Annotated[list[str] | None, typer.Option(help="NUMBER=TTY.")] = None,
    rate: Annotated[int, typer.Option(help="Wh per second while the relay is closed.")] = 0,
    new: Annotated[bool, typer.Option(help="With an erased flash.")] = False,
    as_json: Json = False,
) -> None:
    """Run a virtual board until Ctrl-C, behind a pty; `virtual tell` is a hand at it."""
    out, definition = Output(as_json), board(name)
    place = _place(name, directory)
    if new:
        for part in ("flash.bin", "flash.registers"):
            (place / part).unlink(missing_ok=True)
    uarts = dict(item.split("=", 1) for item in uart or ())
    networks = dict(item.split(":", 1) for item in wifi or ())
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    one = Virtual(
        definition,
        place,
        firmware,
        heap,
        {int(number): path for number, path in uarts.items()},
        networks,
        lambda pin, level: out.say(f"pin {pin} is {level}", pin=pin, level=level),
    )
    try:
        one.power_on()
    except BoardError:
        one.close()
        raise
    with one, control.Control(one):
        out.say(
            f"{definition.name} ({definition.product}) with {firmware} firmware\n"
            f"  port   {one.port}, also {one.directory / 'tty'}\n"
            f"  heap   {one.heap} bytes: {HEAP_FACTOR} times the board's, for words of 8 bytes\n"
            f"  flash  {one.flash}\n"
            f"Try: build/venv/bin/mpremote connect {one.port} resume repl\n"
            f"A hand at the board: build/venv/bin/python -m board virtual tell {name} ...\n"
            "Ctrl-C takes it away; its flash stays.",
            board=definition.name,
            port=one.port,
            heap=one.heap,
            flash=str(one.flash),
        )
        if rate:
            with ChargingCable(one, None, rate):
                ended.wait()
        else:
            ended.wait()


@app.command()
def tell(
    name: Annotated[str, typer.Argument(help="The board.")],
    command: Annotated[str, typer.Argument(help="What to do; a wrong one lists them.")],
    arguments: Annotated[list[str] | None, typer.Argument()] = None,
    directory: Annotated[Path | None, typer.Option(help="Where its flash is.")] = None,
    as_json: Json = False,
) -> None:
    """Be the hand at a running virtual board: power, pins, the USB cable, its status."""
    answer = control.tell(_place(name, directory), command, *(arguments or ()))
    if isinstance(answer, dict):
        Output(as_json).result(answer)
