# What our firmware does on an RP2 before boot.py, in place of MicroPython's own, which formats a
# file system that does not mount: with it everything in it would be gone.
import partition

partition.mount()
del partition
