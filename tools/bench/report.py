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
    for key in ("peak_heap_bytes", "live_heap_bytes"):
        table.add_row(key.removesuffix("_bytes").replace("_", " "), _number(device.get(key)))
    return table


def _gas(gas: dict[str, int]) -> Table:
    table = _table("contracts", "call", "gas")
    for call, used in gas.items():
        table.add_row(call, _number(used))
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(first, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}".replace(",", " ")
