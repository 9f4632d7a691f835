"""What a channel is: parameters, states and who owns what.

All of it is plain immutable tuples, so states compare by value, cost little RAM and can be kept
without copying. Nothing here is checked when it is built; `perun.model.rules` says what is valid.

Amounts are integers in the asset's smallest unit (wei for Ether).
"""

from collections import namedtuple

from perun.compat import const

BACKEND_ETHEREUM = const(1)

NO_APP = b""

# One asset of a channel. chain_id: int; holder: the 20-byte address of its asset holder contract;
# backend: whose asset it is (1 = Ethereum). For a foreign backend `holder` is that backend's
# marshalled asset and chain_id is 0.
Asset = namedtuple("Asset", ("chain_id", "holder", "backend"))

# Funds locked in a sub-channel. id: 32 bytes, the sub-channel; balances: one amount per asset;
# index_map: tuple, child participant i is parent participant index_map[i]; empty means identity.
SubAlloc = namedtuple("SubAlloc", ("id", "balances", "index_map"))

# Who owns what. assets: tuple of Asset; balances: per asset a tuple with one amount per
# participant; locked: tuple of SubAlloc.
Allocation = namedtuple("Allocation", ("assets", "balances", "locked"))

# One state of a channel. id: 32 bytes; version: int below 2**64; app: b"" (no app) or 20 bytes;
# allocation: Allocation; data: the app's bytes; is_final: bool.
State = namedtuple("State", ("id", "version", "app", "allocation", "data", "is_final"))

# What never changes in a channel. challenge_duration: seconds; nonce: int below 2**256;
# participants: tuple of 20-byte addresses; app: as in State; ledger, virtual: bool.
Params = namedtuple(
    "Params", ("challenge_duration", "nonce", "participants", "app", "ledger", "virtual")
)

# A state with one signature per participant (65 bytes, or None where it is missing).
Transaction = namedtuple("Transaction", ("state", "sigs"))


def ether(chain_id, holder):
    """The Asset held by the asset holder contract `holder` (20 bytes) on an Ethereum chain."""
    return Asset(chain_id, holder, BACKEND_ETHEREUM)


def with_balances(state, balances, is_final=False, version=None):
    """The state that follows `state` with these `balances`; one version later by default."""
    old = state.allocation
    allocation = Allocation(old.assets, balances, old.locked)
    if version is None:
        version = state.version + 1
    return State(state.id, version, state.app, allocation, state.data, is_final)


def transfer(state, payer, amounts, version=None):
    """The next state after participant `payer` paid `amounts` (one per asset) to the other one.

    Two participants. Raises ValueError when an amount is negative or more than the payer has.
    """
    if len(amounts) != len(state.allocation.assets):
        raise ValueError("one amount per asset is needed")
    rows = []
    for row, amount in zip(state.allocation.balances, amounts):
        if not 0 <= amount <= row[payer]:
            raise ValueError("cannot pay %d of a balance of %d" % (amount, row[payer]))
        new = [0, 0]
        new[payer] = row[payer] - amount
        new[1 - payer] = row[1 - payer] + amount
        rows.append(tuple(new))
    return with_balances(state, tuple(rows), False, version)
