"""The asset holders: deposits, outcomes, withdrawals. And the token."""

import oracle
import pytest
from contracts.deploy import deploy_one
from scene import ALICE, BOB, reverts

RECEIVER = bytes.fromhex("95222290dd7278aa3ddd389cc1e1d165cc4bafe5")
ZERO = "0x" + "00" * 20


@pytest.fixture(params=["eth", "erc20"])
def holder(request, scene):
    """Both holders, each with the calls that differ."""
    return Holder(scene, request.param)


class Holder:
    def __init__(self, scene, kind):
        self.scene, self.kind = scene, kind
        self.chain = scene.chain
        self.contract = scene.chain.eth_holder if kind == "eth" else scene.chain.erc20_holder
        self.asset = scene.eth if kind == "eth" else scene.erc20

    def open(self, *deposits, secrets=(ALICE, BOB), outcome=None, **more):
        """A channel with deposits; settled if there is an outcome."""
        channel = self.scene.open(secrets, assets=[(1337, self.asset)], **more)
        if deposits:
            pay = self.scene.deposit if self.kind == "eth" else self.scene.deposit_tokens
            pay(channel, *deposits)
        if outcome is not None:
            self.scene.settle(channel, outcome)
        return channel

    def holdings(self, channel):
        return self.scene.holdings(channel, self.contract)

    def balance(self, account):
        if self.kind == "eth":
            return self.chain.web3.eth.get_balance(self.chain.web3.to_checksum_address(account))
        return self.chain.token.functions.balanceOf(account).call()

    def withdraw(self, channel, amount, signer=ALICE, receiver=RECEIVER, participant=None):
        part = participant or oracle.address(signer)
        authorization = oracle.authorization(channel.id, part, receiver, amount)
        signature = oracle.sign(signer, oracle.authorization_bytes(authorization))
        return self.submit(authorization, signature)

    def submit(self, authorization, signature, sender=None):
        call = self.contract.functions.withdraw(authorization, signature)
        return self.chain.send(call, sender=sender)


def test_knows_its_adjudicator(holder):
    assert holder.contract.functions.adjudicator().call() == holder.chain.place.adjudicator


def test_knows_its_token(scene):
    assert scene.chain.erc20_holder.functions.token().call() == scene.chain.place.token


# deposits


def test_deposit(scene):
    channel = scene.open()
    account = oracle.funding_id(channel.id, oracle.address(BOB))
    call = scene.chain.eth_holder.functions.deposit(account, 7)
    sent = scene.chain.send(call, sender=scene.chain.accounts[5], value=7)
    assert sent.events == [("Deposited", {"fundingID": account, "amount": 7})]
    scene.chain.send(call, value=7)
    assert scene.holdings(channel) == [0, 14]
    assert scene.chain.web3.eth.get_balance(scene.chain.place.eth_holder) == 14


def test_deposit_tokens(scene):
    channel = scene.open()
    account = oracle.funding_id(channel.id, oracle.address(ALICE))
    place, token = scene.chain.place, scene.chain.token
    scene.chain.send(token.functions.approve(place.erc20_holder, 9))
    sent = scene.chain.send(scene.chain.erc20_holder.functions.deposit(account, 9))
    events = dict(sent.events)
    assert events["Transfer"] == {
        "from": scene.chain.accounts[0],
        "to": place.erc20_holder,
        "value": 9,
    }
    assert events["Deposited"] == {"fundingID": account, "amount": 9}
    assert token.functions.balanceOf(place.erc20_holder).call() == 9
    assert scene.holdings(channel, scene.chain.erc20_holder) == [9, 0]


@pytest.mark.parametrize("value", [0, 6, 8])
def test_wrong_value(scene, value):
    call = scene.chain.eth_holder.functions.deposit(bytes(32), 7)
    reverts("wrong amount of ETH for deposit", scene.chain.send, call, value=value)


def test_ether_for_tokens(scene):
    call = scene.chain.erc20_holder.functions.deposit(bytes(32), 7)
    reverts("message value must be 0 for token deposit", scene.chain.send, call, value=7)


def test_deposit_without_approval(scene):
    call = scene.chain.erc20_holder.functions.deposit(bytes(32), 7)
    reverts("ERC20: transfer amount exceeds allowance", scene.chain.send, call)


# outcomes


