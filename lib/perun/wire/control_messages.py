"""What peers say to each other about the link itself (go-perun's words). Each has one field."""

from collections import namedtuple

Ping = namedtuple("Ping", ("created",))  # Unix time in nanoseconds, below 2**63
Pong = namedtuple("Pong", ("created",))
Shutdown = namedtuple("Shutdown", ("reason",))
AuthResponse = namedtuple("AuthResponse", ("signature",))  # go-perun's handshake; b"" in gen1
