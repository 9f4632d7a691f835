"""An operation of the cryptography, again and again. Runs inside the VM.

    micropython crypto.py SAMPLES WITHOUT OPERATION COUNT [weigh]

SAMPLES is a JSON file made by crypto.py of the host, WITHOUT the kinds of native modules that must
not be used, with commas between. Prints the backend's name and, with "weigh", the bytes
allocated by COUNT times. The operation "import" prints the heap that the cryptography keeps once
it has signed, verified and hashed, and the modules that it is made of.
"""

import gc
import json
import sys

from perun import compat


def main(path: str, without: str, name: str, count: str, weigh: str = "") -> None:
    """Do the operation once, so that everything is loaded, and then `count` times."""
    compat.without = tuple(without.split(","))  # type: ignore[assignment]
    with open(path) as file:
        samples = json.load(file)
    gc.collect()
    before = gc.mem_alloc()  # type: ignore[attr-defined]
    if name == "import":
        print(*_keep(samples, before))
        return
    import operations  # type: ignore[import-not-found]

    work = operations.Operations(samples)
    do = getattr(work, name)
    do(0)
    gc.collect()
    if weigh:
        gc.disable()
    before = gc.mem_alloc()  # type: ignore[attr-defined]
    for number in range(1, int(count) + 1):
        do(number)
    used = gc.mem_alloc() - before  # type: ignore[attr-defined]
    print(operations.backend(name), used)


def _keep(samples: dict, before: int) -> list:  # type: ignore[type-arg]
    from perun.crypto import keccak, secp256k1

    digest, signature = [bytes.fromhex(part) for part in samples["signed"][0]]
    key = secp256k1.prepare(bytes.fromhex(samples["public"]))
    secp256k1.sign(digest, bytes.fromhex(samples["secret"]))
    secp256k1.verify(digest, signature, key)
    keccak.keccak256(digest)
    del digest, signature
    gc.collect()
    kept = gc.mem_alloc() - before  # type: ignore[attr-defined]
    modules = sorted(name for name in sys.modules if name.startswith("perun.crypto"))
    return [kept, secp256k1.BACKEND, keccak.BACKEND] + modules


main(*sys.argv[1:])
