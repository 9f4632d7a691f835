"""Write the generated modules of lib/perun/crypto anew: `make kernels`."""

from __future__ import annotations

from pathlib import Path

from kernels import keccak_thumb, modules

CRYPTO = Path(__file__).parents[2] / "lib" / "perun" / "crypto"
GENERATORS = (keccak_thumb, modules)  # each gives {name of a file: its text}


def main() -> None:
    for generator in GENERATORS:
        for name, source in generator.generate().items():
            (CRYPTO / name).write_text(source)


if __name__ == "__main__":
    main()
