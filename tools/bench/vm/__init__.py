"""What runs inside the MicroPython VM while it is measured."""
