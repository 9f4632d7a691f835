"""Two participants, their channels, and the words to tell what they do on the chain."""

from typing import Any

import oracle
import pytest
from chainkit import Chain, Reverted, Sent
from contracts.anvil import CHAIN_ID
from contracts.deploy import deploy_one

ALICE, BOB, INGRID = (bytes([number]) * 32 for number in (1, 2, 3))  # secrets
DURATION = 60


class Channel:
    """Parameters and id of one channel, and its states with signatures."""

    def __init__(self, params: oracle.Tuple, secrets: tuple[bytes, ...], assets: list) -> None:
        self.params = params
        self.id = oracle.channel_id(params)
        self.secrets = secrets
        self.assets = assets

    def state(self, version: int = 1, balances: Any = (10, 10), **more: Any) -> oracle.Tuple:
        """balances: one row for each asset, or one row for all of them."""
        if not balances or isinstance(balances[0], int):
            balances = [balances] * len(self.assets)
        return oracle.state(self.id, version, self.assets, balances, **more)

    def sign(self, state: oracle.Tuple) -> list[bytes]:
        return [oracle.sign(secret, oracle.state_bytes(state)) for secret in self.secrets]

    def signed(self, state: oracle.Tuple) -> oracle.Tuple:
        return (self.params, state, self.sign(state))


class Scene:
    """The chain as its users see it. Every method sends a transaction."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.node = chain.node
        self.calls = chain.adjudicator.functions
        self.eth = bytes.fromhex(chain.place.eth_holder[2:])
        self.erc20 = bytes.fromhex(chain.place.erc20_holder[2:])

    def open(
        self,
        secrets: tuple[bytes, ...] = (ALICE, BOB),
        assets: list | None = None,
        duration: int = DURATION,
        **more: Any,
    ) -> Channel:
        """A channel in ether, unless assets says else; nothing happens on the chain."""
        participants = [oracle.address(secret) for secret in secrets]
        params = oracle.params(participants, duration=duration, **more)
        return Channel(params, secrets, assets or [(CHAIN_ID, self.eth)])

    def trivial_app(self) -> bytes:
        app = deploy_one(self.chain.web3, self.chain.accounts[0], "TrivialApp")
        return bytes.fromhex(app.address[2:])

    def register(self, channel: Channel, state: oracle.Tuple, *children: oracle.Tuple) -> Sent:
        """children: what Channel.signed gives."""
        call = self.calls.register(channel.signed(state), list(children))
        return self.chain.send(call)

    def progress(
        self,
        channel: Channel,
        old: oracle.Tuple,
        new: oracle.Tuple,
        actor: int = 0,
        sig: Any = None,
    ) -> Sent:
        if sig is None:
            sig = channel.sign(new)[actor]
        return self.chain.send(self.calls.progress(channel.params, old, new, actor, sig))

    def conclude(self, channel: Channel, state: oracle.Tuple, *children: oracle.Tuple) -> Sent:
        return self.chain.send(self.calls.conclude(channel.params, state, list(children)))

    def conclude_final(self, channel: Channel, state: oracle.Tuple, sigs: Any = None) -> Sent:
        sigs = channel.sign(state) if sigs is None else sigs
        return self.chain.send(self.calls.concludeFinal(channel.params, state, sigs))

    def dispute(self, channel: Channel) -> tuple:
        """(timeout, challengeDuration, version, phase, stateHash, hasApp)"""
        return tuple(self.calls.disputes(channel.id).call())

    def settle(self, channel: Channel, balances: Any = (10, 10)) -> Sent:
        return self.conclude_final(channel, channel.state(1, balances, final=True))

    def deposit(self, channel: Channel, *amounts: int) -> None:
        """Ether, an amount for each participant."""
        for secret, amount in zip(channel.secrets, amounts, strict=True):
            account = oracle.funding_id(channel.id, oracle.address(secret))
            call = self.chain.eth_holder.functions.deposit(account, amount)
            self.chain.send(call, value=amount)

    def deposit_tokens(self, channel: Channel, *amounts: int) -> None:
        approve = self.chain.token.functions.approve(self.chain.place.erc20_holder, sum(amounts))
        self.chain.send(approve)
        for secret, amount in zip(channel.secrets, amounts, strict=True):
            account = oracle.funding_id(channel.id, oracle.address(secret))
            self.chain.send(self.chain.erc20_holder.functions.deposit(account, amount))

    def holdings(self, channel: Channel, holder: Any = None) -> list[int]:
        functions = (holder or self.chain.eth_holder).functions
        return [
            functions.holdings(oracle.funding_id(channel.id, oracle.address(secret))).call()
            for secret in channel.secrets
        ]


def reverts(reason: str, action: Any, *args: Any, **more: Any) -> None:
    """The action's transaction is mined and fails for exactly this reason."""
    with pytest.raises(Reverted) as caught:
        action(*args, **more)
    assert caught.value.reason == reason


def outcomes(sent: Sent) -> list[tuple]:
    """The ChannelUpdate events of a transaction: (channel, version, phase, timeout)."""
    return [
        (event["channelID"], event["version"], event["phase"], event["timeout"])
        for name, event in sent.events
        if name == "ChannelUpdate"
    ]
