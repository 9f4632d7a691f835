"""A board: a chip with LittleFS 2 on it."""

import vfs

from chip import PAGE

ROOT = "/flash"


def format(flash):
    """Make an empty file system, as a board does at its first boot."""
    vfs.VfsLfs2.mkfs(flash, progsize=PAGE)


def mount(flash):
    """The board starts with this flash."""
    try:
        unmount()  # a test that failed has left its own
    except OSError:
        pass
    vfs.mount(vfs.VfsLfs2(flash, progsize=PAGE), ROOT)


def unmount():
    """The board is off."""
    vfs.umount(ROOT)
