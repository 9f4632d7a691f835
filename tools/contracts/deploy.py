"""Puts the contracts on a chain."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from eth_typing import ChecksumAddress
from web3 import Web3
from web3.contract import Contract
from web3.types import TxParams

from contracts.build import artifact

TOKEN_BALANCE = 10**24


@dataclass(frozen=True)
class Deployment:
    """Where the contracts are."""

    chain_id: int
    block: int  # the block before the first contract: events cannot be older
    adjudicator: ChecksumAddress
    eth_holder: ChecksumAddress
    token: ChecksumAddress
    erc20_holder: ChecksumAddress

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def deploy(
    web3: Web3,
    sender: ChecksumAddress | None = None,
    token_accounts: list[ChecksumAddress] | None = None,
    token_balance: int = TOKEN_BALANCE,
    source: str | None = None,
) -> Deployment:
    """Deploys adjudicator, both asset holders and a token.

    sender          pays; the node (or a signing middleware) has its key. The node's first account
                    if None.
    source          whose contracts: "own" or "perun", see contracts.build.artifact
    token_accounts  get token_balance tokens each; all accounts of the node if None.
    """
    accounts = list(web3.eth.accounts) if sender is None or token_accounts is None else []
    if sender is None:
        sender = accounts[0]
    if token_accounts is None:
        token_accounts = accounts or [sender]
    block = web3.eth.block_number

    def one(name: str, *args: Any) -> ChecksumAddress:
        return deploy_one(web3, sender, name, *args, source=source).address

    adjudicator = one("Adjudicator")
    token = one("PerunToken", token_accounts, token_balance)
    return Deployment(
        chain_id=web3.eth.chain_id,
        block=block,
        adjudicator=adjudicator,
        eth_holder=one("AssetHolderETH", adjudicator),
        token=token,
        erc20_holder=one("AssetHolderERC20", adjudicator, token),
    )


def deploy_one(
    web3: Web3, sender: ChecksumAddress, name: str, *args: Any, source: str | None = None
) -> Contract:
    """Deploys one contract by the name of its source. RuntimeError if the chain refuses."""
    code = artifact(name, source)
    factory = web3.eth.contract(abi=code["abi"], bytecode=code["bytecode"])
    transaction: TxParams = {"from": sender}
    sent = factory.constructor(*args).transact(transaction)
    receipt = web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.02)
    address = receipt["contractAddress"]
    if receipt["status"] != 1 or address is None:
        raise RuntimeError(f"the chain refused to create {name}")
    return web3.eth.contract(address=address, abi=code["abi"])


def contract(
    web3: Web3, name: str, address: ChecksumAddress, source: str | None = None
) -> Contract:
    """A contract that is already on the chain; source: as in deploy()."""
    return web3.eth.contract(address=address, abi=artifact(name, source)["abi"])
