"""What the owner of devices has on his computer: his key, and which devices are his.

The key and the addresses of the devices lie in the user's configuration (UPERUN_HOME, or
~/.config/uperun); the key's file is readable for him alone. A device is known by its address: from
when it was provisioned here, or from --device. Whoever else answers at its place is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from adoption import keys

from board.definitions import BoardError

_VARIABLE = "UPERUN_OWNER_KEY"


def home() -> Path:
    """The folder of what the owner has."""
    place = os.environ.get("UPERUN_HOME")
    if place:
        return Path(place)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uperun"


def key(create: bool = False) -> keys.Key:
    """The owner's key. create: make one if there is none. Raises BoardError."""
    try:
        if create:
            home().mkdir(mode=0o700, parents=True, exist_ok=True)
        return keys.load(home() / "owner.key", _VARIABLE, create)
    except (keys.BadKey, OSError) as error:
        raise BoardError(
            f"the owner's key: {error}. board provision --control makes one; devices that are "
            "to obey it must have its address in their configuration"
        ) from None


class Known:
    """Addresses of the owner's devices -> where each answered last, or None."""

    def __init__(self) -> None:
        self._path = home() / "devices.json"
        self._devices = self._read()

    def _read(self) -> dict[str, str | None]:
        try:
            found = json.loads(self._path.read_text())
            return {str(one): found[one] for one in found}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise BoardError(f"{self._path}: {error}: correct it, or remove it") from None

    def add(self, address: str, place: str | None = None) -> None:
        """This device is the owner's; place: HOST:PORT where it answers."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)  # another tool may have found one meanwhile
                self._add(address, place)
            finally:
                os.close(folder)
        except OSError as error:
            raise BoardError(f"{self._path}: {error}") from None

    def _add(self, address: str, place: str | None) -> None:
        before = self._read()
        self._devices = {
            one: None if place and there == place else there for one, there in before.items()
        }
        self._devices[address] = place or before.get(address)
        if self._devices != before:
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            new.write_text(json.dumps(self._devices, indent=1) + "\n")
            new.rename(self._path)

    def expected(self, place: str) -> str | None:
        """The device that answered at this place before."""
        return next((one for one, there in self._devices.items() if there == place), None)

    def check(self, place: str, address: str) -> None:
        """Is this device, which answered at the place, the right one? Raises BoardError."""
        before = self.expected(place)
        if before not in (None, address):
            raise BoardError(
                f"{place}: here was the device {before}, and now there is {address}: somebody in "
                f"between, or another device at this place. If that is right: --device {address}"
            )
        if address not in self._devices:
            raise BoardError(
                f"{place}: the device {address} is unknown here. Compare its address (board "
                f"status --port ...), and if it is right: --device {address}"
            )
