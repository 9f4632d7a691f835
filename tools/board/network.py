"""The line to a device over the network: through the door of its owner (firmware/control.py)."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import Any

from adoption import encoding, keys, verify
from eth_utils import is_address, to_canonical_address, to_checksum_address
from perun.link import LinkClosed, LinkError, owner, tcp, visitor
from perun.wire.compact import Compact, Contexts

from board.definitions import BoardError
from board.owner import Known, key

PORT = 5751  # unless something else is said
_LIMIT = 512  # bytes of a record from a device
_PATIENCE = 25  # seconds until a door that is busy is given up
_WAIT = 0.1  # seconds that read() waits
_PING = 10  # seconds between two pings
_ANSWER = 60  # seconds for a call


class Network:
    """The console of a device at HOST[:PORT], through the door of its owner.

    device: the address that it must have; without it, one of the owner's devices.
    """

    def __init__(self, place: str, device: str | None = None) -> None:
        host, _, port = place.rpartition(":") if ":" in place else (place, "", str(PORT))
        host = host.strip("[]")
        if not host or not port.isdigit():
            raise BoardError(f"{place}: a device is at HOST or HOST:PORT")
        if device is not None and not is_address(device):
            raise BoardError(f"{device}: --device is an address, 0x and 40 digits")
        self.name = f"{host}:{port}"
        self.address = ""  # of the device, once it is open
        self._host, self._port = host, int(port)
        self._device = device and to_checksum_address(device)
        self._runner: asyncio.Runner | None = None
        self._sealed: owner.Sealed | None = None
        self._piece = b""  # of a text that comes in several records
        self._heard = self._pinged = 0.0
        self._answer: tuple[bytes, bytes] | None = None

    def open(self) -> None:
        """Connect and prove who we are. Raises BoardError."""
        own = key()
        self._runner = asyncio.Runner()
        try:
            self._run(self._enter(own))
        except BaseException:
            self.close()
            raise
        self._heard = self._pinged = time.monotonic()

    async def _enter(self, own: keys.Key) -> None:
        known = Known()
        expected = self._device or known.expected(self.name)
        end = time.monotonic() + _PATIENCE
        while True:
            link = None
            try:
                link = await tcp.connect(self._host, self._port, _LIMIT)
                device = to_canonical_address(self._device) if self._device else None
                codec = Compact(Contexts())
                self._sealed, hello = await visitor.enter(
                    link, codec, _Chain, own, device, secrets.token_bytes
                )
                break
            except (LinkError, ValueError) as error:
                if link is not None:
                    link.close()
                if "busy" in str(error) and time.monotonic() < end:
                    await asyncio.sleep(1)
                    continue
                raise self._refused(error, own, expected) from None
            except BaseException:
                if link is not None:
                    link.close()
                raise
        self.address = to_checksum_address(hello.address)
        if not self._device:
            known.check(self.name, self.address)
        known.add(self.address, self.name)

    def _refused(self, error: Exception, own: keys.Key, expected: str | None) -> BoardError:
        text = str(error).removeprefix("handshake: ")
        ours = to_checksum_address(own.address)
        if "another address answered" in text:
            text = f"another device answered than {expected}"
        elif text == "stranger":
            text = (
                f"this device has another owner: our key is that of {ours}. It obeys us when its "
                "configuration says so (board provision --control)"
            )
        elif text == "busy":
            text = "busy: somebody else is connected, or strangers crowd at its door; try again"
        elif text == "memory":
            text = (
                "the device has too little memory left to let anybody in; it goes on with its work"
            )
        elif isinstance(error, LinkClosed):
            text = "it hangs up, as it does when strangers crowd at its door; try again"
        return BoardError(f"{self.name}: {text}")

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._runner is not None
        return self._runner.run(work)

    def close(self) -> None:
        """Hang up."""
        sealed, self._sealed = self._sealed, None
        runner, self._runner = self._runner, None
        if runner is not None:
            if sealed is not None:
                runner.run(_hang_up(sealed))
            runner.close()

    def write(self, line: bytes) -> None:
        """Type a line. Raises OSError."""
        line = line.strip()
        if line:
            self._send(owner.LINE + line)

    def _send(self, body: bytes) -> None:
        assert self._sealed is not None
        self._run(self._sealed.send(body))

    def read(self) -> bytes:
        """Whole lines of what the device says, perhaps none. Raises OSError."""
        lines = b""
        record = self._run(self._receive())
        now = time.monotonic()
        if record is not None:
            self._heard = now
            kind, text = record[:1], self._piece + record[1:]
            if kind.isupper():
                self._piece = text
            else:
                self._piece = b""
                if kind == owner.EVENT:
                    lines = text + b"\n"
                elif kind in (owner.ANSWER, owner.FAILURE):
                    self._answer = kind, text
        if now - self._heard > owner.SILENCE:
            raise LinkError("the device is silent")
        if now - self._pinged > _PING:
            self._pinged = now
            self._send(owner.PING)
        return lines

    async def _receive(self) -> bytes | None:
        assert self._sealed is not None
        try:
            return await asyncio.wait_for(self._sealed.recv(), _WAIT)
        except TimeoutError:
            return None

    def call(self, name: str, argument: bytes = b"", timeout: float = _ANSWER) -> bytes:
        """What a call of firmware/owner_visit.py gives; events meanwhile are dropped.

        argument: at most 1024 bytes. Raises BoardError with what the device says is wrong.
        """
        end = time.monotonic() + timeout
        self._answer = None
        try:
            self._send(owner.CALL + name.encode() + b" " + argument)
            while self._answer is None:
                self.read()
                if time.monotonic() > end:
                    raise BoardError(f"{self.name}: no answer to {name} within {timeout:g} s")
        except OSError as error:
            raise BoardError(f"{self.name}: the connection broke ({error})") from None
        kind, text = self._answer
        if kind == owner.FAILURE:
            raise BoardError(f"{name}: {text.decode(errors='replace')}")
        return text


async def _hang_up(sealed: owner.Sealed) -> None:
    sealed.close()
    await asyncio.sleep(0)


class _Chain:
    """Signatures, as the handshake wants them."""

    @staticmethod
    def sign_bytes(account: keys.Key, data: bytes) -> bytes:
        return account.sign_bytes(data)

    @staticmethod
    def verify_bytes(address: bytes, data: bytes, sig: bytes) -> bool:
        return verify.signed_by(address, encoding.keccak(data), sig)
