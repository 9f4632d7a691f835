"""Ethereum: channel ids, state hashes, funding ids, withdrawal authorizations and signatures.

Perun's contracts exist in two generations with different tuples; ids and hashes of one mean
nothing to the other. Generation 2 puts foreign chains beside Ethereum: every participant and asset
carries extra bytes (32 zero bytes for a plain Ethereum one), every asset a backend number.

Source: perun-eth-contracts (generation 1: Nov 2022; generation 2: 1.0, 2025) and the encoders of
perun-eth-backend, compared with real encodings.
"""

from perun.chain.abi import WORD
from perun.chain.account import address_of
from perun.chain.form import usual_form
from perun.compat import borrowed, const
from perun.crypto import secp256k1
from perun.crypto.keccak import keccak256

_SIGNED_PREFIX = b"\x19Ethereum Signed Message:\n32"

_MAX_KEYS = const(4)

# What is hashed now and then
_ENCODINGS = "perun.chain.encodings"


class Ethereum:
    """An Ethereum chain with Perun's contracts of `generation` 1 or 2.

    Wherever a value does not fit its ABI type, or a shape is uneven, ValueError is raised and
    there is no hash.
    """

    def __init__(self, generation=2):
        if generation not in (1, 2):
            raise ValueError("generation is 1 or 2")
        self.generation = generation
        self._form = None  # of the state that was hashed last
        self._encodings = None
        self._keys = []  # (address, prepared key) of peers, the latest used last

    # -- ids and hashes ---------------------------------------------------------------------

    def channel_id(self, params):
        """The 32-byte id of the channel with these Params."""
        return borrowed(_ENCODINGS).channel_id(self.generation, params)

    def state_hash(self, state):
        """The 32-byte hash of a State, which its participants sign.

        The encoding is kept, so that of a state like the last one only what changed is written.
        """
        if not self._form or not self._form.fits(state):
            usual = self.generation == 2 and usual_form(state)
            self._form = usual or self._unusual_form(state)
        return self._form.hash(state)

    def _unusual_form(self, state):
        # Kept from now on: channels whose states differ may take turns.
        self._encodings = self._encodings or borrowed(_ENCODINGS)
        return self._encodings.state_form(self.generation, state)

    def funding_id(self, channel_id, participant):
        """The 32-byte key under which an asset holder keeps the participant's money."""
        return borrowed(_ENCODINGS).funding_id(channel_id, participant)

    def withdrawal_hash(self, channel_id, participant, receiver, amount):
        """What a participant signs to let anybody send `amount` of its money to `receiver`.

        Names no asset: the authorization is good at every asset holder of the channel.
        """
        return borrowed(_ENCODINGS).withdrawal_hash(
            self.generation, channel_id, participant, receiver, amount
        )

    # -- signatures -------------------------------------------------------------------------

    def sign(self, account, hash32):
        """The Account's 65-byte signature over a 32-byte hash, as a wallet signs a message."""
        return account.sign(_signed_digest(hash32))

    def verify(self, address, hash32, sig):
        """Whether `sig` is the signature of `address`, as strict as the contracts are.

        The first good signature costs a recovery; the key is kept for the following ones.
        """
        digest = _signed_digest(hash32)
        for i, (known, key) in enumerate(self._keys):
            if known == address:
                self._keys.append(self._keys.pop(i))
                return secp256k1.verify(digest, sig, key)
        try:
            public_key = secp256k1.recover(digest, sig)
        except secp256k1.SignatureError:
            return False
        if address_of(public_key) != address:
            return False
        if len(self._keys) == _MAX_KEYS:
            self._keys.pop(0)
        self._keys.append((address, secp256k1.prepare(public_key)))
        return True

    def sign_bytes(self, account, data):
        """sign() over keccak256(data): transcripts and receipts."""
        return self.sign(account, keccak256(data))

    def verify_bytes(self, address, data, sig):
        """verify() over keccak256(data)."""
        return self.verify(address, keccak256(data), sig)


def _signed_digest(hash32):
    if len(hash32) != WORD:
        raise ValueError("a 32-byte hash is signed")
    return keccak256(_SIGNED_PREFIX + hash32)
