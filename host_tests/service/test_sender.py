"""Transactions get into the chain once: slow blocks, rising fees, used nonces, reorganisations."""

from __future__ import annotations

import asyncio

import pytest
from adoption import keys
from adoption.chain import Chain, ChainError, Reverted
from adoption.chain.sender import Outcome, Sender
from adoption.store import Store, outbox
from contracts.anvil import account
from service import kit

TARGET = bytes([9] * 20)


@pytest.fixture
async def wallet(chain, tmp_path):
    """A sender with a store of its own; its blocks are mined by hand."""
    kit.write_wallet(tmp_path)
    found = kit.document(chain, (), chain={"bump_after": 1.5, "confirmations": 2})
    config = kit.parse(found, tmp_path)
    store = Store(tmp_path / "store.sqlite")
    await store.open({})
    link = Chain(config)
    sender = Sender(link, store, keys.load(config.chain.funder_key, keys.FUNDER_VARIABLE))
    sender.store = store
    chain.node.rpc("evm_setAutomine", False)
    yield sender
    chain.node.rpc("evm_setAutomine", True)
    await link.close()
    await store.close()


def received(chain):
    return chain.web3.eth.get_balance(chain.web3.to_checksum_address(TARGET))


async def pending(chain, count):
    """So many transactions wait for a block."""
    await kit.until(lambda: chain.node.rpc("txpool_status")["pending"] == hex(count))


async def ticking(sender, task):
    while not task.done():
        await sender.tick()
        await asyncio.sleep(0.02)
    return task.result()


async def test_rises_the_fee_until_it_is_mined(chain, wallet):
    task = asyncio.create_task(wallet.submit("pay", TARGET, b"", 5))
    ticker = asyncio.create_task(ticking(wallet, task))

    async def attempts_made():
        async with wallet.store.read() as tx:
            found = await outbox.attempts(tx, "pay")
        return found if len(found) >= 2 else None

    attempts = await kit.until(attempts_made)
    assert attempts[-1].max_fee * 10 > attempts[0].max_fee * 11
    chain.node.mine()
    assert await ticker is Outcome.MINED
    assert received(chain) == 5
    assert await wallet.submit("pay", TARGET, b"", 5) is Outcome.KNOWN
    chain.node.mine()
    await wallet.tick()
    async with wallet.store.read() as tx:
        assert await outbox.jobs(tx) == []


async def test_same_purpose_twice_at_once(chain, wallet):
    tasks = [asyncio.create_task(wallet.submit("pay", TARGET, b"", 5)) for _ in range(5)]
    await pending(chain, 1)
    chain.node.mine()
    outcomes = [await ticking(wallet, task) for task in tasks]
    assert set(outcomes) <= {Outcome.MINED, Outcome.KNOWN}
    assert received(chain) == 5


async def test_many_purposes_at_once(chain, wallet):
    tasks = [asyncio.create_task(wallet.submit(f"pay {i}", TARGET, b"", i)) for i in range(10)]
    await pending(chain, 10)
    chain.node.mine()
    for task in tasks:
        assert await ticking(wallet, task) is Outcome.MINED
    assert received(chain) == sum(range(10))


async def test_nonce_used_elsewhere(chain, wallet):
    """The same key used by another program: the job is given up, not sent twice."""
    task = asyncio.create_task(wallet.submit("pay", TARGET, b"", 5))
    await pending(chain, 1)
    chain.node.rpc("anvil_dropAllTransactions")
    chain.web3.eth.send_transaction(
        {
            "from": account(kit.WALLET).address,
            "to": chain.web3.to_checksum_address(TARGET),
            "value": 1,
            "nonce": chain.web3.eth.get_transaction_count(account(kit.WALLET).address),
            "maxFeePerGas": 10**12,
            "maxPriorityFeePerGas": 10**11,
        }
    )
    chain.node.mine()
    ticker = asyncio.create_task(ticking(wallet, task))
    await asyncio.sleep(0.1)
    chain.node.mine(5)
    assert await ticker is Outcome.LOST
    assert received(chain) == 1


async def test_reorganised_out_of_its_block(chain, wallet):
    """It is sent again, with the same nonce and hash."""
    before = chain.node.snapshot()
    task = asyncio.create_task(wallet.submit("pay", TARGET, b"", 5))
    await pending(chain, 1)
    chain.node.mine()
    assert await ticking(wallet, task) is Outcome.MINED
    chain.node.revert(before)
    chain.node.rpc("evm_setAutomine", False)
    assert received(chain) == 0
    await wallet.tick()
    chain.node.mine()
    await wallet.tick()
    assert received(chain) == 5
    assert await wallet.submit("pay", TARGET, b"", 5) is Outcome.KNOWN


async def test_refused_before_it_is_sent(chain, wallet):
    holder = kit.eth(chain)
    data = wallet._chain.deposit(holder, bytes(32), TARGET, 5)
    with pytest.raises(Reverted, match="wrong amount"):
        await wallet.submit("deposit", holder, data, 4)
    async with wallet.store.read() as tx:
        assert await outbox.jobs(tx) == []


async def test_more_than_there_is(chain, wallet):
    with pytest.raises(ChainError):
        await wallet.submit("pay", TARGET, b"", 10**30)
    async with wallet.store.read() as tx:
        assert await outbox.jobs(tx) == []


async def test_caller_is_told_to_come_back(chain, wallet):
    with pytest.raises(ChainError, match="waits for a block"):
        await wallet.submit("pay", TARGET, b"", 5)
    chain.node.mine()
    await wallet.tick()
    assert await wallet.submit("pay", TARGET, b"", 5) is Outcome.KNOWN
    assert received(chain) == 5
