"""What is put together for a device: from which folders, for which processor, and what becomes one
module because it is always needed together."""

# Bundle -> the modules in it. A bundle has the name of one of them, and applications know it by
# that. What is needed seldom or for a moment stays outside: it costs memory only then.
BUNDLES = {
    "perun.client": (
        "perun.model",
        "perun.model.rules",
        "perun.chain.account",
        "perun.chain.address",
        "perun.chain.ethereum",
        "perun.chain.form",
        "perun.wire",
        "perun.wire.kinds",
        "perun.wire.messages",
        "perun.wire.msgpack",
        "perun.wire.service_messages",
        "perun.wire.compact",
        "perun.wire.frame",
        "perun.channel",
        "perun.channel.machine",
        "perun.link",
        "perun.link.io_micropython",
        "perun.link.tcp",
        "perun.adoption.session",
        "perun.store",
        "perun.client",
        "perun.client.guardian",
        "perun.client.handle",
        "perun.client.peer",
        "perun.client.records",
    ),
    "perun.crypto.secp256k1": (
        "perun.crypto._secp256k1_programs",
        "perun.crypto._secp256k1_machine",
        "perun.crypto.secp256k1",
    ),
    # Once per channel
    "perun.channel.opening": (
        "perun.chain.nonce",
        "perun.model.opening",
        "perun.channel.opening",
    ),
    "perun.chain.encodings": ("perun.chain.abi", "perun.chain.encodings"),
    # After a restart, and in a dispute
    "perun.wire.compact_inquiry": ("perun.wire.inquiry_messages", "perun.wire.compact_inquiry"),
    # Other links, stores and peers
    "perun.link.serial": (
        "perun.wire.serial",
        "perun.link.serial_micropython",
        "perun.link.serial",
    ),
    "perun.store.flash": ("perun.store.delta", "perun.store.flash"),
    "perun.client.foreign": ("perun.channel.foreign", "perun.client.foreign"),
    "perun.wire.protobuf": ("perun.wire.protobuf_fields", "perun.wire.protobuf"),
    "perun.wire.compact_bridge": ("perun.wire.bridge_messages", "perun.wire.compact_bridge"),
    "perun.wire.compact_control": ("perun.wire.control_messages", "perun.wire.compact_control"),
    "perun.wire.compact_subchannel": (
        "perun.wire.subchannel_messages",
        "perun.wire.compact_subchannel",
    ),
    # The owner's visit
    "owner_visit": ("perun.link.owner", "owner_visit"),
    "links": ("charger", "console", "links", "tariff"),
}

# Modules that no application of a device has a use for, and that are not found there by their own
# names: members of bundles, which are where they are, and two for computers and tests.
INNER = (
    "perun.link.memory",
    "perun.link.visitor",
    "perun.model.rules",
    "perun.model.opening",
    "perun.chain.abi",
    "perun.chain.form",
    "perun.chain.nonce",
    "perun.wire.kinds",
    "perun.wire.msgpack",
    "perun.wire.service_messages",
    "perun.wire.inquiry_messages",
    "perun.wire.control_messages",
    "perun.wire.subchannel_messages",
    "perun.wire.bridge_messages",
    "perun.wire.protobuf_fields",
    "perun.wire.frame",
    "perun.wire.serial",
    "perun.channel.machine",
    "perun.channel.foreign",
    "perun.link.io_micropython",
    "perun.link.serial_micropython",
    "perun.link.owner",
    "perun.adoption.session",
    "perun.store.delta",
    "perun.client.guardian",
    "perun.client.peer",
    "perun.crypto._secp256k1_programs",
    "perun.crypto._secp256k1_machine",
)

# Modules in which a text that names a kind of value (an entry of their KINDS, or what it begins
# with) means nothing else: on a device each such name is a number, which takes no memory.
KINDS = (
    "perun.wire.kinds",
    "perun.wire.compact",
    "perun.wire.compact_control",
    "perun.wire.compact_inquiry",
    "perun.client.records",
    "perun.client.keeping",
    "perun.wire.compact_bridge",
    "perun.wire.compact_subchannel",
    "perun.wire.witness_messages",
    "perun.wire.protobuf",
    "perun.wire.protobuf_asset",
    "perun.wire.protobuf_gen1",
    "perun.wire.protobuf_gen2",
    "perun.wire.protobuf_subchannel",
)

# Names of perun.compat with values that are known before a device runs: what would only run
# elsewhere is left out.
KNOWN = {"MICROPYTHON": True}

# mpy-cross's names for the processors that native modules are made for: a computer, Arm's
# Cortex-M, ESP32 (S2, S3), ESP32-C3 and -C6.
ARCHITECTURES = (
    *("x64", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensawin", "rv32imc"),
)


def roots(arch: str) -> tuple[str, ...]:
    """The folders with what goes on a device; the unix port is a board, too."""
    return ("lib", "firmware", *(("boards/UNIX",) if arch == "x64" else ()))


def runs_on(module: str, arch: str) -> bool:
    """Whether an architecture of mpy-cross has use for a module: not for CPython's. Native ones
    come in machine code for Arm, with UMAAL where the core has it, in viper for the others, and in
    viper for words of 64 bits (lib/perun/crypto/README.md)."""
    if module.endswith("_cpython"):
        return False
    if arch.startswith("armv"):
        other = "_secp256k1_thumb" if arch.startswith("armv7em") else "_umaal"
        return not module.endswith(("_viper", "_viper64", other))
    other = "_secp256k1_viper" if arch == "x64" else "_viper64"
    return not module.endswith(("_thumb", "_umaal", other))
