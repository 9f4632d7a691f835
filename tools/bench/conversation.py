"""The conversation that is measured: what two real machines say, with real keys and signatures.

One ether channel between a car, which pays, and a charging station, with about 1e18 wei on each
side and versions around 100. The keys are fixed, so every run measures the same bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import ACTING, Ask, Send
from perun.channel.machine import Channel, begin
from perun.channel.opening import accept, agree, propose
from perun.client.records import dump_channel
from perun.model import Allocation, Params, State, Transaction, ether, transfer, with_balances
from perun.wire import control_messages as control
from perun.wire import inquiry_messages as im
from perun.wire import messages
from perun.wire import service_messages as service
from perun.wire.compact import Compact, Contexts

CHAIN_ID = 1337
ASSET = ether(CHAIN_ID, b"\x5b" * 20)
DURATION = 3600
DEPOSITS = (2 * 10**18, 10**18)
FIRST_VERSION = 100
PRICE = 123_456_789_012_345  # wei for each payment: every digit of the balances moves

PAYER = Account(b"\x01" * 32)
PAYEE = Account(b"\x02" * 32)
SERVICE = Account(b"\x03" * 32)
ACCOUNTS = (PAYER, PAYEE)
ADDRESSES = (PAYER.address, PAYEE.address)
RECEIVER = b"\x99" * 20

_REASON = "a payment is at least 1000000000000000"
_TIME = 1_760_000_000  # seconds


class Payment(NamedTuple):
    """One payment as it was sent: the bodies of both frames, and what the payer signed."""

    request: bytes
    answer: bytes
    state_hash: bytes
    signature: bytes


class Recording(NamedTuple):
    """Both sides' stored channels just before the payments, and the payments."""

    records: tuple[bytes, bytes]
    payments: list[Payment]


class Opened(NamedTuple):
    """A channel that both agreed upon."""

    proposal: messages.LedgerChannelProposal
    acceptance: messages.LedgerChannelProposalAcc
    params: Params
    state: State


def opened(peers: tuple[bytes, bytes] = ADDRESSES, aux: bytes = b"") -> Opened:
    """Proposal and acceptance. What differs between codecs: peers: the wire addresses; aux."""
    allocation = Allocation((ASSET,), (DEPOSITS,), ())
    proposal = propose(b"\xaa" * 32, b"\x11" * 32, DURATION, allocation, PAYER.address, peers)
    proposal = proposal._replace(aux=aux)
    acceptance = accept(proposal, b"\x22" * 32, PAYEE.address)
    params, state = agree(Ethereum(), proposal, acceptance)
    return Opened(proposal, acceptance, params, state)


def machines() -> list[Channel]:
    """The channels of payer and payee, ready for the payment with version FIRST_VERSION."""
    chain = Ethereum()
    channel = opened()
    moved = (FIRST_VERSION - 1) * PRICE
    balances = ((DEPOSITS[0] - moved, DEPOSITS[1] + moved),)
    allocation = Allocation((ASSET,), balances, ())
    state = State(channel.state.id, FIRST_VERSION - 1, b"", allocation, b"", False)
    digest = chain.state_hash(state)
    current = Transaction(state, tuple(chain.sign(account, digest) for account in ACCOUNTS))
    agreement = channel.proposal.funding_agreement
    return [
        Channel(Ethereum(), account, channel.params, index, agreement, ACTING, current)
        for index, account in enumerate(ACCOUNTS)
    ]


def record(count: int) -> Recording:
    """Let the two machines make `count` payments, each through the compact codec."""
    payer, payee = machines()
    stored = (dump_channel(payer), dump_channel(payee))
    codec = compact(payer.id)
    chain = Ethereum()
    payments = []
    for _ in range(count):
        update = _sent(payer.propose(transfer(payer.current.state, 0, (PRICE,))))
        request = codec.encode(update)
        asked = payee.receive(codec.decode(request))
        assert any(type(effect) is Ask for effect in asked)
        answer = codec.encode(_sent(payee.accept()))
        payer.receive(codec.decode(answer))
        digest = chain.state_hash(update.state)
        payments.append(Payment(request, answer, digest, update.sig))
    assert payer.current == payee.current
    return Recording(stored, payments)


def compact(channel_id: bytes) -> Compact:
    """The compact codec of a link whose ends know the channel."""
    contexts = Contexts()
    contexts.add(channel_id, (ASSET,))
    return Compact(contexts)


