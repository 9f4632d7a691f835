"""Messages, codecs and frames: what travels between devices, and between a device and its service."""


class WireError(ValueError):
    """Bytes from the wire are no valid message, or a message cannot be encoded."""
