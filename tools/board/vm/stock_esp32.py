# What the firmware from micropython.org does on an ESP32 before boot.py: an erased file system is
# formatted, a damaged one is left alone.
import time
import vfs
from esp32 import Partition

_part = Partition.find(Partition.TYPE_DATA, label="vfs")[0]
try:
    vfs.mount(vfs.VfsLfs2(_part), "/")
except OSError:
    _buffer = bytearray(4096)
    _part.readblocks(0, _buffer)
    while any(b != 255 for b in _buffer):
        print("The filesystem appears to be corrupted.")
        time.sleep(3)
    vfs.VfsLfs2.mkfs(_part)
    vfs.mount(vfs.VfsLfs2(_part), "/")
