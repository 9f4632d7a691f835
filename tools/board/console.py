"""A running device's console, over its serial port or the network: commands in, JSON events out.

Whatever else comes over the line, boot messages, half a line after the cable was plugged in,
output of the REPL, is noise: it is counted and passed over.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import serial

from board.definitions import BoardError

Event = dict[str, Any]

_PROMPT = b">>> "
_PAGE = 256  # bytes that flash programs at once
_LONGEST = 65536  # bytes without an end of line: no console
_ENDED = (
    "no device runs here: the board is at its REPL (board restart runs it, board deploy installs "
    "it)"
)


class TakenBack(BoardError):
    """A version did not start, and the board runs the one before it again."""


class NotRunning(BoardError):
    """The board is there, and no device runs on it."""


class Line(Protocol):
    """What carries a console. name: for people; open() raises BoardError, the others OSError."""

    name: str

    def open(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End; may be repeated."""

    def read(self) -> bytes:
        """What has come, perhaps nothing after a moment."""

    def write(self, data: bytes) -> None:
        """Send."""


class _Port(serial.Serial):  # type: ignore[misc]
    """A port of which what has come before it was opened can be read, too."""

    def _reset_input_buffer(self) -> None:
        pass


class Serial:
    """The line at a serial port. past: whether what has come before it is opened counts."""

    def __init__(self, port: str, past: bool = False) -> None:
        self.name = port
        self._kind = _Port if past else serial.Serial
        self._serial: serial.Serial | None = None

    def open(self) -> None:
        """Open the port, for nobody else."""
        try:
            self._serial = self._kind(self.name, 115200, timeout=0.1, exclusive=True)
        except (OSError, serial.SerialException, ValueError) as error:
            raise BoardError(f"{self.name}: cannot be opened ({error})") from None

    def close(self) -> None:
        """Close it."""
        if self._serial is not None:
            self._serial.close()
            self._serial = None

    def read(self) -> bytes:
        """What has come."""
        assert self._serial is not None
        return bytes(self._serial.read(max(1, self._serial.in_waiting)))

    def write(self, data: bytes) -> None:
        """Send."""
        assert self._serial is not None
        self._serial.write(data)


