"""Measurements as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def show(results: dict[str, Any], console: Console) -> None:
    """Print what build/bench.json holds."""
    if wire := results.get("wire"):
        console.print(_wire(wire))
    if device := results.get("device"):
        if "payment" in device:
            console.print(_costs(device))
        if "peak_heap_bytes" in device:
            console.print(_heap(device))
        if "page_programs" in device:
            console.print(_wear(device))
    if crypto := results.get("crypto"):
        console.print(_crypto(crypto))
        console.print(_kept(crypto))
        console.print(_one_payment(crypto["payment"]))
    if contracts := results.get("contracts"):
        console.print(_gas(contracts["gas"]))
    for key, reason in results["missing"].items():
        console.print(f"[yellow]not measured: {key}[/]: {reason}", soft_wrap=True)


def _wire(wire: dict[str, dict[str, int]]) -> Table:
    table = _table("bytes of a whole frame", "message", *wire)
    names = dict.fromkeys(name for sizes in wire.values() for name in sizes)
    for name in names:
        table.add_row(name, *(_number(sizes.get(name)) for sizes in wire.values()))
    return table


def _costs(device: dict[str, Any]) -> Table:
    table = _table("a payment, x64 VM", "work", "instructions", "garbage in bytes")
    payment = device["payment"]
    sides = {name: costs for name, costs in payment.items() if isinstance(costs, dict)}
    for name, costs in {"payment": payment, **sides, **device["part"]}.items():
        numbers = (costs.get("instructions_x64"), costs["allocated_bytes"])
        table.add_row(name, *map(_number, numbers), end_section=name == list(sides)[-1])
    return table


def _heap(device: dict[str, Any]) -> Table:
    table = _table("heap of a station", "", "bytes")
    for key in (
        *("peak_heap_bytes", "live_heap_bytes", "serial_heap_bytes"),
        *("romfs_heap_bytes", "romfs_live_bytes"),
    ):
        table.add_row(key.removesuffix("_bytes").replace("_", " "), _number(device.get(key)))
    return table


def _wear(device: dict[str, Any]) -> Table:
    table = _table("a journal on flash of its own, simulated", "", "times")
    for side, count in device["page_programs"].items():
        table.add_row(f"page programs a payment, {side}", f"{count:.2f}")
    worn = device["erases_per_sector_10_years"]
    table.add_row("erases of each sector in ten years, a payment every 10 s", _number(worn))
    return table


def _gas(gas: dict[str, int]) -> Table:
    table = _table("contracts", "call", "gas")
    for call, used in gas.items():
        table.add_row(call, _number(used))
    return table


def _crypto(crypto: dict[str, Any]) -> Table:
    """Backend by operation. Cycles: those of native code are emulated, the others modelled."""
    columns = ("ms", "cycles", "native", "M33", "x64", "plain/x64", "garbage")
    title = (
        "cryptography: an RP2040's ms and cycles, of them native; an RP2350's native, by a model; "
        "x64 instructions, and how many times as many plain integers take; bytes"
    )
    table = _table(title, "operation", *columns)
    table.columns[0].no_wrap = True
    for backend, found in crypto.items():
        if backend == "payment":
            continue
        rows = [(name, costs) for name, costs in found.items() if isinstance(costs, dict)]
        for name, costs in rows:
            milliseconds = costs.get("ms_rp2040_125mhz")
            table.add_row(
                f"{backend} {name}",
                "" if milliseconds is None else f"{milliseconds:.2f}",
                *(_number(costs.get(key)) for key in _CRYPTO_KEYS),
                end_section=name == rows[-1][0],
            )
    return table


_CRYPTO_KEYS = (
    "cycles_cortex_m0plus",
    "cycles_native_emulated",
    "cycles_native_cortex_m33_modelled",
    "instructions_x64",
    "bigint_instructions_x64_per_own",
    "garbage_bytes",
)


def _kept(crypto: dict[str, Any]) -> Table:
    """Of the curve on boards, by a model; hashing included on x64, where it is measured."""
    parts = ("native", "bytecode", "constants", "buffers", "objects")
    columns = (".mpy", "RAM", "frozen, at most", *parts)
    table = _table("what the cryptography keeps, in bytes", "backend", *columns)
    for backend, found in crypto.items():
        if "ram_bytes_x64" in found:
            kept = (found["mpy_bytes_x64"], found["ram_bytes_x64"])
            table.add_row(f"{backend} x64", *map(_number, kept))
        for key in found:
            if key.endswith("_modelled") and key.startswith("ram_bytes_"):
                arch = key.removeprefix("ram_bytes_").removesuffix("_modelled")
                sizes = [found[key], found[f"{key}_frozen"]]
                sizes += [found[f"ram_bytes_{arch}_{part}"] for part in parts]
                table.add_row(f"{backend} {arch}", "", *map(_number, sizes))
    return table


def _one_payment(payment: dict[str, Any]) -> str:
    parts = payment["part"].items()
    shown = " + ".join(f"{name} {part['ms_rp2040_125mhz']:.1f}" for name, part in parts)
    return f"a payment on an RP2040: {shown} = {payment['ms_rp2040_125mhz']:.1f} ms"


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(first, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}".replace(",", " ")
