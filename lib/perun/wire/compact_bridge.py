"""Tables of the compact codec for what a service relays to go-perun peers."""

from perun.wire import bridge_messages as bridge

KINDS = {}

MESSAGES = {
    60: (bridge.Attach, "u32", "text"),
    61: (bridge.PeerState, "text", "flag", "text"),
    62: (bridge.Relay, "text", "data"),
}
