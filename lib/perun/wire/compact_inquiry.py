"""Tables of the compact codec for what a device asks its service now and then."""

from perun.wire import inquiry_messages as inquiry

KINDS = {
    "id_or_all": ("bin", 0, 32, 32),
    "maybe_version": ("optional", "u64", -1),
}

# These name the channel by its whole id: the other side may not know the channel.
MESSAGES = {
    52: (inquiry.DisputeRequest, "u32", "id"),
    53: (inquiry.StatusRequest, "u32", "id_or_all"),
    56: (
        inquiry.Status,
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
    58: (inquiry.StateRequest, "u32", "id"),
    59: (inquiry.HeldState, "u32", "state", "sigs"),
}
