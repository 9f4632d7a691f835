"""Ethereum: channel ids, state hashes, funding ids, withdrawal authorizations and signatures.

Perun's contracts exist in two generations with different tuples; ids and hashes of one mean
nothing to the other. Generation 2 puts foreign chains beside Ethereum: every participant and asset
carries extra bytes (32 zero bytes for a plain Ethereum one), every asset a backend number.

Source: perun-eth-contracts (generation 1: Nov 2022; generation 2: 1.0, 2025) and the encoders of
perun-eth-backend, compared with real encodings.
"""

from perun.chain.abi import (
    ADDRESS,
    UINT16,
    UINT64,
    WORD,
    AbiHash,
    address_word,
    blob,
    encoded,
    joined,
)
from perun.chain.account import address_of
from perun.chain.form import StateForm, is_plain, usual_form
from perun.compat import const
from perun.crypto import secp256k1
from perun.crypto.keccak import keccak256
from perun.model import BACKEND_ETHEREUM

_NO_ADDRESS = bytes(ADDRESS)
_NO_FOREIGN = bytes(WORD)  # "no foreign address or asset": 32 zero bytes, not an empty string
_SIGNED_PREFIX = b"\x19Ethereum Signed Message:\n32"

_PARTICIPANT_SIZE = 4 * WORD  # in generation 2
_MAX_KEYS = const(4)


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
        self._keys = []  # (address, prepared key) of peers, the latest used last

    # -- ids and hashes ---------------------------------------------------------------------

    def channel_id(self, params):
        """The 32-byte id of the channel with these Params."""
        out = AbiHash()
        out.uint(WORD)
        out.uint(params.challenge_duration, UINT64)
        out.uint(params.nonce)
        out.uint(6 * WORD)
        out.address(params.app or _NO_ADDRESS)
        out.flag(params.ledger)
        out.flag(params.virtual)
        out.uint(len(params.participants))
        if self.generation == 1:
            for address in params.participants:
                out.address(address)
        else:
            out.offsets([_PARTICIPANT_SIZE] * len(params.participants))
            for address in params.participants:
                _participant(out, address)
        return out.digest()

    def state_hash(self, state):
        """The 32-byte hash of a State, which its participants sign.

        The encoding is kept, so that of a state like the last one only what changed is written.
        """
        if not self._form or not self._form.fits(state):
            usual = self.generation == 2 and usual_form(state)
            self._form = usual or self._new_form(state)
        return self._form.hash(state)

    def _new_form(self, state):
        """The encoding of a state, for it and the ones like it."""
        _check_shape(state)
        assets, balances, locked = state.allocation
        count, parts = len(assets), len(balances[0])
        plain = is_plain(assets)
        if self.generation == 1 and not plain:
            raise ValueError("generation 1 has Ethereum assets only")
        if self.generation == 1:
            stride = 2
            sections = [[count] + [0, 0] * count]
        else:
            stride = 5
            sections = [
                [count] + joined([_asset(asset, plain) for asset in assets]),
                [count] + [asset.backend for asset in assets],
            ]
        first = 6 + len(sections) + 2  # word of the first section
        at_assets = first + 1 + (count if stride == 5 else 0)
        at_balances = first + 2 + count
        for section in sections:
            at_balances += len(section)
        sections.append([count] + joined([[parts] + [0] * parts] * count))
        sections.append(_locked(locked, count, parts) if locked else [0])
        outcome = joined(sections)
        words = [WORD, 0, 0, 5 * WORD, (5 + len(outcome)) * WORD, 0] + outcome + blob(state.data)
        places = at_assets * WORD, stride * WORD, at_balances * WORD, plain
        return StateForm(state, encoded(words), places)

    def funding_id(self, channel_id, participant):
        """The 32-byte key under which an asset holder keeps the participant's money."""
        out = AbiHash()
        out.bytes32(channel_id)
        out.address(participant)
        return out.digest()

    def withdrawal_hash(self, channel_id, participant, receiver, amount):
        """What a participant signs to let anybody send `amount` of its money to `receiver`.

        Names no asset: the authorization is good at every asset holder of the channel.
        """
        out = AbiHash()
        if self.generation == 1:
            out.bytes32(channel_id)
            out.address(participant)
        else:
            out.uint(WORD)
            out.bytes32(channel_id)
            out.uint(4 * WORD)
        out.address(receiver)
        out.uint(amount)
        if self.generation == 2:
            _participant(out, participant)
        return out.digest()

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


def _participant(out, address):
    """Generation 2: an Ethereum address beside the participant's (absent) foreign address."""
    out.address(address)
    out.uint(2 * WORD)
    out.blob(_NO_FOREIGN)


def _asset(asset, plain):
    """Generation 2: a foreign asset has its backend, and its bytes behind the address."""
    if plain:
        return [0, 0, 3 * WORD, WORD, 0]
    if asset.backend == BACKEND_ETHEREUM:
        return [asset.chain_id, address_word(asset.holder), 3 * WORD, WORD, 0]
    return [asset.backend, 0, 3 * WORD] + blob(asset.holder)


def _locked(locked, assets, parts):
    """The sub-allocations. An empty index map stands for the identity and is signed as such."""
    subs = []
    for sub in locked:
        index_map = list(sub.index_map or range(parts))
        for index in index_map:
            if not 0 <= index < UINT16:
                raise ValueError("number out of range")
        subs.append(
            [sub.id, 3 * WORD, (4 + assets) * WORD, assets]
            + list(sub.balances)
            + [parts]
            + index_map
        )
    return [len(subs)] + joined(subs)


def _check_shape(state):
    """All rows of balances must be alike, and what is locked must fit them."""
    assets, balances, locked = state.allocation
    if not assets or len(balances) != len(assets):
        raise ValueError("one row of balances per asset is needed")
    parts = len(balances[0])
    for row in balances:
        if len(row) != parts:
            raise ValueError("rows of balances differ in length")
    for sub in locked:
        if len(sub.balances) != len(assets):
            raise ValueError("locked: one amount per asset is needed")
        if len(sub.index_map) not in (0, parts):
            raise ValueError("locked: an index map names every participant")
    if len(state.id) != WORD:
        raise ValueError("a channel id has 32 bytes")


def _signed_digest(hash32):
    if len(hash32) != WORD:
        raise ValueError("a 32-byte hash is signed")
    return keccak256(_SIGNED_PREFIX + hash32)
