"""What differs between the virtual machines: MicroPython on a device, CPython on the host."""

import sys

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    from micropython import const
else:

    def const(value):
        """The value itself.

        MicroPython's compiler folds `_NAME = const(literal)` away: a name that starts with an
        underscore then takes no RAM. It recognises the call by its name, so that modules may
        import `const` from here.
        """
        return value


# Kinds of native modules that are not to be used, by the ends of their names: ("thumb", "viper").
# An application that wants none sets this before it imports what would choose them.
without = ()


def native_module(name):
    """Import the module `name`, which holds viper or assembler code, or return None.

    None means that this machine cannot run it: CPython has no such decorators, a port without
    the emitter refuses the source (SyntaxError), and a .mpy of another architecture does not
    load (ValueError). The caller then imports its portable twin. Only the last case is a
    mistake, which is told in a line: files for another board were installed.
    """
    if not MICROPYTHON or name.split("_")[-1] in without:
        return None
    try:
        # With a fromlist, __import__ gives the module that the dotted name ends in.
        return __import__(name, None, None, ("*",))
    except ValueError as error:
        print("perun:", name, "is not for this board and passed over:", error)
    except (ImportError, SyntaxError):
        pass
    return None


def borrowed(name):
    """Import the module `name`, for a call or two, without keeping it in a device's memory.

    For what runs once per link or per channel. Each call makes a module anew, so its classes must
    not be compared with those of another call.
    """
    module = __import__(name, None, None, ("*",))
    if MICROPYTHON:
        parent, _, child = name.rpartition(".")
        del sys.modules[name]
        if parent:
            delattr(sys.modules[parent], child)
    return module
