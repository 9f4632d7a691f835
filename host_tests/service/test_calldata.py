"""The state that a stranger registered is found in his call data, whatever else stands there."""

from __future__ import annotations

import random
import time

import oracle
import pytest
from adoption import calldata, encoding
from eth_abi.abi import encode
from perun.model import Allocation, Params, State, ether

CHANNEL = bytes(range(32))
APP = bytes([7] * 20)
SIGS = (b"a" * 65, b"b" * 65)
GENERATION = 2


@pytest.fixture(autouse=True, params=[1, 2])
def generation(request, monkeypatch):
    monkeypatch.setitem(globals(), "GENERATION", request.param)


def types(text):
    params, state = oracle.PARAMS_TYPE[GENERATION], oracle.STATE_TYPE[GENERATION]
    signed = f"({params},{state},bytes[])"
    return [
        {"P": params, "S": state, "SIGNED": signed, "SIGNED[]": f"{signed}[]"}.get(t, t)
        for t in text.split()
    ]


def state(version, assets=2, app=b"", data=b"", final=False):
    named = tuple(ether(1337, bytes([i + 1] * 20)) for i in range(assets))
    rows = tuple((10**20 + i, 2**255 - i) for i in range(assets))
    return State(CHANNEL, version, app, Allocation(named, rows, ()), data, final)


def tuples(one):
    params = Params(60, 1, (bytes([1] * 20), bytes([2] * 20)), one.app, True, False)
    return encoding.params_tuple(params, GENERATION), encoding.state_tuple(one, GENERATION)


def register(one, sigs=SIGS, more=0):
    signed = (*tuples(one), list(sigs))
    return encoding.REGISTER[GENERATION] + encode(
        types("SIGNED SIGNED[]"), [signed, [signed] * more]
    )


def progress(old, new):
    params, value = tuples(new)
    layout = types("P S S uint256 bytes")
    return encoding.PROGRESS[GENERATION] + encode(
        layout, [params, tuples(old)[1], value, 1, SIGS[0]]
    )


def conclude_final(one):
    return encoding.CONCLUDE_FINAL[GENERATION] + encode(
        types("P S bytes[]"), [*tuples(one), list(SIGS)]
    )


def find(data, one):
    return calldata.find(
        data, one.app, one.version, encoding.state_hash(one, GENERATION), GENERATION
    )


@pytest.mark.parametrize("assets", [1, 2, 64])
@pytest.mark.parametrize("final", [False, True])
def test_each_call(assets, final):
    one = state(2**64 - 1, assets, final=final)
    for data in (register(one), register(one, more=3), conclude_final(one)):
        assert find(data, one) == (one, SIGS)


def test_progress_gives_the_new_state():
    old, new = state(4, app=APP, data=b"old"), state(5, app=APP, data=b"x" * 100)
    assert find(progress(old, new), new) == (new, ())
    assert find(progress(old, new), old) is None


def test_wrapped_calls():
    """Through a proxy, in a multicall, behind a state of another version."""
    one, other = state(4), state(3)
    wrapped = encode(["address", "bytes[]"], ["0x" + "11" * 20, [register(other), register(one)]])
    assert find(b"\x12\x34\x56\x78" + wrapped, one) == (one, SIGS)


def test_other_states_are_not_taken():
    one = state(4)
    assert find(register(state(5)), one) is None
    assert find(register(state(4, final=True)), one) is None
    assert find(b"", one) is None
    assert find(encoding.REGISTER[GENERATION], one) is None
    assert find(encoding.REGISTER[GENERATION] * 1000, one) is None


def test_every_truncation():
    data = register(state(4, 1))
    for size in range(0, len(data), 7):
        find(data[:size], state(4, 1))


def test_damage_never_gives_another_state():
    """What is found has the hash that was looked for, or nothing is found."""
    one = state(4)
    good = register(one)
    rng = random.Random(1)
    for _ in range(500):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(4, len(data))] = rng.choice((0, 1, 0x20, 0xFF, rng.randrange(256)))
        found = find(bytes(data), one)
        assert found is None or found.state == one


def test_bombs_cost_little():
    """Many pointers into one array, as a general decoder would follow them all."""
    word = (0x20).to_bytes(32, "big")
    bomb = encoding.REGISTER[GENERATION] + word * 4000
    counts = encoding.REGISTER[GENERATION] + b"".join(
        (n % 64).to_bytes(32, "big") for n in range(4000)
    )
    hostile = [
        bomb,
        counts,
        (encoding.REGISTER[GENERATION] + word * 60) * 60,
        encoding.REGISTER[GENERATION] * 30000,
    ]
    started = time.process_time()
    for data in hostile:
        assert find(data, state(4)) is None
    assert time.process_time() - started < 2
