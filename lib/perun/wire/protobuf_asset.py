"""An asset of Ethereum as go-perun's Ethereum backend marshals it.

u16 length, chain id (big-endian, no zeros in front), what the generation puts there, u16 length
20, holder. The lengths are little-endian.
"""

from perun.model import Asset, ether
from perun.model.rules import MAX_ASSETS
from perun.wire import WireError, kinds

_HOLDER = b"\x14\0"


def check_assets(assets):
    """Tuple of Asset with values that can be marshalled, or WireError."""
    for asset in kinds.check_tuple(assets, 1, MAX_ASSETS):
        if type(asset) is not Asset:
            raise WireError("Asset is expected")
        kinds.check_uint(asset.chain_id, 256)
        kinds.check_uint(asset.backend, 32)
        kinds.check_bin(asset.holder, kinds.KINDS["holder"])
        kinds.check_asset(asset)


def dump_asset(asset, mark):
    """The bytes of an Asset of Ethereum. mark: what stands in front of the holder."""
    chain = asset.chain_id.to_bytes(32, "big").lstrip(b"\0")
    return bytes((len(chain), 0)) + chain + mark + _HOLDER + asset.holder


def load_asset(data, mark):
    """The Asset in these bytes (at least one), or WireError. The chain id may start with zeros."""
    chain = data[2 : 2 + data[0]]
    if len(chain) > 32 or data[1:2] + data[2 + len(chain) : -20] != b"\0" + mark + _HOLDER:
        raise WireError("an asset is malformed")
    return ether(int.from_bytes(chain, "big"), data[-20:])
