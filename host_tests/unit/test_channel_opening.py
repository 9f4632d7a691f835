from channels import ALICE, ASSET, BOB, LIMITS, PEERS, TOKEN, proposal, replace
from perun.chain.ethereum import Ethereum
from perun.channel import ProtocolError
from perun.channel.opening import accept, agree, check_proposal
from perun.model import Allocation, SubAlloc, ether
from support import raises

TOO_MUCH = 10**18 + 1
UNLISTED = ether(1337, b"\x66" * 20)


def test_both_sides_agree():
    offer = proposal()
    check_proposal(offer, 0, PEERS, LIMITS)
    check_proposal(offer, 1, PEERS, LIMITS)
    acc = accept(offer, b"\x22" * 32, BOB.address)
    params, state = agree(Ethereum(2), offer, acc)
    assert params.participants == (ALICE.address, BOB.address)
    assert state.id == Ethereum(2).channel_id(params) and state.version == 0
    assert state.id != agree(Ethereum(1), offer, acc)[1].id
    assert state.id != agree(Ethereum(2), offer, replace(acc, nonce_share=b"\x23" * 32))[1].id


def test_refused_proposals():
    locked = Allocation((ASSET,), ((100, 50),), (SubAlloc(b"\x01" * 32, (1,), ()),))
    for text, offer in (
        ("id is not 32", proposal(proposal_id=b"\xaa" * 31)),
        ("nonce share is not 32", proposal(nonce_share=b"")),
        ("challenge duration", proposal(challenge_duration=0)),
        ("challenge duration", proposal(challenge_duration=29)),
        ("challenge duration", proposal(challenge_duration=86401)),
        ("challenge duration", proposal(challenge_duration=1 << 64)),
        ("not on the list", proposal(((1, 1),), (UNLISTED,))),
        ("not on the list", proposal(((1, 1),), (ether(1, ASSET.holder),))),
        ("listed twice", proposal(((1, 1), (1, 1)), (ASSET, ASSET))),
        ("negative", proposal(((-1, 1),))),
        ("sums differ", proposal(funding_agreement=((100, 51),))),
        ("sums differ", proposal(funding_agreement=((0, 0),))),
        ("one row", proposal(funding_agreement=())),
        ("over the limit", proposal(((1, 10**18 + 1),))),
        ("over the limit", proposal(funding_agreement=((0, TOO_MUCH),), init_bals=big())),
        ("apps", proposal(app=b"\x42" * 20)),
        ("apps", proposal(init_data=b"x")),
        ("locked", proposal(init_bals=locked)),
        ("not an address", proposal(participant=b"\x01" * 19)),
        ("somebody else", proposal(peers=(PEERS[1], PEERS[0]))),
        ("somebody else", proposal(peers=(PEERS[0],))),
        ("somebody else", proposal(peers=())),
        ("aux", proposal(aux=b"\x01" * 256)),
    ):
        error = raises(ProtocolError, check_proposal, offer, 1, PEERS, LIMITS)
        assert text in str(error), (text, error)
    check_proposal(proposal(aux=bytes(256)), 1, PEERS, LIMITS)


def big():
    return Allocation((ASSET,), ((TOO_MUCH, 0),), ())


def test_the_own_deposit_is_limited_not_the_peers():
    offer = proposal(((10**18 + 1, 1),))
    check_proposal(offer, 1, PEERS, LIMITS)
    raises(ProtocolError, check_proposal, offer, 0, PEERS, LIMITS)


def test_two_assets():
    offer = proposal(((1, 2), (3, 10**21)), (TOKEN, ASSET))
    raises(ProtocolError, check_proposal, offer, 1, PEERS, LIMITS)  # the limits are per asset
    check_proposal(proposal(((3, 10**21), (1, 2)), (TOKEN, ASSET)), 1, PEERS, LIMITS)


def test_refused_acceptances():
    offer = proposal()
    good = accept(offer, b"\x22" * 32, BOB.address)
    for changes in (
        {"proposal_id": b"\xab" * 32},
        {"nonce_share": b"\x22" * 31},
        {"participant": ALICE.address},
        {"participant": b"\x02" * 19},
    ):
        raises(ProtocolError, agree, Ethereum(2), offer, replace(good, **changes))
