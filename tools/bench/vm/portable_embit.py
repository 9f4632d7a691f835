"""The same work by embit's portable secp256k1. Runs inside the VM.

    micropython portable_embit.py SAMPLES KEY OPERATION COUNT [weigh]

KEY is embit's util/key.py as it is published. MicroPython lacks two things that it uses, hmac and
int.bit_length: they are supplied here. Its recovery needs still more, so it is not measured.
"""

import gc
import hashlib
import json
import sys


class _Hmac:
    """What embit asks of Python's hmac."""

    def __init__(self, key: bytes, message: bytes, _: str) -> None:
        key = key + bytes(64 - len(key))
        inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in key]) + message).digest()
        self._outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in key]) + inner)

    def digest(self) -> bytes:
        return self._outer.digest()

    new = None


class _Module:
    new = _Hmac


def _load(path: str) -> dict:  # type: ignore[type-arg]
    """The names of embit's module."""
    with open(path) as file:
        text = file.read().replace("import hmac\n", "")
    for name in ("r", "s"):
        text = text.replace(name + ".bit_length()", "bit_length(" + name + ")")
    names = {"__name__": "key", "hmac": _Module, "bit_length": _bit_length}
    exec(text, names)
    return names


def _bit_length(number: int) -> int:
    return len(bin(number)) - 2


def _der(signature: bytes) -> bytes:
    """r and s as embit reads and writes them."""
    numbers = b""
    for at in (0, 32):
        number = int.from_bytes(signature[at : at + 32], "big")
        octets = number.to_bytes((_bit_length(number) + 8) // 8, "big")
        numbers += bytes([2, len(octets)]) + octets
    return bytes([0x30, len(numbers)]) + numbers


def main(path: str, source: str, name: str, count: str, weigh: str = "") -> None:
    """Do the operation `count` times."""
    with open(path) as file:
        samples = json.load(file)
    embit = _load(source)
    secret, public = embit["ECKey"](), embit["ECPubKey"]()
    secret.set(bytes.fromhex(samples["secret"]), False)
    public.set(b"\x04" + bytes.fromhex(samples["public"]))
    signed = [
        (bytes.fromhex(digest), _der(bytes.fromhex(signature)))
        for digest, signature in samples["signed"]
    ]

    def sign(digest: bytes, signature: bytes) -> bool:
        return bool(secret.sign_ecdsa(digest) == signature)

    def verify_new(digest: bytes, signature: bytes) -> bool:
        return bool(public.verify_ecdsa(signature, digest))

    do = {"sign": sign, "verify_new": verify_new}[name]
    gc.collect()
    if weigh:
        gc.disable()
    before = gc.mem_alloc()  # type: ignore[attr-defined]
    for number in range(int(count)):
        if not do(*signed[number % len(signed)]):
            raise ValueError("embit says something else")
    print("embit", gc.mem_alloc() - before)  # type: ignore[attr-defined]


main(*sys.argv[1:])
