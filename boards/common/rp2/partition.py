"""The parts of an RP2's storage under our firmware: files, and the channels' own flash.

storage     rp2.Flash(): what is not the firmware's
files       all of it but the last 64 KB: LittleFS
channels    the last 64 KB: block device of the flash journal
"""

from micropython import const
from rp2 import Flash

_CHANNELS = const(65536)
_SECTOR = const(4096)


def storage():
    """All of it, as firmware from micropython.org uses it."""
    return Flash()


def _files_size():
    return Flash().ioctl(4, 0) * _SECTOR - _CHANNELS


def files():
    """The block device of the file system."""
    return Flash(start=0, len=_files_size())


def channels():
    """The block device of the channels, or None: a file system covers it."""
    import vfs

    try:
        vfs.VfsLfs2(files(), progsize=256)
    except OSError:
        return None
    return Flash(start=_files_size(), len=_CHANNELS)


def mount():
    """What is done at every start: a damaged file system stays as it is, for its owner.

    One that an earlier firmware laid over all of the storage stays as well.
    """
    import vfs

    for device in (files(), storage()):
        try:
            return vfs.mount(vfs.VfsLfs2(device, progsize=256), "/")
        except OSError:
            pass
    if is_blank():
        return format()
    print("The file system is damaged and nothing was changed. To give up what is in it:")
    print("    import partition; partition.format()")


def is_blank():
    """Has nobody written to the beginning of the storage, where a file system begins?"""
    buffer = bytearray(_SECTOR)
    for sector in (0, 1):
        files().readblocks(sector, buffer)
        if any(byte != 0xFF for byte in buffer):
            return False
    return True


def format():
    """Make an empty file system and mount it: files are lost, the channels' flash is not."""
    import vfs

    vfs.VfsLfs2.mkfs(files(), progsize=256)
    vfs.mount(vfs.VfsLfs2(files(), progsize=256), "/")
