"""The device's console: what happens goes out line by line, commands come in the same way.

"text" is for people; "json" is for tools: one object per line. Amounts are decimal text there,
because many a JSON reader loses digits of large numbers. Never on the console: keys, signatures
(but for the command `export`, which is what it is for).
"""

import asyncio
import json
import sys

from perun.compat import MICROPYTHON, const

_MAX_LINE = const(120)


def _plain(value):
    """`value` as JSON has it: bytes as hexadecimal digits, large numbers as text."""
    if isinstance(value, (bytes, bytearray)):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not -(1 << 53) < value < 1 << 53:
        return str(value)
    return value


def _words(value):
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " ".join("%s=%s" % (name, _words(value[name])) for name in sorted(value))
    if isinstance(value, list):
        return "[" + ", ".join(_words(item) for item in value) + "]"
    return str(value)


class Console:
    """mode: "text" or "json"; write: function that takes a line."""

    def __init__(self, mode="text", write=print):
        self._json = mode == "json"
        self._write = write
        self.commands = {}  # name -> coroutine function of the words that follow
        self.copy = None  # a function that gets each event, too, as a line of JSON

    def event(self, event, **fields):
        """Something happened. event: a text; fields: values, also bytes, lists and dicts."""
        fields = _plain(fields)
        if not self._json:
            self._write(("%s %s" % (event, _words(fields))).strip())
            if not self.copy:
                return
        fields["event"] = event
        line = json.dumps(fields)
        if self._json:
            self._write(line)
        if self.copy:
            self.copy(line)

    async def run(self, reader=None):
        """Read commands until the input ends. reader: has `await read(n)`; None: the terminal."""
        reader = reader or _terminal()
        line = b""
        while True:
            char = await reader.read(1)
            if not char:
                return
            if char not in b"\r\n":
                line += char if len(line) <= _MAX_LINE else b""
                continue
            if line:
                asyncio.create_task(self.obey(line))  # `status` must not wait for `close`
            line = b""

    async def obey(self, line):
        """A line that was typed, without its end."""
        try:
            words = line.decode().split()
        except UnicodeError:
            words = ["?"]
        if len(line) > _MAX_LINE or not words or words[0] not in self.commands:
            self.event("commands", known=sorted(self.commands))
            return
        try:
            await self.commands[words[0]](*words[1:])
        except Exception as error:  # a wrong command must not end the console
            self.event("error", command=words[0], text=str(error) or repr(error))


def _terminal():
    if MICROPYTHON:
        return asyncio.StreamReader(sys.stdin.buffer)
    raise NotImplementedError("give a reader: only MicroPython polls the terminal")
