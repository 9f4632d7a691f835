"""What the chain says, asked directly: the judge of every scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.anvil import Anvil
from contracts.deploy import Deployment, contract
from eth_abi import encode
from eth_typing import ChecksumAddress
from eth_utils import keccak, to_checksum_address

PHASES = ("dispute", "force execution", "concluded")


@dataclass(frozen=True)
class Dispute:
    """What is registered for a channel. timeout: block time in seconds."""

    version: int
    timeout: int
    phase: str


class Chain:
    """The contracts on the node. Every method asks the chain and blocks shortly."""

    def __init__(self, node: Anvil, place: Deployment) -> None:
        self.node = node
        self.place = place
        self.adjudicator = contract(node.web3, "Adjudicator", place.adjudicator)
        self.holder = contract(node.web3, "AssetHolderETH", place.eth_holder)

    def balance(self, address: str) -> int:
        """What an account owns, in wei."""
        return self.node.web3.eth.get_balance(to_checksum_address(address))

    def contract_balance(self) -> int:
        """What the asset holder contract holds of all channels, in wei."""
        return self.balance(self.place.eth_holder)

    def holding(self, channel: str, participant: str) -> int:
        """What the asset holder holds for one participant, in wei."""
        key = keccak(encode(["bytes32", "address"], [bytes.fromhex(channel[2:]), participant]))
        amount: int = self.holder.functions.holdings(key).call()
        return amount

    def dispute(self, channel: str) -> Dispute | None:
        """What is registered for a channel."""
        timeout, _, version, phase, state_hash, _ = self.adjudicator.functions.disputes(
            bytes.fromhex(channel[2:])
        ).call()
        return Dispute(version, timeout, PHASES[phase]) if any(state_hash) else None

    def block(self) -> tuple[int, int]:
        """Number and time of the latest block."""
        block = self.node.web3.eth.get_block("latest")
        return block["number"], block["timestamp"]

    def register(self, sender: ChecksumAddress, signed: tuple[Any, ...]) -> None:
        """Send a signed state to the adjudicator, as anybody can. RuntimeError if refused."""
        sent = self.adjudicator.functions.register(signed, []).transact({"from": sender})
        receipt = self.node.web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.02)
        if receipt["status"] != 1:
            raise RuntimeError("the adjudicator refused the state")
