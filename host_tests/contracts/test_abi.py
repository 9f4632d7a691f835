"""The ABI is that of Perun's contracts: names, types, order, selectors, topics."""

import json
from pathlib import Path
from typing import Any

import pytest
from contracts.build import artifact
from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

PERUN = Path(__file__).parents[1] / "vectors" / "abi"
CONTRACTS = sorted(path.stem for path in PERUN.glob("*.json"))

# Written down by hand from Perun's documentation, not computed from an ABI
SELECTORS = {
    "Adjudicator": {
        "register": "e9aa7e02",
        "progress": "4c8a2c90",
        "conclude": "e7c01d05",
        "concludeFinal": "75a87223",
        "channelID": "db77bb27",
        "hashState": "7a114d3d",
        "disputes": "11be1997",
    },
    "AssetHolderETH": {
        "deposit": "1de26e16",
        "withdraw": "fca0f778",
        "setOutcome": "295482ce",
        "holdings": "ae9ee18c",
        "settled": "d945af1d",
        "adjudicator": "53c2ed8e",
    },
    "AssetHolderERC20": {
        "deposit": "1de26e16",
        "withdraw": "fca0f778",
        "setOutcome": "295482ce",
        "holdings": "ae9ee18c",
        "settled": "d945af1d",
        "adjudicator": "53c2ed8e",
        "token": "fc0c546a",
    },
    "App": {"validTransition": "f7530b41"},
    "TrivialApp": {"validTransition": "f7530b41"},
    "PerunToken": {
        "allowance": "dd62ed3e",
        "approve": "095ea7b3",
        "balanceOf": "70a08231",
        "decimals": "313ce567",
        "decreaseAllowance": "a457c2d7",
        "increaseAllowance": "39509351",
        "name": "06fdde03",
        "symbol": "95d89b41",
        "totalSupply": "18160ddd",
        "transfer": "a9059cbb",
        "transferFrom": "23b872dd",
    },
}
HOLDER_TOPICS = {
    "OutcomeSet": "ef898d6cd3395b6dfe67a3c1923e5c726c1b154e979fb0a25a9c41d0093168b8",
    "Deposited": "cd2fe07293de5928c5df9505b65a8d6506f8668dfe81af09090920687edc48a9",
    "Withdrawn": "d0b6e7d0170f56c62f87de6a8a47a0ccf41c86ffb5084d399d8eb62e823f2a81",
}
TOPICS = {
    "Adjudicator": {
        "ChannelUpdate": "895ef5a5fc3efd313a300b006d6ce97ff0670dfe04f6eea90417edf924fa786b"
    },
    "AssetHolderETH": HOLDER_TOPICS,
    "AssetHolderERC20": HOLDER_TOPICS,
    "PerunToken": {
        "Transfer": "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        "Approval": "8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925",
    },
}


def shape(entry: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """An entry as their list has it: a value they leave unnamed may have a name, and they write
    the types of the source without spaces."""
    shaped = dict(entry)
    if not theirs.get("name"):
        shaped["name"] = theirs.get("name")
        if shaped["name"] is None:
            del shaped["name"]
    if "internalType" in shaped:
        shaped["internalType"] = shaped["internalType"].replace(" ", "")
    for part in ("inputs", "outputs", "components"):
        if part in shaped:
            assert len(shaped[part]) == len(theirs.get(part, ())), entry
            shaped[part] = [shape(*pair) for pair in zip(shaped[part], theirs[part], strict=True)]
    return shaped


def by_name(abi: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    named = {(entry["type"], entry.get("name", "")): entry for entry in abi}
    assert len(named) == len(abi)
    return named


def test_there_is_something_to_compare():
    assert len(CONTRACTS) == 6


@pytest.mark.parametrize("name", CONTRACTS)
def test_equal_to_perun(name):
    theirs = by_name(json.loads((PERUN / f"{name}.json").read_text()))
    ours = by_name(artifact(name)["abi"])
    assert ours.keys() == theirs.keys()
    for key, entry in theirs.items():
        assert shape(ours[key], entry) == entry


def signatures(name: str, kind: str) -> dict[str, bytes]:
    entries = [entry for entry in artifact(name)["abi"] if entry["type"] == kind]
    return {entry["name"]: keccak(text=abi_to_signature(entry)) for entry in entries}


NO_BINDING = pytest.mark.differs("the interface App has no binding of its own")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NO_BINDING if name == "App" else ()) for name in SELECTORS]
)
def test_selectors(name):
    found = signatures(name, "function")
    assert {key: value[:4].hex() for key, value in found.items()} == SELECTORS[name]


@pytest.mark.parametrize("name", TOPICS)
def test_topics(name):
    found = signatures(name, "event")
    assert {key: value.hex() for key, value in found.items()} == TOPICS[name]


def test_order_of_a_dispute():
    outputs = by_name(artifact("Adjudicator")["abi"])["function", "disputes"]["outputs"]
    assert [(output["type"], output["name"]) for output in outputs] == [
        ("uint64", "timeout"),
        ("uint64", "challengeDuration"),
        ("uint64", "version"),
        ("uint8", "phase"),
        ("bytes32", "stateHash"),
        ("bool", "hasApp"),
    ]


def test_indexed_values():
    for name in TOPICS:
        for entry in artifact(name)["abi"]:
            if entry["type"] == "event" and entry["name"] not in ("Transfer", "Approval"):
                assert [part["indexed"] for part in entry["inputs"]] == [True] + [False] * (
                    len(entry["inputs"]) - 1
                )
