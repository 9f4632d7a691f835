"""python -m bench: measure what uPerun costs, write build/bench.json, print it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.counter import Failed, Unavailable
from bench.report import show

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"

Progress = Callable[[str], None]

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console()


class Section(StrEnum):
    """The parts of the measurement."""

    WIRE = "wire"
    DEVICE = "device"
    CONTRACTS = "contracts"
    CRYPTO = "crypto"


@app.command()
def main(
    only: Annotated[Section | None, typer.Option(help="Measure nothing but this.")] = None,
    output: Annotated[Path, typer.Option(help="The file to write.")] = OUTPUT,
) -> None:
    """Measure what uPerun costs: frames, a payment on a device, gas.

    What cannot be measured on this machine is left out of the file, with the reason under
    "missing". The exit status is 1 if something that is measured does not work.
    """
    results: dict[str, Any] = {}
    missing: dict[str, str] = {}
    failed = False
    for section, keys, measure in _MEASURES:
        if only not in (None, section):
            continue
        with _progress(section) as progress:
            try:
                found = measure(progress, missing)
                results.setdefault(section.value, {}).update(found)
                continue
            except Unavailable as error:
                reason = str(error)
            except Exception as error:
                failed = True
                reason = f"failed: {error or repr(error)}"
                if not isinstance(error, Failed):
                    console.print_exception()
            missing.update(dict.fromkeys(keys, reason))
    results["missing"] = missing
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=2) + "\n")
    show(results, console)
    console.print(f"{output} written")
    raise typer.Exit(int(failed))


# Each imports what it needs: `--help` and a single section start at once. They return what goes
# into their section of the file, and enter in `missing` what they have to leave out.


def _wire(progress: Progress, _: dict[str, str]) -> dict[str, Any]:
    from bench import wire

    progress("frames")
    return dict(wire.measure())


def _payment(progress: Progress, missing: dict[str, str]) -> dict[str, Any]:
    from bench import counter, device

    found = None
    try:
        found = counter.find()
    except Unavailable as error:
        for works in ("payment", *(f"payment.{side}" for side in device.SIDES), "part.*"):
            missing[f"device.{works}.instructions_x64"] = str(error)
    return dict(device.measure(found, progress))


def _station(progress: Progress, _: dict[str, str]) -> dict[str, Any]:
    from bench import frozen, station

    heap = station.measure(progress)
    lives = (heap[name] for name in ("live_heap_bytes", "romfs_live_bytes", "romfs_heap_bytes"))
    return {**heap, **frozen.measure(*lives)}


def _channels(progress: Progress, _: dict[str, str]) -> dict[str, Any]:
    from bench import channels

    progress("what a further channel costs")
    return channels.measure()


def _wear(progress: Progress, _: dict[str, str]) -> dict[str, Any]:
    from bench import wear

    return wear.measure(progress)


def _contracts(progress: Progress, _: dict[str, str]) -> dict[str, Any]:
    from bench import gas

    progress("every call, on a chain of its own")
    return {"gas": gas.measure()}


def _crypto(progress: Progress, missing: dict[str, str]) -> dict[str, Any]:
    from bench import crypto

    return crypto.measure(progress, missing)


_Measure = Callable[[Progress, dict[str, str]], dict[str, Any]]

# Section, the keys that are missing when it cannot be measured, how it is measured.
_MEASURES: tuple[tuple[Section, tuple[str, ...], _Measure], ...] = (
    (Section.WIRE, ("wire",), _wire),
    (Section.DEVICE, ("device.payment", "device.part"), _payment),
    (
        Section.DEVICE,
        ("device.peak_heap_bytes", "device.live_heap_bytes", "device.serial_heap_bytes"),
        _station,
    ),
    (Section.DEVICE, ("device.further_channel_bytes",), _channels),
    (Section.DEVICE, ("device.page_programs_per_payment",), _wear),
    (Section.CONTRACTS, ("contracts.gas",), _contracts),
    (Section.CRYPTO, ("crypto",), _crypto),
)


@contextmanager
def _progress(section: Section) -> Iterator[Progress]:
    """Tells what is going on: in place on a terminal, else line by line."""
    if not console.is_terminal:
        yield lambda text: console.print(f"{section}: {text}")
        return
    with console.status(section) as status:
        yield lambda text: status.update(f"{section}: {text}")


if __name__ == "__main__":
    app(prog_name="python -m bench")
