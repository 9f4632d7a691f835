"""Builders of channels for tests: two accounts, a proposal, two machines that talk."""

from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import Ask, Send
from perun.channel.machine import begin
from perun.channel import Limits
from perun.channel.opening import accept, agree, propose
from perun.model import Allocation, ether

CHAIN_ID = 1337
ASSET = ether(CHAIN_ID, b"\x5b" * 20)
TOKEN = ether(CHAIN_ID, b"\x70" * 20)
LIMITS = Limits((ASSET, TOKEN), (10**18, 10**21), 30, 86400)

ALICE = Account(b"\x01" * 32)
BOB = Account(b"\x02" * 32)
PEERS = (ALICE.address, BOB.address)


def proposal(balances=((100, 50),), assets=(ASSET,), **changes):
    """Alice's proposal to Bob; keyword arguments replace fields of the message."""
    made = propose(
        b"\xaa" * 32,
        b"\x11" * 32,
        60,
        Allocation(assets, balances, ()),
        ALICE.address,
        PEERS,
    )
    return replace(made, **changes)


def replace(made, **changes):
    """A copy of a namedtuple with some fields changed (MicroPython has no _replace)."""
    fields = dict(zip(FIELDS[type(made).__name__], made))
    fields.update(changes)
    return type(made)(**fields)


# MicroPython's namedtuples do not know their fields' names.
FIELDS = {
    "LedgerChannelProposal": (
        "proposal_id challenge_duration nonce_share app init_data init_bals funding_agreement "
        "aux participant peers"
    ).split(),
    "LedgerChannelProposalAcc": "proposal_id nonce_share participant".split(),
    "State": "id version app allocation data is_final".split(),
    "Params": "challenge_duration nonce participants app ledger virtual".split(),
    "Allocation": "assets balances locked".split(),
    "ChannelUpdate": "state actor sig".split(),
    "ChannelUpdateAcc": "channel_id version sig".split(),
}


def machines(balances=((100, 50),), assets=(ASSET,), generation=2, kind=None):
    """Alice's and Bob's channels, agreed upon; nothing is sent yet."""
    offer = proposal(balances, assets)
    acc = accept(offer, b"\x22" * 32, BOB.address)
    made = []
    for index, account in enumerate((ALICE, BOB)):
        chain = Ethereum(generation)
        params, state = agree(chain, offer, acc)
        agreement = offer.funding_agreement
        made.append(begin(chain, account, params, index, state, agreement, kind))
    return made


def sent(effects):
    """The messages that these effects send."""
    return [effect.message for effect in effects if type(effect) is Send]


def deliver(machine, messages, decide=None):
    """Give messages to a machine, answer its questions; returns all effects.

    decide: function, state -> None to accept or a reason to refuse.
    """
    effects = []
    for message in messages:
        effects += machine.receive(message)
        if any(type(effect) is Ask for effect in effects):
            reason = decide(machine.pending.state) if decide else None
            effects += machine.reject(reason) if reason else machine.accept()
    return effects


def opened(balances=((100, 50),), assets=(ASSET,), generation=2, kind=None):
    """Two machines with a funded channel."""
    alice, bob = machines(balances, assets, generation, kind)
    from_alice, from_bob = sent(alice.open()), sent(bob.open())
    deliver(alice, from_bob)
    deliver(bob, from_alice)
    alice.funded()
    bob.funded()
    return alice, bob


def update(proposer, other, state, decide=None):
    """One update from proposal to answer; returns the effects of both sides."""
    first = proposer.propose(state)
    answer = deliver(other, sent(first), decide)
    return first + deliver(proposer, sent(answer)), answer
