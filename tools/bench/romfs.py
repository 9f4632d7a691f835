"""A station whose modules lie in a ROMFS, as they may on a board with our firmware: the VM takes
code, names and constants from where they are, and keeps in its heap only what holds them together.

The real thing but for one detail: a board's ROMFS is in its flash, here it is a buffer in the
heap, which is made so much larger, and does not count.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from mpremote.romfs import make_romfs

from demo.device import Device

_MPY = Path(__file__).resolve().parents[2] / "build" / "mpy" / "x64"
_IMAGE = "lib/romfs.img"
# Takes the place of the modules: mounts them, and goes on as `micropython -m main` would.
_MAIN = """\
import sys, vfs
with open("{image}", "rb") as file:
    image = bytearray({size})
    file.readinto(image)
vfs.mount(vfs.VfsRom(image), "/romfs")
sys.path.insert(0, "/romfs")
del file, image, vfs
sys.modules.pop("main", None)
import main
main.main()
"""


class RomfsDevice(Device):
    """heap: beside the modules. What lives is larger by those."""

    def __init__(self, name: str, directory: Path, config: dict[str, Any], heap: str) -> None:
        modules = image()
        super().__init__(name, directory, config, str(int(heap) + len(modules)))
        lib = directory / "lib"
        lib.unlink()
        lib.mkdir()
        (directory / _IMAGE).write_bytes(modules)
        (lib / "main.py").write_text(_MAIN.format(image=_IMAGE, size=len(modules)))


@cache
def image() -> bytes:
    """The image with all modules of a device."""
    with tempfile.TemporaryDirectory() as scratch:
        modules = Path(scratch) / "modules"
        shutil.copytree(_MPY, modules, ignore=lambda _, names: {"formats"} & set(names))
        with contextlib.redirect_stdout(io.StringIO()):  # it shows what it takes
            return bytes(make_romfs(str(modules), mpy_cross=False))