@pytest.mark.parametrize(
    "deposits, outcome, held",
    [
        ((10, 10), [3, 17], [3, 17]),
        ((20, 0), [3, 17], [3, 17]),  # who paid does not matter
        ((10, 10), [0, 20], [0, 20]),
        ((15, 10), [3, 17], [3, 17]),  # too much: 5 are lost
        ((10, 9), [3, 17], [10, 9]),  # too little: everybody has the own deposit
        ((0, 9), [10, 10], [0, 9]),
        ((0, 0), [0, 0], [0, 0]),
    ],
)
def test_outcome(holder, deposits, outcome, held):
    channel = holder.open(*deposits)
    assert holder.holdings(channel) == list(deposits)
    sent = holder.scene.settle(channel, outcome)
    assert ("OutcomeSet", {"channelID": channel.id}) in sent.events
    assert holder.contract.functions.settled(channel.id).call()
    assert holder.holdings(channel) == held


def test_deposit_for_the_channel_counts(scene):
    channel = scene.open()
    scene.deposit(channel, 3, 3)
    call = scene.chain.eth_holder.functions.deposit(channel.id, 4)
    scene.chain.send(call, value=4)
    scene.settle(channel, [5, 5])
    assert scene.holdings(channel) == [5, 5]


@pytest.mark.differs("a participant who is listed twice")
def test_participant_listed_twice(holder):
    """One deposit is one deposit: otherwise the money of other channels would pay."""
    holder.open(100, 100, nonce=7)
    channel = holder.open(10, 0, secrets=(ALICE, ALICE))
    holder.scene.settle(channel, [0, 20])
    assert holder.holdings(channel) == [10, 10]  # the same account, seen twice
    holder.withdraw(channel, 10)
    reverts("insufficient funds", holder.withdraw, channel, 1)


def test_outcome_overflow(scene):
    channel = scene.open()
    reverts("panic 0x11", scene.settle, channel, [2**255, 2**255])


def test_only_the_adjudicator(holder):
    call = holder.contract.functions.setOutcome(bytes(32), [], [])
    reverts("can only be called by the adjudicator", holder.chain.send, call)


@pytest.fixture
def own_holder(scene):
    """An asset holder whose adjudicator is an ordinary account."""
    judge = scene.chain.accounts[1]
    contract = deploy_one(scene.chain.web3, scene.chain.accounts[0], "AssetHolderETH", judge)
    return contract.functions, judge


def test_once_per_channel(scene, own_holder):
    functions, judge = own_holder
    part = (oracle.address(ALICE), oracle.ELSEWHERE)
    call = functions.setOutcome(bytes(32), [part], [0])
    sent = scene.chain.send(call, sender=judge)
    assert sent.events == [("OutcomeSet", {"channelID": bytes(32)})]
    reverts("trying to set already settled channel", scene.chain.send, call, sender=judge)


def test_outcome_of_other_length(scene, own_holder):
    functions, judge = own_holder
    part = (oracle.address(ALICE), oracle.ELSEWHERE)
    for parts, amounts in (([part], []), ([], [0]), ([part], [0, 0])):
        call = functions.setOutcome(bytes(32), parts, amounts)
        reverts("participants length should equal balances", scene.chain.send, call, sender=judge)


# withdrawals


def test_withdraw(holder):
    channel = holder.open(10, 10, outcome=[3, 17])
    account = oracle.funding_id(channel.id, oracle.address(BOB))
    sent = holder.withdraw(channel, 17, signer=BOB)
    assert sent.events[-1] == (
        "Withdrawn",
        {
            "fundingID": account,
            "amount": 17,
            "receiver": holder.chain.web3.to_checksum_address(RECEIVER),
        },
    )
    assert holder.balance(RECEIVER) == 17
    assert holder.holdings(channel) == [3, 0]
    assert holder.balance(holder.contract.address) == 3


def test_anyone_may_submit(holder):
    channel = holder.open(10, 10, outcome=[3, 17])
    authorization = oracle.authorization(channel.id, oracle.address(ALICE), RECEIVER, 3)
    signature = oracle.sign(ALICE, oracle.authorization_bytes(authorization))
    holder.submit(authorization, signature, sender=holder.chain.accounts[8])
    assert holder.balance(RECEIVER) == 3


def test_bit_by_bit(holder):
    channel = holder.open(10, 10, outcome=[3, 17])
    holder.withdraw(channel, 10, signer=BOB)
    holder.withdraw(channel, 0, signer=BOB)
    holder.withdraw(channel, 7, signer=BOB)
    assert holder.balance(RECEIVER) == 17
    reverts("insufficient funds", holder.withdraw, channel, 1, signer=BOB)