class Console:
    """The console at the end of a line, as a context. line: a Line, or the name of a serial port;
    noise: lines that were passed over."""

    def __init__(self, line: Line | str) -> None:
        self._line = Serial(line) if isinstance(line, str) else line
        self.port = self._line.name
        self.noise = 0
        self.last_noise = ""
        self._buffer = b""

    def __enter__(self) -> Self:
        self._line.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def send(self, command: str) -> None:
        """Type a line."""
        try:
            self._line.write(command.encode() + b"\r\n")
        except (OSError, serial.SerialException) as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> BoardError:
        where = "look at the cable" if isinstance(self._line, Serial) else "try again"
        return BoardError(f"{self.port}: the connection broke ({error}): {where}")

    def events(self, timeout: float | None) -> Iterator[Event]:
        """What the device says, until the time is over. Text of the REPL is {"event": "noise"}."""
        end = None if timeout is None else time.monotonic() + timeout
        while end is None or time.monotonic() < end:
            try:
                self._buffer += self._line.read()
            except (OSError, serial.SerialException) as error:
                raise self._broken(error) from None
            while b"\n" in self._buffer:
                line, _, self._buffer = self._buffer.partition(b"\n")
                yield self._parse(line)
            if len(self._buffer) > _LONGEST:
                self._buffer = b""
            if self._buffer.endswith(_PROMPT):
                self._buffer = b""
                yield {"event": "prompt"}

    def _parse(self, line: bytes) -> Event:
        # Noise may stand before an event in its line, as a prompt does.
        text = line.decode(errors="replace").strip()
        at = text.find("{")
        if at >= 0:
            try:
                event = json.loads(text[at:])
                if isinstance(event, dict) and isinstance(event.get("event"), str):
                    return event
            except ValueError:
                pass
        if text:
            self.noise += 1
            self.last_noise = text
        return {"event": "noise", "text": text}

    def until(
        self, matches: Callable[[Event], bool], timeout: float, what: str, restarting: bool = False
    ) -> Event:
        """The first event that matches. Raises NotRunning at a prompt, BoardError.

        restarting: a prompt is no surprise.
        """
        for event in self.events(timeout):
            if matches(event):
                return event
            if event["event"] == "prompt" and not restarting:
                raise NotRunning(f"{self.port}: {_ENDED}")
        noise = f"; it said: {self.last_noise[:200]!r}" if self.last_noise else ""
        raise BoardError(f"{self.port}: waited {timeout:g} s for {what}{noise}")

    def ask(self, command: str, event: str, timeout: float = 10) -> Event:
        """Type a command and wait for its answer, or for its error. Raises BoardError."""
        name = command.split(maxsplit=1)[0]
        self.send(command)

        def matches(one: Event) -> bool:
            failed = one["event"] == "error" and one.get("command") == name
            return one["event"] in (event, "commands") or failed

        answer = self.until(matches, timeout, f"the answer to {name}")
        if answer["event"] == "error" and event != "error":
            raise BoardError(f"{name}: {answer.get('text')}")
        if answer["event"] == "commands" and event != "commands":
            known = ", ".join(answer.get("known", ()))
            raise BoardError(f"this device does not know {name}: it knows {known}")
        return answer

    def status(self, timeout: float = 10) -> Event:
        """How things stand."""
        self.send("")  # what stood half typed in the line is none of ours
        try:
            return _with_wear(self.ask("status", "status", timeout))
        except NotRunning:
            raise
        except BoardError:
            if re.match(r"(status|commands) \w+=", self.last_noise):
                raise BoardError(
                    'the console of this device is for people: set "console": "json" in its '
                    "config.json (board provision does)"
                ) from None
            raise

    def stop(self, patience: float = 10) -> bool:
        """Ask the device to end, so that its relay opens and its store closes. True if one did."""
        self.send("")
        self.send("stop")
        for event in self.events(patience):
            if event["event"] == "stopped":
                return True
            if event["event"] == "prompt":
                return False
            if event["event"] == "noise" and str(event["text"]).startswith("stopped"):
                return True
        return False


def _with_wear(status: Event) -> Event:
    """Names for what has worn the flash, which the device only numbers."""
    match status.get("store"):
        case ["FlashJournal", int(programmed), int(erases)]:
            wear = {"kind": "flash", "programs": programmed // _PAGE, "erases": erases}
        case ["Journal", int(written), int(rewrites)]:
            wear = {"kind": "file", "written": written, "rewrites": rewrites}
        case _:
            return status
    return {**status, "store": wear}


def stop(port: str) -> bool:
    """End the device at this port, if one runs and listens."""
    with Console(port) as console:
        return console.stop()


def started(port: str, timeout: float = 60) -> Event:
    """Wait until a device that was restarted says how it is: ready, locked, error, safe mode; or
    repl, when from now on it has this port for its service and says nothing more.

    Raises BoardError for a program that died or says nothing, with its last lines, and TakenBack.
    """
    seen: list[str] = []
    back = ""
    with Console(Serial(port, past=True)) as console:
        for event in console.events(timeout):
            if back and event["event"] != "noise":
                break
            if event["event"] in ("ready", "locked", "safe mode", "error", "repl"):
                return event
            if event["event"] == "noise" and event["text"]:
                seen.append(str(event["text"]))
                found = re.search(r"uPerun: \w+ does not start: back to (\w+)", seen[-1])
                if found:
                    back = found[1]
                    continue
                found = re.match(r"(ready|locked|safe mode|error|repl) (.*)", str(event["text"]))
                if found:
                    return {"event": found[1], "text": found[2]}
            if event["event"] == "prompt" and any("Error" in line for line in seen):
                break
    tail = "\n".join(seen[-12:]) or "nothing"
    if back:
        raise TakenBack(f"it does not start: version {back} runs again; it said:\n{tail}")
    raise BoardError(f"the device does not start; it said:\n{tail}")
