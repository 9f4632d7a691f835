"""What generation 2 of go-perun's messages has of its own: maps of addresses, backends, aux."""

from perun.model import BACKEND_ETHEREUM, Allocation, Asset
from perun.wire import WireError
from perun.wire.kinds import KINDS as PRIMITIVE
from perun.wire.kinds import check_allocation, check_bin
from perun.wire.protobuf_asset import check_assets, dump_asset, load_asset

_MARK = b"\1\0\0\0"  # Ethereum's backend id inside an asset, little-endian


def _load(backends, assets, balances, locked):
    if len(backends) != len(assets):
        raise WireError("one backend per asset is expected")
    both = zip(backends, assets)
    return Allocation(tuple([_load_asset(*pair) for pair in both]), balances, locked)


def _load_asset(backend, data):
    backend = int.from_bytes(backend, "big")
    if backend == BACKEND_ETHEREUM:
        return load_asset(data, _MARK)
    return Asset(0, check_bin(data, PRIMITIVE["holder"]), backend)


def _dump(allocation):
    check_assets(allocation.assets)
    backends = tuple([a.backend.to_bytes(4, "big") for a in allocation.assets])
    assets = tuple([_dump_asset(a) for a in allocation.assets])
    return (backends, assets, allocation.balances, allocation.locked)


def _dump_asset(asset):
    if asset.backend == BACKEND_ETHEREUM:
        return dump_asset(asset, _MARK)
    return asset.holder


KINDS = {
    "address": ("map", 20, 20, 1),
    "wire_address": ("map", 1, 1024, 1),
    "address_map": ("wrap", "address_entries"),
    "address_entries": ("list", "address_entry", 1, 1),
    "address_entry": ("message", tuple, None, 0, ((1, "backend"), (2, "data"))),
    "backend": ("bin", 4, 4, 1),
    "backends": ("list", "backend", 1, 1024),
    "params_aux": ("zeros", 256),
    "allocation": ("convert", "allocation_fields", _load, _dump, Allocation, check_allocation),
    "allocation_fields": (
        "message",
        tuple,
        None,
        0,
        ((1, "backends"), (2, "assets"), (3, "rows"), (4, "locked")),
    ),
}
