"""Which modules a device always needs together."""

# Bundle -> the modules in it. A bundle has the name of one of them, and applications know it by
# that. What is needed seldom or for a moment stays outside: it costs memory only then.
BUNDLES = {
    "perun.client": (
        "perun.model",
        "perun.model.rules",
        "perun.chain.abi",
        "perun.chain.account",
        "perun.chain.address",
        "perun.chain.ethereum",
        "perun.chain.form",
        "perun.chain.nonce",
        "perun.wire",
        "perun.wire.kinds",
        "perun.wire.messages",
        "perun.wire.msgpack",
        "perun.wire.service_messages",
        "perun.wire.compact",
        "perun.wire.compact_service",
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
    "links": ("charger", "console", "links", "tariff"),
}

# Names of perun.compat with values that are known before a device runs: what would only run
# elsewhere is left out.
KNOWN = {"MICROPYTHON": True}
