"""The Ethereum side: what it says (`rpc`) and how transactions get into it (`sender`)."""

from adoption.chain.rpc import (
    CONCLUDED,
    DISPUTE,
    FORCEEXEC,
    Block,
    Chain,
    ChainError,
    Dispute,
    Reverted,
    WrongChain,
)

__all__ = [
    "CONCLUDED",
    "DISPUTE",
    "FORCEEXEC",
    "Block",
    "Chain",
    "ChainError",
    "Dispute",
    "Reverted",
    "WrongChain",
]
