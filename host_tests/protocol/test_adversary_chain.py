"""The chain of test_adversary.py does what the contracts do: random stories, told to both."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from adoption import chain as service_chain
from chainkit import Chain, Reverted, anvil, chain, deployment
from contracts.anvil import CHAIN_ID
from perun.model import Allocation, Params, State, ether
from perun.wire.service_messages import WithdrawalAuth
from protocol.adversary.chain import Chain as Model
from protocol.adversary.crypto import SWIFT, account
from scene import DURATION, Channel, Scene

__all__ = ["anvil", "chain", "deployment"]

ACCOUNTS = (account(1), account(2))
SECRETS = (b"\x01" * 32, b"\x02" * 32)
RECEIVER = b"\xaa" * 20
STEPS = 50


class Both:
    """One channel on both chains. Each step is done here and there, and compared."""

    def __init__(self, chain: Chain, seed: int) -> None:
        self.random = random.Random(seed)
        self.scene = Scene(chain)
        self.channel: Channel = self.scene.open(SECRETS, nonce=seed)
        self.model = Model(self.timestamp)
        addresses = tuple(one.address for one in ACCOUNTS)
        self.params = Params(DURATION, seed, addresses, b"", True, False)
        assert SWIFT.channel_id(self.params) == self.channel.id
        self.reasons: set[str] = set()

    def timestamp(self) -> int:
        return self.scene.chain.web3.eth.get_block("latest")["timestamp"]

    def do(self, real: Callable[[], Any], modelled: Callable[[], None]) -> None:
        """Mine it first: its block's time is the one that counts."""
        refused = expected = None
        try:
            real()
        except Reverted as error:
            refused = error.reason
        try:
            modelled()
        except service_chain.Reverted as error:
            expected = str(error)
        assert expected == refused
        self.reasons.add(refused or "fine")
        self.compare()

    def compare(self) -> None:
        timeout, duration, version, phase, hashed, app = self.scene.dispute(self.channel)
        mine = self.model.disputes.get(self.channel.id)
        if mine is None:
            assert hashed == bytes(32)
        else:
            assert (phase, version, hashed, timeout, duration, app) == tuple(mine)
        held = [self.model.held(self.channel.id, one.address) for one in ACCOUNTS]
        assert held == self.scene.holdings(self.channel)
        paid = self.scene.chain.web3.eth.get_balance(RECEIVER)
        assert paid == self.model.wallets.get(RECEIVER, 0)

    def state(self) -> tuple[State, Any]:
        """The same state for both."""
        version, final = self.random.randint(0, 4), self.random.random() < 0.15
        row = (10 - version, 10 + version)
        asset = ether(CHAIN_ID, self.scene.eth)
        plain = State(self.channel.id, version, b"", Allocation((asset,), (row,), ()), b"", final)
        return plain, self.channel.state(version, row, final=final)

    def step(self) -> None:
        choice = self.random.choice(
            (self.register, self.register, self.conclude, self.end, self.deposit)
            + (self.withdraw, self.withdraw, self.wait)
        )
        choice()

    def sigs(self, tuple_: Any) -> list[bytes]:
        sigs = self.channel.sign(tuple_)
        mistake = self.random.random()
        if mistake < 0.05:
            return sigs[:1]
        return sigs[::-1] if mistake < 0.1 else sigs

    def register(self) -> None:
        state, tuple_ = self.state()
        sigs = self.sigs(tuple_)
        call = self.scene.calls.register((self.channel.params, tuple_, sigs), [])
        self.do(
            lambda: self.scene.chain.send(call),
            lambda: self.model.register(self.params, state, sigs),
        )

    def conclude(self) -> None:
        state, tuple_ = self.state()
        known = self.model.disputes.get(self.channel.id)
        if known is not None and self.random.random() < 0.8:
            state = self.model.call_data[known.hash].state
            row = state.allocation.balances[0]
            tuple_ = self.channel.state(state.version, row, final=state.is_final)
        self.do(
            lambda: self.scene.conclude(self.channel, tuple_),
            lambda: self.model.conclude(self.params, state),
        )

    def end(self) -> None:
        state, tuple_ = self.state()
        sigs = self.sigs(tuple_)
        self.do(
            lambda: self.scene.conclude_final(self.channel, tuple_, sigs),
            lambda: self.model.conclude_final(self.params, state, sigs),
        )

    def deposit(self) -> None:
        side, amount = self.random.randint(0, 1), self.random.randint(1, 12)
        amounts = [0, 0]
        amounts[side] = amount
        self.do(
            lambda: self.scene.deposit(self.channel, *amounts),
            lambda: self.model.deposit(self.channel.id, ACCOUNTS[side].address, amount),
        )

    def withdraw(self) -> None:
        owner, amount = self.random.choice(ACCOUNTS), self.random.randint(0, 14)
        signer = owner if self.random.random() < 0.9 else ACCOUNTS[0]
        hashed = SWIFT.withdrawal_hash(self.channel.id, owner.address, RECEIVER, amount)
        auth = WithdrawalAuth(0, RECEIVER, amount, SWIFT.sign(signer, hashed))
        web3 = self.scene.chain.web3
        owner_, receiver = (web3.to_checksum_address(a) for a in (owner.address, RECEIVER))
        call = self.scene.chain.eth_holder.functions.withdraw(
            (self.channel.id, (owner_, bytes(32)), receiver, amount), auth.sig
        )
        self.do(
            lambda: self.scene.chain.send(call),
            lambda: self.model.withdraw(self.channel.id, owner.address, auth),
        )

    def wait(self) -> None:
        self.scene.node.pass_time(self.random.choice((1, 10, DURATION)))


@pytest.mark.parametrize("seeds", [range(1, 6)])
def test_the_model_is_the_contract(chain: Chain, seeds: range) -> None:
    seen: set[str] = set()
    for seed in seeds:
        both = Both(chain, seed)
        before = chain.node.snapshot()
        for _ in range(STEPS):
            both.step()
        seen |= both.reasons
        chain.node.revert(before)
    assert seen >= {
        *("fine", "invalid version", "refutation timeout passed", "incorrect phase"),
        *("not registered", "timeout not passed yet", "invalid state", "already concluded"),
        *("state not final", "concluded already", "invalid signature"),
        *("signatures length mismatch", "channel not settled", "insufficient funds"),
        *("signature verification failed",),
    }
