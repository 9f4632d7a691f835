# What our firmware runs after boot.py: a main.py of the file system, or else the device of
# config.json. What ends the device leads to the REPL: a SystemExit that reaches MicroPython starts
# a board anew, again and again.
import os

try:
    os.stat("/main.py")
except OSError:
    import device

    try:
        device.main()
    except SystemExit:
        pass
else:
    execfile("/main.py")  # noqa: F821 - MicroPython has it
