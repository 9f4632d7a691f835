"""An operation of the cryptography, again and again. Runs inside the VM.

    micropython crypto.py SAMPLES WITHOUT OPERATION COUNT [weigh]

SAMPLES is a JSON file made by crypto.py of the host, WITHOUT the kinds of native modules that must
not be used, with commas between. Prints the backend's name and, with "weigh", the bytes
allocated by COUNT times. The operation "import" prints the heap that the curve keeps once it has
signed and verified, what a prepared key and what hashing take besides, what its start takes for a
moment, and the modules.
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
    if name == "import":
        print(*_keep(samples))
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


def _keep(samples: dict) -> list:  # type: ignore[type-arg]
    digest, signature = [bytes.fromhex(part) for part in samples["signed"][0]]
    secret, public = [bytes.fromhex(samples[name]) for name in ("secret", "public")]
    kept = [_used()]
    from perun.crypto import secp256k1

    moment = _start(secp256k1.BACKEND)
    secp256k1.sign(digest, secret)
    if not secp256k1.verify(digest, signature, public):
        raise ValueError("a good signature is refused")
    kept.append(_used())
    key = secp256k1.prepare(public)
    kept.append(_used())
    from perun.crypto import keccak

    keccak.keccak256(digest)
    kept.append(_used())
    modules = sorted(name for name in sys.modules if name.startswith("perun.crypto"))
    sizes = [after - kept[i] for i, after in enumerate(kept[1:])]
    return sizes + [moment, key and secp256k1.BACKEND, keccak.BACKEND] + modules


def _start(backend: str) -> int:
    """What the field machine loads once and forgets."""
    if backend == "bigint":
        return 0
    before = _used()
    gc.disable()
    module = compat.borrowed("perun.crypto._secp256k1_start")
    used: int = gc.mem_alloc() - before  # type: ignore[attr-defined]
    gc.enable()
    return used if module else 0


def _used() -> int:
    gc.collect()
    return gc.mem_alloc()  # type: ignore[attr-defined, no-any-return]


main(*sys.argv[1:])
