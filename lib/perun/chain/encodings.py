"""What Ethereum hashes now and then: channel ids, funding ids, withdrawal authorizations; and the
encodings of states that are not the usual ones. A device loads it for that.

`generation` is that of the contracts, see perun.chain.ethereum.
"""

from perun.chain.abi import (
    ADDRESS,
    UINT16,
    UINT64,
    WORD,
    address_word,
    blob,
    encoded,
    joined,
)
from perun.chain.form import StateForm, is_plain
from perun.crypto.keccak import keccak256
from perun.model import BACKEND_ETHEREUM

_NO_ADDRESS = bytes(ADDRESS)
_NO_FOREIGN = bytes(WORD)  # "no foreign address or asset": 32 zero bytes, not an empty string


def channel_id(generation, params):
    """The 32-byte id of the channel with these Params."""
    if not 0 <= params.challenge_duration < UINT64:
        raise ValueError("number out of range")
    participants = [_participant(generation, address) for address in params.participants]
    words = [
        WORD,
        params.challenge_duration,
        params.nonce,
        6 * WORD,
        address_word(params.app or _NO_ADDRESS),
        1 if params.ledger else 0,
        1 if params.virtual else 0,
        len(participants),
    ]
    if generation == 1:
        for one in participants:
            words += one
    else:
        words += joined(participants)
    return keccak256(encoded(words))


def funding_id(channel, participant):
    """The 32-byte key under which an asset holder keeps the participant's money."""
    return keccak256(encoded([channel, address_word(participant)]))


def withdrawal_hash(generation, channel, participant, receiver, amount):
    """What a participant signs to let anybody send `amount` of its money to `receiver`."""
    whose = _participant(generation, participant)
    money = [address_word(receiver), amount]
    if generation == 1:
        words = [channel] + whose + money
    else:
        words = [WORD, channel, 4 * WORD] + money + whose
    return keccak256(encoded(words))


def _participant(generation, address):
    """In generation 2 an Ethereum address stands beside the (absent) foreign address."""
    word = address_word(address)
    return [word] if generation == 1 else [word, 2 * WORD] + blob(_NO_FOREIGN)


def state_form(generation, state):
    """The StateForm of a state, for it and the ones like it."""
    _check_shape(state)
    assets, balances, locked = state.allocation
    count, parts = len(assets), len(balances[0])
    plain = is_plain(assets)
    if generation == 1 and not plain:
        raise ValueError("generation 1 has Ethereum assets only")
    if generation == 1:
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
