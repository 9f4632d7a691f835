"""A real chain for tests: anvil with the contracts on it, and a helper to use them.

A folder of tests that wants it says in its conftest.py

    from chainkit import anvil, chain, deployment
    __all__ = ["anvil", "chain", "deployment"]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from contracts.anvil import Anvil
from contracts.deploy import Deployment, contract, deploy
from eth_abi.abi import decode
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

_ERROR = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)


class Reverted(Exception):
    """A transaction was mined and failed. reason: the contract's text, or "panic 0x11"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Sent:
    """A transaction that was mined and succeeded."""

    gas: int
    timestamp: int
    events: list[tuple[str, dict[str, Any]]]  # name and values, in the order of the log
    receipt: TxReceipt


class Chain:
    """anvil (`node`), the addresses of the contracts (`place`), and the contracts themselves.
    source: whose they are, see contracts.build.artifact."""

    def __init__(self, node: Anvil, place: Deployment, source: str | None = None) -> None:
        self.node = node
        self.web3 = node.web3
        self.place = place
        self.source = source
        self.accounts = node.web3.eth.accounts
        self.adjudicator = self.contract("Adjudicator", place.adjudicator)
        self.eth_holder = self.contract("AssetHolderETH", place.eth_holder)
        self.erc20_holder = self.contract("AssetHolderERC20", place.erc20_holder)
        self.token = self.contract("PerunToken", place.token)

    def contract(self, name: str, address: Any) -> Contract:
        return contract(self.web3, name, address, self.source)

    def send(self, call: ContractFunction, sender: Any = None, value: int = 0) -> Sent:
        """Mines a transaction. Raises Reverted."""
        sent = call.transact(
            {"from": sender or self.accounts[0], "value": value, "gas": 5_000_000}
        )
        receipt = self.web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.002)
        if receipt["status"] != 1:
            raise Reverted(self._reason(receipt))
        return Sent(
            gas=receipt["gasUsed"],
            timestamp=self.web3.eth.get_block(receipt["blockNumber"])["timestamp"],
            events=self._events(receipt),
            receipt=receipt,
        )

    def _events(self, receipt: TxReceipt) -> list[tuple[str, dict[str, Any]]]:
        known = (self.adjudicator, self.eth_holder, self.erc20_holder, self.token)
        by_topic = {
            event.topic.removeprefix("0x"): event
            for contract in known
            for event in contract.events
        }
        found = []
        for log in receipt["logs"]:
            # A receiver of money may log what it likes.
            event = by_topic.get(log["topics"][0].hex()) if log["topics"] else None
            if event is not None:
                found.append((event.event_name, dict(event().process_log(log)["args"])))
        return found

    def _reason(self, receipt: TxReceipt) -> str:
        trace = self.node.rpc(
            "debug_traceTransaction",
            "0x" + receipt["transactionHash"].hex(),
            {"tracer": "callTracer"},
        )
        output = bytes.fromhex(trace.get("output", "0x")[2:])
        if output[:4] == _ERROR:
            reason: str = decode(["string"], output[4:])[0]
            return reason
        if output[:4] == _PANIC:
            return f"panic {decode(['uint256'], output[4:])[0]:#x}"
        return f"{trace.get('error')} {output.hex()}".strip()


@pytest.fixture(scope="session")
def anvil() -> Iterator[Anvil]:
    with Anvil() as node:
        yield node


@pytest.fixture(scope="session")
def deployment(anvil: Anvil) -> Deployment:
    return deploy(anvil.web3)


@pytest.fixture
def chain(anvil: Anvil, deployment: Deployment) -> Iterator[Chain]:
    """The contracts as on the first day: whatever a test does is undone after it."""
    before = anvil.snapshot()
    yield Chain(anvil, deployment)
    anvil.revert(before)
