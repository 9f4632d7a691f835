"""Tables of the compact codec for the messages between a device and its service."""

from perun.model.rules import MAX_ASSETS
from perun.wire import service_messages as service

KINDS = {
    "id_or_all": ("bin", 0, 32, 32),
    "maybe_version": ("optional", "u64", -1),
    "some_params": ("optional", "params", None),
    "watched_state": ("watched_state",),
    "auth": ("record", service.WithdrawalAuth, "u16", "address", "amount", "sig"),
    "auths": ("list", "auth", 0, MAX_ASSETS),
}

# What is rare names the channel by its whole id: the other side may not know the channel.
MESSAGES = {
    48: (service.ServiceInfo, "amount", "address", "assets", "u64"),
    49: (service.ChainEvent, "id", "u8", "u64", "u64"),
    50: (service.FundRequest, "u32", "u8", "params", "state", "sigs", "rows"),
    51: (service.WatchRequest, "u32", "u8", "some_params", "watched_state", "sigs", "auths"),
    52: (service.DisputeRequest, "u32", "id"),
    53: (service.StatusRequest, "u32", "id_or_all"),
    54: (service.Ack, "u32"),
    55: (service.Receipt, "u32", "key", "u64", "id", "sig"),
    56: (
        service.Status,
        "u32",
        "id",
        "u64",
        "id",
        "u8",
        "maybe_version",
        "u64",
        "amounts",
        "maybe_version",
    ),
    57: (service.Error, "u32", "u8", "text"),
    58: (service.StateRequest, "u32", "id"),
    59: (service.HeldState, "u32", "state", "sigs"),
}
