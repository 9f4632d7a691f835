"""What the owner's `doctor` wants to know of a device that runs: a call of owner_visit.py."""

import asyncio
import json
import os
import sys

from perun.compat import borrowed
from perun.crypto import keccak, secp256k1


async def call(device, _argument):
    """JSON: identity, version, broken, place, crypto, store, as tools/board/doctor.py has them.

    It would not run if its configuration were wrong.
    """
    facts = {"identity": _identity(), "store": _store(device), "crypto": _crypto()}
    versions = borrowed("versions")
    version = facts["version"] = versions.current()[0]
    facts["place"] = getattr(sys.modules.get("main"), "__file__", "main")
    broken = facts["broken"] = []
    if version:
        place = versions.folder(version) + "/"
        if versions.digest(place + versions.MANIFEST)[:10] != version:
            broken.append(versions.MANIFEST)
        for name, sha, _ in versions.listed(place + versions.MANIFEST):
            if versions.digest(place + name) != sha:
                broken.append(name)
            await asyncio.sleep(0)  # a payment may come
    return json.dumps(facts).encode()


def _crypto():
    digest = keccak.keccak256(b"uPerun")
    signature = secp256k1.sign(digest, bytes(31) + b"\x01")
    return [keccak.BACKEND, secp256k1.BACKEND, digest.hex(), signature.hex()]


def _identity():
    """As tools/board/port.py asks for it at the REPL."""
    try:
        import machine

        virtual = getattr(machine, "VIRTUAL", None)
        unique = "".join("%02x" % byte for byte in machine.unique_id())
    except (ImportError, AttributeError):
        virtual = unique = None
    size = os.statvfs("/")
    here = sys.implementation
    return [
        list(here.version[:3]),
        here._mpy,
        here._machine,
        sys.platform,
        virtual,
        unique,
        size[0] * size[3],
        size[0] * size[2],
    ]


def _store(device):
    """[what is wrong or None, is there a key, has it a PIN, how many channels]"""
    client = getattr(device, "client", None)
    if not client:
        return [device.reason, True, False, 0]
    key = client.store.get(b"k")
    return [None, True, len(key) != 32, len(client.channels)]
