"""`python -m board`: what an engineer does with boards, real and virtual.

definitions  boards/*/board.json, read and typed
virtual      a board without a board: the MicroPython VM behind a pty, with flash, pins and power
vm/          the part of that which runs inside the VM
"""
