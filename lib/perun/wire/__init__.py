"""Messages, codecs and frames: what travels between devices, and from a device to its service."""


class WireError(ValueError):
    """Bytes from the wire are no valid message, or a message cannot be encoded."""
