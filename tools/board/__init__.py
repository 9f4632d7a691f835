"""`python -m board`: what an engineer does with boards, real and virtual.

definitions  boards/*/board.json, read and typed
virtual      a board without a board: the MicroPython VM behind a pty, with flash, pins and power;
             vm/ is the part that runs inside the VM, cable and control are hands at it
port         a serial port, and the REPL behind it
console      a running device's events and commands
deploy       versions of the software onto a board
provision    configuration and key of a device
backup       a device as an encrypted file, and back
doctor       what may be wrong
firmware     firmware of our own; manifest evaluates what it freezes
cli          the command line: device_cli, virtual_cli are its parts, output is how it speaks
"""
