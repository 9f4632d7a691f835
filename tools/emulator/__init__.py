"""Runs the native functions of a board's .mpy file on the host and counts their cycles."""

from emulator.cpu import Argument, Buffer, Cpu, Fault, Function, Run
from emulator.mpy import Module, load

__all__ = ["Argument", "Buffer", "Cpu", "Fault", "Function", "Module", "Run", "load"]
