"""What peers say to each other about ledger channels (go-perun's vocabulary), and the handshake.

A codec (`compact`, `protobuf`) turns these into bytes and back. Decoders check shapes, lengths and
ranges; whether a message makes sense is for `perun.channel` to say. What peers say
about a link lives in `control_messages`, sub-channel and virtual channel messages in
`subchannel_messages`, the service's in `service_messages`.

Source of the shapes: go-perun's wire protocol, messages of package client and wire.
"""

from collections import namedtuple

from perun.compat import const

# -- handshake between ours ---------------------------------------------------------------------

ROLE_PEER = const(0)
ROLE_DEVICE = const(1)  # a device that talks to its service
ROLE_SERVICE = const(2)
ROLE_OWNER = const(3)  # of a device, see perun.link.owner
ROLE_OWNED = const(4)  # a device that talks to its owner

PROTOCOL_VERSION = const(1)

# Both sides send Hello, then HelloProof. version: PROTOCOL_VERSION; role: ROLE_*; address: 20
# bytes, whose key signs the proof; chain_id: int; challenge: 32 fresh random bytes.
Hello = namedtuple("Hello", ("version", "role", "address", "chain_id", "challenge"))
# sig: 65 bytes, the signature of hello_transcript().
HelloProof = namedtuple("HelloProof", ("sig",))


def hello_transcript(signer, other, binding=b""):
    """The bytes that the sender of the Hello `signer` signs, having received the Hello `other`.

    Both challenges are in it, so no proof can be replayed; both addresses and roles, so none can
    be passed on to somebody else. The text in front keeps it apart from states and authorizations.
    binding: what the signer knows of the link itself, the SHA-256 of the TLS certificate there, or
    b"" for a link without one: somebody in between cannot show the service's certificate, so the
    two ends sign different things.
    """
    return b"".join(
        (
            b"uPerun hello",
            bytes((signer.version, signer.role, other.version, other.role)),
            signer.address,
            other.address,
            signer.chain_id.to_bytes(32, "big"),
            signer.challenge,
            other.challenge,
            binding,
        )
    )


# -- opening ------------------------------------------------------------------------------------

# proposal_id, nonce_share: 32 random bytes; challenge_duration: seconds; app: b"" or 20 bytes;
# init_data: the app's; init_bals: Allocation; funding_agreement: balances, who deposits what;
# aux: b"" or 256 bytes (gen2); participant: the proposer's 20-byte channel address; peers: wire
# addresses (proposer, proposee).
LedgerChannelProposal = namedtuple(
    "LedgerChannelProposal",
    (
        "proposal_id",
        "challenge_duration",
        "nonce_share",
        "app",
        "init_data",
        "init_bals",
        "funding_agreement",
        "aux",
        "participant",
        "peers",
    ),
)
LedgerChannelProposalAcc = namedtuple(
    "LedgerChannelProposalAcc", ("proposal_id", "nonce_share", "participant")
)
ChannelProposalRej = namedtuple("ChannelProposalRej", ("proposal_id", "reason"))

# -- updates ------------------------------------------------------------------------------------

# state: State; actor: index of the proposing participant; sig: the actor's, 65 bytes.
ChannelUpdate = namedtuple("ChannelUpdate", ("state", "actor", "sig"))
# Also carries the signature on version 0 while a channel opens.
ChannelUpdateAcc = namedtuple("ChannelUpdateAcc", ("channel_id", "version", "sig"))
ChannelUpdateRej = namedtuple("ChannelUpdateRej", ("channel_id", "version", "reason"))
# phase: perun.channel's number; current: Transaction, or None when there is none.
ChannelSync = namedtuple("ChannelSync", ("phase", "current"))
