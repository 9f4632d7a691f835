"""`python -m board`: what an engineer does with boards, real and virtual.

definitions  boards/*/board.json, read and typed
virtual      a board without a board: the MicroPython VM behind a pty, with flash, pins and power;
             vm/ is the part that runs inside the VM, cable and control are hands at it
port         a serial port, and the REPL behind it
console      a running device's events and commands; network is the line to one through the
             door of its owner, owner is his key and his devices
flash        firmware onto a board; uf2 reads and writes such files, bootdrive is a virtual
             boot loader
deploy       versions of the software onto a board; air brings them over the network
provision    configuration and key of a device
backup       a device as an encrypted file, and back
doctor       what may be wrong
emulate      a user's MicroPython in an emulated RP2040; image makes its flash
packages     packages for mip
firmware     firmware of our own; manifest evaluates what it freezes
tutorial     all of it on two virtual boards
cli          the command line: device_cli, virtual_cli are its parts, output is how it speaks
"""
