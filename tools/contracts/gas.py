"""What every call of the contracts costs, measured on a fresh chain.

Two participants with deposits, one asset, no app, unless the name of the call says else; a
receiver of a withdrawal already exists and owns no tokens.
"""

from typing import Any

from eth_abi.abi import encode
from eth_account.messages import encode_defunct
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.types import TxParams, Wei

from contracts.anvil import CHAIN_ID, Anvil, account
from contracts.deploy import contract, deploy, deploy_one

_DURATION = 60
_NOT_THERE = "0x" + "00" * 20
_EMPTY = b"\0" * 32  # what stands for the address on another chain if there is none
_AUTHORIZATION = "(bytes32,(address,bytes),address,uint256)"
_AMOUNT = 10**18

_State = tuple[Any, ...]
_Params = tuple[Any, ...]


def measure() -> dict[str, int]:
    """{call: gas used}. Starts and ends a chain of its own; takes a few seconds."""
    with Anvil() as chain:
        return _Measurement(chain).run()


class _Measurement:
    def __init__(self, chain: Anvil) -> None:
        self._chain = chain
        self._gas: dict[str, int] = {}
        self._nonce = 0
        self._sender = account(0).address
        self._keys = [account(1), account(2)]
        self._participants = [(key.address, _EMPTY) for key in self._keys]
        web3 = chain.web3
        place = deploy(web3, self._sender, [self._sender])
        for number, name in enumerate(("adjudicator", None, "eth_holder", "erc20_holder")):
            if name:
                block = web3.eth.get_block(place.block + 1 + number)
                self._gas[f"deploy_{name}"] = block["gasUsed"]
        self._adjudicator = contract(web3, "Adjudicator", place.adjudicator)
        self._eth = contract(web3, "AssetHolderETH", place.eth_holder)
        self._erc20 = contract(web3, "AssetHolderERC20", place.erc20_holder)
        self._token = contract(web3, "PerunToken", place.token)
        self._app = deploy_one(web3, self._sender, "TrivialApp").address

    def run(self) -> dict[str, int]:
        self._money()
        self._dispute()
        self._app_channel()
        self._sub_channel()
        self._two_assets()
        return self._gas

    def _money(self) -> None:
        """Deposit, concludeFinal, withdrawal, in both currencies."""
        params, channel = self._open()
        for key in self._keys:
            self._deposit(self._eth, channel, key.address, "deposit_eth")
        final = self._state(channel, 1, final=True)
        self._conclude_final(params, final, "conclude_final")
        self._withdraw(self._eth, channel, "withdraw_eth")

        params, channel = self._open()
        for key in self._keys:
            approve = self._token.functions.approve(self._erc20.address, _AMOUNT)
            self._send(approve, "approve_erc20")
            self._deposit(self._erc20, channel, key.address, "deposit_erc20")
        final = self._state(channel, 1, final=True, holders=[self._erc20.address])
        self._conclude_final(params, final)
        self._withdraw(self._erc20, channel, "withdraw_erc20")

    def _dispute(self) -> None:
        params, channel = self._open()
        self._fund(channel)
        self._register(params, self._state(channel, 1), [], "register")
        state = self._state(channel, 2)
        self._register(params, state, [], "refute")
        self._chain.pass_time(_DURATION)
        self._conclude(params, state, [], "conclude")

    def _app_channel(self) -> None:
        params, channel = self._open(app=self._app)
        self._fund(channel)
        old, new = self._state(channel, 1), self._state(channel, 2)
        self._register(params, old, [], "register_app")
        self._chain.pass_time(_DURATION)
        signature = self._sign(new)[0]
        progress = self._adjudicator.functions.progress(params, old, new, 0, signature)
        self._send(progress, "progress")
        self._chain.pass_time(_DURATION)
        self._conclude(params, new, [], "conclude_app")

    def _sub_channel(self) -> None:
        params, channel = self._open()
        self._fund(channel)
        child_params, child = self._open(ledger=False)
        inner = self._state(child, 1, balances=[3, 4])
        state = self._state(channel, 1, balances=[5, 8], locked=[(child, [7], [0, 1])])
        self._register(params, state, [(child_params, inner)], "register_sub")
        self._chain.pass_time(_DURATION)
        self._conclude(params, state, [inner], "conclude_sub")

    def _two_assets(self) -> None:
        """Nothing deposited and nothing to share out; the final state follows a registration."""
        holders = [self._eth.address, self._erc20.address]
        params, channel = self._open()
        state = self._state(channel, 1, balances=[0, 0], holders=holders)
        self._register(params, state, [], "register_two_assets")
        final = self._state(channel, 2, balances=[0, 0], holders=holders, final=True)
        self._conclude_final(params, final, "conclude_final_two_assets")

    # the calls

    def _send(self, call: ContractFunction, name: str | None = None, value: int = 0) -> None:
        """Sends a transaction that must succeed; keeps the gas of the first of each name."""
        web3 = self._chain.web3
        transaction: TxParams = {"from": self._sender, "value": Wei(value), "gas": 1_000_000}
        receipt = web3.eth.wait_for_transaction_receipt(
            call.transact(transaction), poll_latency=0.005
        )
        if receipt["status"] != 1:
            raise RuntimeError(f"{call.fn_name} reverts")
        if name:
            self._gas.setdefault(name, receipt["gasUsed"])

    def _deposit(
        self, holder: Contract, channel: bytes, owner: ChecksumAddress, name: str | None = None
    ) -> None:
        call = holder.functions.deposit(_funding_id(channel, owner), _AMOUNT)
        self._send(call, name, value=_AMOUNT if holder is self._eth else 0)

    def _fund(self, channel: bytes) -> None:
        for key in self._keys:
            self._deposit(self._eth, channel, key.address)

    def _register(
        self,
        params: _Params,
        state: _State,
        children: list[tuple[_Params, _State]],
        name: str,
    ) -> None:
        signed = [(p, s, self._sign(s)) for p, s in [(params, state), *children]]
        self._send(self._adjudicator.functions.register(signed[0], signed[1:]), name)

    def _conclude(self, params: _Params, state: _State, children: list[_State], name: str) -> None:
        self._send(self._adjudicator.functions.conclude(params, state, children), name)

    def _conclude_final(self, params: _Params, state: _State, name: str | None = None) -> None:
        call = self._adjudicator.functions.concludeFinal(params, state, self._sign(state))
        self._send(call, name)

    def _withdraw(self, holder: Contract, channel: bytes, name: str) -> None:
        key, receiver = self._keys[0], account(9).address
        authorization = (channel, self._participants[0], receiver, _AMOUNT // 2)
        message = keccak(encode([_AUTHORIZATION], [authorization]))
        signature = key.sign_message(encode_defunct(message)).signature
        self._send(holder.functions.withdraw(authorization, signature), name)

    # what they are about

    def _open(self, app: str = _NOT_THERE, ledger: bool = True) -> tuple[_Params, bytes]:
        """Parameters of a new channel, and its id."""
        self._nonce += 1
        nonce = int.from_bytes(keccak(self._nonce.to_bytes(32, "big")), "big")
        params = (_DURATION, nonce, self._participants, app, ledger, False)
        return params, self._adjudicator.functions.channelID(params).call()

    def _state(
        self,
        channel: bytes,
        version: int,
        balances: list[int] | None = None,
        locked: list[tuple[bytes, list[int], list[int]]] | None = None,
        holders: list[ChecksumAddress] | None = None,
        final: bool = False,
    ) -> _State:
        holders = holders or [self._eth.address]
        balances = balances or [_AMOUNT // 2, _AMOUNT + _AMOUNT // 2]
        allocation = (
            [(CHAIN_ID, holder, _EMPTY) for holder in holders],
            [1] * len(holders),
            [balances] * len(holders),
            locked or [],
        )
        return (channel, version, allocation, b"", final)

    def _sign(self, state: _State) -> list[bytes]:
        message = encode_defunct(self._adjudicator.functions.hashState(state).call())
        return [bytes(key.sign_message(message).signature) for key in self._keys]


def _funding_id(channel: bytes, owner: ChecksumAddress) -> bytes:
    return keccak(encode(["bytes32", "address"], [channel, owner]))