def test_same_authorization_again(holder):
    """It pays as often as there is money; always the signer's receiver."""
    channel = holder.open(10, 10, outcome=[3, 17])
    for paid in (8, 16):
        holder.withdraw(channel, 8, signer=BOB)
        assert holder.balance(RECEIVER) == paid
    reverts("insufficient funds", holder.withdraw, channel, 8, signer=BOB)


def test_same_authorization_elsewhere(scene):
    """It names neither the asset holder nor the chain."""
    channel = scene.open(assets=[(1337, scene.eth), (1337, scene.erc20)])
    scene.deposit(channel, 10, 0)
    scene.deposit_tokens(channel, 10, 0)
    scene.settle(channel, [10, 0])
    for kind in ("eth", "erc20"):
        holder = Holder(scene, kind)
        holder.withdraw(channel, 10)
        assert holder.balance(RECEIVER) == 10


def test_deposit_after_the_end(holder):
    channel = holder.open(10, 10, outcome=[3, 17])
    pay = holder.scene.deposit if holder.kind == "eth" else holder.scene.deposit_tokens
    pay(channel, 5, 0)
    holder.withdraw(channel, 8)
    assert holder.balance(RECEIVER) == 8


def test_own_deposit_back(holder):
    channel = holder.open(10, 9, outcome=[0, 20])
    holder.withdraw(channel, 10, signer=ALICE)
    holder.withdraw(channel, 9, signer=BOB)
    assert holder.balance(RECEIVER) == 19


def test_withdraw_before_the_end(holder):
    channel = holder.open(10, 10)
    reverts("channel not settled", holder.withdraw, channel, 1)


def test_withdraw_too_much(holder):
    channel = holder.open(10, 10, outcome=[3, 17])
    reverts("insufficient funds", holder.withdraw, channel, 4)
    reverts("insufficient funds", holder.withdraw, channel, 2**256 - 1)


def test_withdraw_with_wrong_signature(holder):
    channel = holder.open(10, 10, outcome=[3, 17])
    stranger = oracle.address(BOB)
    reverts("signature verification failed", holder.withdraw, channel, 3, participant=stranger)
    authorization = oracle.authorization(channel.id, oracle.address(ALICE), RECEIVER, 3)
    signature = oracle.sign(ALICE, oracle.authorization_bytes(authorization))
    reverts("ECDSA: invalid signature length", holder.submit, authorization, signature + b"\0")
    reverts(
        "ECDSA: invalid signature 'v' value",
        holder.submit,
        authorization,
        signature[:64] + b"\x01",
    )


@pytest.mark.parametrize("field", range(4))
def test_everything_is_signed(holder, field):
    channel = holder.open(10, 10, outcome=[3, 17])
    other = holder.open(10, 10, outcome=[3, 17], nonce=2)
    alice = oracle.address(ALICE)
    authorization = oracle.authorization(channel.id, alice, RECEIVER, 3)
    signature = oracle.sign(ALICE, oracle.authorization_bytes(authorization))
    changed = list(authorization)
    changed[field] = (other.id, (alice, b"other"), b"\x42" * 20, 2)[field]
    reverts("signature verification failed", holder.submit, tuple(changed), signature)


@pytest.mark.parametrize("foreign", [b"", bytes(32), b"an address on another chain"])
def test_foreign_address_is_free(holder, foreign):
    """It is signed, and compared with nothing."""
    channel = holder.open(10, 10, outcome=[3, 17])
    authorization = (channel.id, (oracle.address(ALICE), foreign), RECEIVER, 3)
    signature = oracle.sign(ALICE, oracle.authorization_bytes(authorization))
    holder.submit(authorization, signature)
    assert holder.balance(RECEIVER) == 3


def test_compact_signature(holder):
    channel = holder.open(10, 10, outcome=[3, 17])
    authorization = oracle.authorization(channel.id, oracle.address(ALICE), RECEIVER, 3)
    signature = oracle.sign(ALICE, oracle.authorization_bytes(authorization))
    holder.submit(authorization, oracle.compact(signature))
    assert holder.balance(RECEIVER) == 3


def install(scene, code):
    """A receiver with this machine code."""
    address = scene.chain.web3.to_checksum_address("0x" + "77" * 20)
    scene.node.rpc("anvil_setCode", address, "0x" + code)
    return bytes.fromhex(address[2:])


