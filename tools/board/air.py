"""Brings a version onto a device over the network: what deploy.py does over the cable.

The device's part is firmware/update.py, at the end of its owner's link: so nobody but the owner
can do this. The device goes on working meanwhile; it restarts when no payment is in flight. Then
it must be reached again, or it goes back to the version before by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from board.console import TakenBack
from board.definitions import BoardError
from board.deploy import Deployed, Progress, Software, bring, check
from board.network import Network
from board.port import Identity

_REST = 15  # seconds that a call waits for the device to be at rest

Open = Callable[[], Network]


class Update:
    """The call `update` of a device, for one connection: a board.deploy.Receiver, as a context."""

    chunk = 896  # with its line an argument of 1024 bytes

    def __init__(self, network: Network) -> None:
        self._network = network

    def __enter__(self) -> Update:
        self._network.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._network.close()

    def call(self, method: str, *arguments: str | int | bytes) -> Any:
        """What firmware/update.py answers. Raises BoardError."""
        words = [str(one) for one in arguments if not isinstance(one, bytes)]
        data = b"".join(one for one in arguments if isinstance(one, bytes))
        line = " ".join((method, *words)).encode() + b"\n" + data
        return json.loads(self._network.call("update", line))


def deploy(
    connect: Open,
    choose: Callable[[str], Software],
    say: Callable[[str], None],
    progress: Progress,
    now: bool = False,
    locked: bool = False,
    patience: float = 120,
) -> Deployed:
    """Bring it there, have the device restart with it, and confirm that it can be reached.

    connect: a fresh Network; choose: the software for an architecture; now: do not wait for the
    end of charging; locked: it is known that the device will wait for its PIN; patience: seconds.
    Raises BoardError; TakenBack when the device runs what it ran before.
    """
    with Update(connect()) as device:
        about = device.call("about")
    before = about["running"]
    identity = Identity(
        tuple(about["python"]), about["mpy"], about["machine"], "", None, None, 0, 0
    )
    say(f"{identity.machine} with {identity.arch}, version {before}")
    if about["locked"] and not locked:
        raise BoardError(
            "the key of this device has a PIN, for which it will wait after the restart: if "
            "somebody is there to type it (board unlock), say --locked"
        )
    software = choose(identity.arch)  # takes a while, so the owner's door is free meanwhile
    check(identity, software)
    files = len(software.files)
    with Update(connect()) as device:
        if software.version == before == about["next"]:
            _confirm(device, about)
            return Deployed(software.version, before, 0, files, files)
        sent = bring(device, software, progress)
        _switch(device, software.version, now, patience, say)
    done = Deployed(software.version, before, sent.total(), files - len(sent), files)
    if not locked:
        _await(connect, done, patience)
    return done


def _confirm(device: Update, about: dict[str, Any]) -> None:
    if about["trial"]:
        device.call("confirm")


def _switch(
    device: Update, version: str, now: bool, patience: float, say: Callable[[str], None]
) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            device.call("switch", version, _REST, *(["now"] if now else []))
            return
        except BoardError as error:
            if "the device is busy" not in str(error):
                raise
            if time.monotonic() > end:
                raise BoardError(
                    f"the device was busy for {patience:g} s, so it was not switched. All of the "
                    "version is there: the same command later, or with --now, makes it run"
                ) from None
            say("the device is busy: waiting for it")


def _await(connect: Open, done: Deployed, patience: float) -> None:
    """Wait until the new version answers, and say so to it."""
    end = time.monotonic() + patience
    trouble = ""
    while time.monotonic() < end:
        try:
            with Update(connect()) as device:
                about = device.call("about")
                if about["running"] == done.version:
                    _confirm(device, about)
                    return
                if about["next"] != done.version:
                    reason = about["failed"] or "it said nothing, or nobody reached it"
                    raise TakenBack(
                        f"version {done.version} does not start: version {about['running']} runs "
                        f"again; it said:\n{reason.strip()}"
                    )
        except TakenBack:
            raise
        except BoardError as error:  # it restarts
            trouble = str(error)
        time.sleep(0.5)
    raise BoardError(
        f"the device has not come back within {patience:g} s ({trouble}). Unless it is reached "
        "within ten minutes (the same command again) it goes back to the version before"
    )
