"""What must outlive a reset: keys and channels, in an append-only journal on flash."""


class StoreError(OSError):
    """The store cannot be read or written. Nothing may be signed then."""