def between_peers(peers: tuple[bytes, bytes] = ADDRESSES, aux: bytes = b"") -> dict[str, Any]:
    """What the two say to each other about their channel, the handshake apart."""
    channel = opened(peers, aux)
    chain = Ethereum()
    agreement = channel.proposal.funding_agreement
    newborn = begin(chain, PAYER, channel.params, 0, channel.state, agreement)
    payer, payee = machines()
    update = _sent(payer.propose(transfer(payer.current.state, 0, (PRICE,))))
    payee.receive(update)
    rejection = messages.ChannelUpdateRej(payee.id, update.state.version, _REASON)
    answer = _sent(payee.accept())
    payer.receive(answer)
    balances = payer.current.state.allocation.balances
    return {
        "ping": control.Ping(_TIME * 10**9),
        "proposal": channel.proposal,
        "acceptance": channel.acceptance,
        "proposal_rejection": messages.ChannelProposalRej(channel.proposal.proposal_id, _REASON),
        "opening_signature": _sent(newborn.open()),
        "payment": update,
        "answer": answer,
        "rejection": rejection,
        "final": _sent(payer.propose(with_balances(payer.current.state, balances, True))),
        "sync": messages.ChannelSync(payee.phase, payee.current),
    }


def hellos() -> tuple[messages.Hello, messages.Hello]:
    """The first frames of our own handshake."""
    return tuple(  # type: ignore[return-value]
        messages.Hello(
            messages.PROTOCOL_VERSION, messages.ROLE_PEER, account.address, CHAIN_ID, challenge
        )
        for account, challenge in zip(ACCOUNTS, (b"\x33" * 32, b"\x44" * 32), strict=True)
    )


def proofs() -> list[messages.HelloProof]:
    """The second frames of our own handshake."""
    chain = Ethereum()
    hello, other = hellos()
    transcripts = (
        messages.hello_transcript(hello, other),
        messages.hello_transcript(other, hello),
    )
    return [
        messages.HelloProof(chain.sign_bytes(account, transcript))
        for account, transcript in zip(ACCOUNTS, transcripts, strict=True)
    ]


def with_service() -> dict[str, Any]:
    """What the payee and its service say to each other, the handshake apart."""
    chain = Ethereum()
    channel = opened()
    digest = chain.state_hash(channel.state)
    sigs = tuple(chain.sign(account, digest) for account in ACCOUNTS)
    newest, signed = machines()[1].current
    newest_hash = chain.state_hash(newest)
    first = (1, channel.params, channel.state, sigs)
    later = (1, None, newest, signed)
    return {
        "service_info": service.ServiceInfo(CHAIN_ID, b"\xad" * 20, (ASSET,), DURATION),
        "fund": service.FundRequest(1, *first, channel.proposal.funding_agreement),
        "ack": service.Ack(1),
        "watch_first": service.WatchRequest(2, *first, (_authorization(channel.state),)),
        "watch": service.WatchRequest(100, *later, ()),
        "watch_authorized": service.WatchRequest(100, *later, (_authorization(newest),)),
        "receipt": receipt(100, PAYEE.address, newest, newest_hash),
        "dispute": im.DisputeRequest(101, newest.id),
        "status_request": im.StatusRequest(102, newest.id),
        "status": im.Status(
            102,
            newest.id,
            newest.version,
            newest_hash,
            im.STAGE_DISPUTE,
            newest.version - 1,
            _TIME,
            (sum(DEPOSITS),),
            newest.version,
        ),
        "state_request": im.StateRequest(103, newest.id),
        "held_state": im.HeldState(103, newest, signed),
        "chain_event": service.ChainEvent(
            newest.id, service.EVENT_REGISTERED, newest.version, _TIME
        ),
        "error": service.Error(100, service.ERROR_OUTDATED, "version 101 is held already"),
    }


def receipt(request: int, device: bytes, state: State, state_hash: bytes) -> service.Receipt:
    """The service's answer to a watch request, signed."""
    signed = service.receipt_transcript(device, state.id, state.version, state_hash)
    signature = Ethereum().sign_bytes(SERVICE, signed)
    return service.Receipt(request, state.id, state.version, state_hash, signature)


def _authorization(state: State) -> service.WithdrawalAuth:
    chain = Ethereum()
    amount = state.allocation.balances[0][1]
    digest = chain.withdrawal_hash(state.id, PAYEE.address, RECEIVER, amount)
    return service.WithdrawalAuth(0, RECEIVER, amount, chain.sign(PAYEE, digest))


def _sent(effects: list[Any]) -> Any:
    """The one message that these effects send."""
    (message,) = (effect.message for effect in effects if type(effect) is Send)
    return message
