"""What the calls of the contracts cost, as tools/contracts measures it."""

from __future__ import annotations

from contracts import toolchain
from contracts.gas import measure as measure_calls

from bench.counter import Unavailable


def measure() -> dict[str, int]:
    """{call: gas}. Raises Unavailable when there is no development chain."""
    try:
        return measure_calls()
    except toolchain.MissingProgram as error:
        raise Unavailable(str(error)) from error
