"""Deposits for channels that are over: the transactions that bring them to their owner.

An asset holder credits a deposit whenever it comes. After the outcome of a channel it pays out, to
whom the participant's signature names, whatever is credited: so nothing is lost as long as the
device has its key, but each amount needs a signature of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_utils import to_canonical_address, to_checksum_address
from perun.wire.service_messages import WithdrawalAuth

from adoption import encoding
from adoption.chain import Chain
from adoption.config import Config
from adoption.verify import signed_by


def withdrawals(
    config: Config,
    late: Sequence[dict[str, Any]],
    channel: str,
    receiver: str,
    amount: int,
    sig: str,
) -> list[dict[str, str]]:
    """A transaction {"to", "data"} for each asset holder that has as much. late: as
    adoption.status gives it; the others: what the device has exported. Raises ValueError."""
    try:
        ident, owner = bytes.fromhex(channel.removeprefix("0x")), to_canonical_address(receiver)
        signature = bytes.fromhex(sig.removeprefix("0x"))
    except ValueError:
        raise ValueError("channel, receiver and sig are hexadecimal, as the device shows them")
    fits = [
        one for one in late if one["channel"] == "0x" + ident.hex() and one["amount"] >= amount
    ]
    if not fits or amount <= 0:
        raise ValueError(f"nothing came late for channel {channel} that has {amount} in it")
    chain = Chain(config)
    found = []
    for one in fits:
        device = to_canonical_address(one["device"])
        hashed = encoding.withdrawal_hash(ident, device, owner, amount, config.chain.generation)
        if signed_by(device, hashed, signature):
            auth = WithdrawalAuth(0, owner, amount, signature)
            holder = to_canonical_address(one["holder"])
            data = chain.withdraw(holder, ident, device, auth)
            found.append({"to": to_checksum_address(holder), "data": "0x" + data.hex()})
    if not found:
        raise ValueError("the signature is not the device's for this channel, receiver and amount")
    return found