# PUSH 0, PUSH 0, LOG0 and so on: what a receiver may do with 2300 gas, and what it may not
LOG, STORE, REFUSE = "5f5fa000", "60015f5500", "5f5ffd"


@pytest.mark.differs("the text when a receiver refuses ether")
def test_receiving_contract(scene):
    holder = Holder(scene, "eth")
    channel = holder.open(10, 10, outcome=[3, 17])
    for code in (STORE, REFUSE):
        receiver = install(scene, code)
        reverts("transfer failed", holder.withdraw, channel, 3, receiver=receiver)
        assert holder.holdings(channel) == [3, 17]
    receiver = install(scene, LOG)
    holder.withdraw(channel, 1, receiver=receiver)
    holder.withdraw(channel, 0, receiver=receiver)
    assert holder.balance(receiver) == 1
    receiver = install(scene, STORE)
    reverts("transfer failed", holder.withdraw, channel, 0, receiver=receiver)


@pytest.mark.differs("the token's Approval event when an allowance is used")
def test_a_deposit_of_tokens_logs_no_approval(scene):
    scene.chain.send(scene.chain.token.functions.approve(scene.chain.place.erc20_holder, 9))
    sent = scene.chain.send(scene.chain.erc20_holder.functions.deposit(bytes(32), 9))
    assert [name for name, _ in sent.events] == ["Transfer", "Deposited"]


def test_token_that_answers_no(scene):
    """A token may return false instead of reverting: put one in the place of ours."""
    channel = scene.open(assets=[(1337, scene.erc20)])
    scene.deposit_tokens(channel, 10, 10)
    scene.settle(channel)
    # PUSH 32, PUSH 0, RETURN: a word of zeros, whatever is asked
    scene.node.rpc("anvil_setCode", scene.chain.place.token, "0x60205ff3")
    call = scene.chain.erc20_holder.functions.deposit(bytes(32), 1)
    reverts("transferFrom failed", scene.chain.send, call)
    reverts("transfer failed", Holder(scene, "erc20").withdraw, channel, 1)


# the token


@pytest.fixture
def token(scene):
    accounts = scene.chain.accounts[:2]
    name = "PerunToken"
    return deploy_one(scene.chain.web3, scene.chain.accounts[0], name, accounts, 100).functions


def test_token(scene, token):
    assert token.name().call() == "PerunToken"
    assert token.symbol().call() == "PRN"
    assert token.decimals().call() == 18
    assert token.totalSupply().call() == 200
    first, second, third = scene.chain.accounts[:3]
    assert [token.balanceOf(account).call() for account in (first, second, third)] == [
        100,
        100,
        0,
    ]


def test_token_transfer(scene, token):
    first, second, third = scene.chain.accounts[:3]
    sent = scene.chain.send(token.transfer(third, 30))
    assert sent.events == [("Transfer", {"from": first, "to": third, "value": 30})]
    assert token.balanceOf(first).call() == 70
    assert token.balanceOf(third).call() == 30
    scene.chain.send(token.transfer(first, 70))
    assert token.balanceOf(first).call() == 70
    reverts("ERC20: transfer amount exceeds balance", scene.chain.send, token.transfer(third, 71))
    reverts("ERC20: transfer to the zero address", scene.chain.send, token.transfer(ZERO, 1))


def test_token_allowance(scene, token):
    send = scene.chain.send
    first, second, third = scene.chain.accounts[:3]
    sent = send(token.approve(second, 10))
    assert sent.events == [("Approval", {"owner": first, "spender": second, "value": 10})]
    send(token.increaseAllowance(second, 5))
    send(token.decreaseAllowance(second, 3))
    assert token.allowance(first, second).call() == 12
    send(token.transferFrom(first, third, 7), sender=second)
    assert token.allowance(first, second).call() == 5
    spend = token.transferFrom(first, third, 6)
    reverts("ERC20: transfer amount exceeds allowance", send, spend, sender=second)
    too_much = token.decreaseAllowance(second, 6)
    reverts("ERC20: decreased allowance below zero", send, too_much)
    reverts("ERC20: approve to the zero address", send, token.approve(ZERO, 1))


def test_token_endless_allowance(scene, token):
    first, second, third = scene.chain.accounts[:3]
    scene.chain.send(token.approve(second, 2**256 - 1))
    scene.chain.send(token.transferFrom(first, third, 7), sender=second)
    assert token.allowance(first, second).call() == 2**256 - 1
    reverts("panic 0x11", scene.chain.send, token.increaseAllowance(second, 1))
