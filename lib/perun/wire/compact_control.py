"""Tables of the compact codec for the messages about a link."""

from perun.wire import control_messages as control

KINDS = {}

MESSAGES = {
    0: (control.Ping, "time"),
    1: (control.Pong, "time"),
    2: (control.Shutdown, "text"),
    3: (control.AuthResponse, "proof"),
}
