"""An update over the air: the owner brings another version through his link (owner_visit.py).

An argument is a line of words, and for a piece a line feed and its bytes. Answers are JSON.

    about                         what the device is and runs, see _about
    begin SHA-256 SIZE            and wanted, piece NAME OFFSET, finish: see receiver.py
    switch VERSION SECONDS        it runs from the next start on; the device restarts when it is at
                                  rest. SECONDS: how long to wait for that; with "now" behind it
                                  neither the end of charging is waited for, nor longer
    confirm                       the owner reaches the new version: without it the device goes
                                  back (trial.py)

At rest: no channel waits for a signature, none is being opened, and the application is not
"charging" in its status. (What is in flight is stored, and goes on after the restart: waiting is a
courtesy.) Loaded for the owner's first call of it.
"""

import asyncio
import json
import sys

import receiver
import versions
from perun.channel import FUNDING, SIGNING
from perun.compat import borrowed

for _name in ("receiver", "versions"):
    sys.modules.pop(_name)

_PAUSE = 0.2  # seconds
_LONGEST = 20  # seconds that a call may take
_TEXT = 400  # characters of a traceback
_taking = None  # the Receiver


async def call(device, argument):
    """What the owner wants. Raises ValueError and OSError with what is wrong."""
    head, _, data = argument.partition(b"\n")
    method, *words = head.decode().split()
    if method not in _CALLS:
        raise ValueError("update knows no " + method)
    feed = getattr(device, "feed", None)
    if feed:
        feed()
    return json.dumps(await _CALLS[method](device, words, data)).encode()


def _store(device):
    """The open store; None in safe mode."""
    client = getattr(device, "client", None)
    return client and client.store


async def _about(device, _words, _data):
    """running, next, before: versions; trial; failed: why one did not start, or None; locked:
    whether it will wait for a PIN after a start; python, mpy, machine: of sys.implementation."""
    here = sys.implementation
    running = [place[len(versions.ROOT) + 1 :] for place in sys.path if versions.ROOT in place]
    version, before = versions.current()
    store = _store(device)
    return {
        "running": running[0] if running else None,
        "next": version,
        "before": before,
        "trial": versions.on_trial(),
        "failed": _failed(),
        "locked": bool(store) and len(store.get(b"k")) != 32,
        "python": list(here.version[:3]),
        "mpy": here._mpy,
        "machine": here._machine,
    }


def _failed():
    try:
        with open(versions.ROOT + "/failed") as file:
            return file.read(_TEXT)
    except OSError:
        return None


async def _begin(device, words, _data):
    global _taking
    if not _allowed():
        raise ValueError(
            'updates over the network are off: "update": true in the section "control" of '
            "config.json (board provision --control ... --updates) lets you"
        )
    if not versions.current()[0]:
        raise ValueError("this device does not run what board deploy wrote: it needs the cable")
    _taking = receiver.Receiver(_store(device))
    return _taking.begin(words[0], int(words[1]))


def _allowed():
    with open("config.json") as file:
        return json.load(file)["control"].get("update") is True


def _taken():
    if not _taking:
        raise ValueError("no update has begun")
    return _taking


async def _wanted(_device, _words, _data):
    return _taken().wanted()


async def _piece(_device, words, data):
    return _taken().piece(words[0], int(words[1]), data)


async def _finish(_device, _words, _data):
    return _taken().finish()


async def _switch(device, words, _data):
    version = _taken().finish()
    if words[0] != version:
        raise ValueError("the version that has come is " + version)
    left, now = min(int(words[1]), _LONGEST), words[2:] == ["now"]
    while not _at_rest(device, now) and left > 0:
        left -= _PAUSE
        await asyncio.sleep(_PAUSE)
    if not now and not _at_rest(device, now):
        raise ValueError("the device is busy")
    versions.switch(version, _store(device), True)
    asyncio.create_task(_restart(device, now))
    if hasattr(device, "console"):  # not in safe mode
        device.console.event("update", version=version)
    return version


async def _confirm(_device, _words, _data):
    versions.confirm()
    return versions.current()[0]


_CALLS = {
    "about": _about,
    "begin": _begin,
    "wanted": _wanted,
    "piece": _piece,
    "finish": _finish,
    "switch": _switch,
    "confirm": _confirm,
}


def _at_rest(device, now):
    """May the device restart? now: even though it is charging."""
    client = getattr(device, "client", None)
    if not client:
        return True  # safe mode
    for channel in client.channels.values():
        if channel.phase < FUNDING or channel.phase == SIGNING:
            return False
    return now or not device.app.status().get("charging")


async def _restart(device, now):
    await asyncio.sleep(1)  # the answer goes out
    while not now and not _at_rest(device, now):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(_PAUSE)
    borrowed("commands").restart(device)
