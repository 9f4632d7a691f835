"""What generation 1 of go-perun's messages has of its own: plain addresses and assets."""

from perun.model import BACKEND_ETHEREUM, Allocation
from perun.wire import WireError
from perun.wire.kinds import check_allocation
from perun.wire.protobuf_asset import check_assets, dump_asset, load_asset


def _load(assets, balances, locked):
    return Allocation(tuple([load_asset(a, b"") for a in assets]), balances, locked)


def _dump(allocation):
    check_assets(allocation.assets)
    for asset in allocation.assets:
        if asset.backend != BACKEND_ETHEREUM:
            raise WireError("generation 1 has assets of Ethereum only")
    assets = tuple([dump_asset(a, b"") for a in allocation.assets])
    return (assets, allocation.balances, allocation.locked)


KINDS = {
    "address": ("bin", 20, 20, 1),
    "wire_address": ("bin", 1, 1024, 1),
    "aux": ("bin", 0, 0, 1),
    "params_aux": ("zeros", 0),
    "allocation": ("convert", "allocation_fields", _load, _dump, Allocation, check_allocation),
    "allocation_fields": ("message", tuple, None, 0, ((1, "assets"), (2, "rows"), (3, "locked"))),
}
