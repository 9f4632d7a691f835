"""A store without a file: for tests, and for keys that need not last."""


class MemoryStore:
    """The interface of perun.store.Store."""

    def __init__(self):
        self._values = {}

    def keys(self):
        """All keys that have a value."""
        return list(self._values)

    def get(self, key):
        """The value of `key`, or None."""
        return self._values.get(key)

    def put(self, key, value):
        """Store `value` under `key`."""
        self._values[key] = value

    def delete(self, key):
        """Forget `key`."""
        self._values.pop(key, None)

    def close(self):
        """Nothing to give back."""
