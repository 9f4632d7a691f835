# What the firmware from micropython.org does on an RP2 before boot.py: a file system that does not
# mount is formatted anew, with everything that was in it.
import rp2
import vfs

_flash = rp2.Flash()
try:
    _fs = vfs.VfsLfs2(_flash, progsize=256)
except Exception:
    vfs.VfsLfs2.mkfs(_flash, progsize=256)
    _fs = vfs.VfsLfs2(_flash, progsize=256)
vfs.mount(_fs, "/")
