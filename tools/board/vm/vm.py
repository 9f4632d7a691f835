"""Makes a MicroPython process into a board: flash, boot files, what the port lacks.

Runs inside the MicroPython VM (unix port); ../virtual.py starts it and holds the other end of the
two pipes. The environment variable UPERUN_BOARD has the settings as JSON. What this costs of the
heap is measured and given in addition to what the board has.
"""

import gc
import json
import os
import sys
import vfs

_HERE = json.loads(os.getenv("UPERUN_BOARD"))
_POSIX = vfs.VfsPosix()
_tell = _POSIX.open("/dev/fd/%d" % _HERE["tell"], "wb")
_hear = _POSIX.open("/dev/fd/%d" % _HERE["hear"], "rb")
_ISIG = 1  # of Linux: Ctrl-C interrupts
_listeners = {}  # first word -> function of the other words


def settings(name, default=None):
    """What the definition of the board says."""
    return _HERE.get(name, default)


def open_host(path, mode):
    """A file of the computer: what stands for hardware."""
    return _POSIX.open(path, mode)


def tell(text):
    """Tell the world around the board."""
    _tell.write(text + "\n")


def listen(word, function):
    """Have function(words) called for what the world says."""
    _listeners[word] = function


def die(why):
    """The power is off, or the chip resets: nothing runs from here on."""
    tell(why)
    while True:
        pass


def _listen(schedule, sleep_ms, begun):
    """Interrupts arrive by themselves, so this is a thread; what they do runs in the main one.

    The VM has no lock around its threads: this one does nothing but what is safe beside another.
    """
    line, one = b"", bytearray(1)
    begun[0] = 1
    while _hear.readinto(one):
        if one[0] != 10:
            line += one
            continue
        words = line.decode().split()
        line = b""
        while words[0] in _listeners:
            try:
                schedule(_listeners[words[0]], words)
                break
            except RuntimeError:  # the queue is full
                sleep_ms(1)


class _Micropython:
    """The module `micropython`, whose kbd_intr() works as on a board."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    def kbd_intr(self, char):
        import termios

        tell("kbd %d" % char)
        mode = termios.tcgetattr(0)
        if not mode[3]:
            return  # in its raw mode the port makes no signals of its own
        mode[3] = mode[3] & ~_ISIG if char == -1 else mode[3] | _ISIG
        termios.tcsetattr(0, termios.TCSANOW, mode)


def _run(path, opener=open):
    """Run a boot file as a board does: True unless it ended badly."""
    import __main__

    try:
        with opener(path, "r") as file:
            code = compile(file.read(), path, "exec")
    except OSError:
        return True
    try:
        exec(code, __main__.__dict__)
        return True
    except SystemExit:
        die("soft")  # a board starts anew, whatever the program wanted to say with it
    except BaseException as error:
        sys.print_exception(error, sys.stdout)
        return False


def start():
    """Boot; returns when it is time for the REPL."""
    import _thread
    import micropython
    import time

    sys.modules["micropython"] = _Micropython(micropython)
    for name in ("machine", "network", settings("port")):
        sys.modules[name] = __import__("board_" + name)
    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    # What is frozen into a firmware of our own is found like the port's own frozen modules.
    for number, folder in enumerate(settings("frozen")):
        place = "/.frozen%d" % number
        vfs.mount(vfs.VfsPosix(folder), place)
        sys.path.insert(1, place)
    with open_host(settings("boot"), "r") as file:
        text = file.read()
    begun = bytearray(1)
    _thread.start_new_thread(_listen, (micropython.schedule, time.sleep_ms, begun))
    while not begun[0]:
        time.sleep_ms(1)
    gc.collect()
    if settings("measure"):
        die("ready %d" % gc.mem_alloc())
    try:
        exec(text, {"__name__": "_boot"})
        del text
        os.chdir("/")
    except BaseException as error:
        sys.print_exception(error, sys.stdout)
    gc.collect()
    tell("ready %d" % gc.mem_free())  # from here on Ctrl-C interrupts
    if _run("boot.py") and settings("friendly"):
        # A frozen main.py comes before one of the file system.
        _run(*(settings("main"), open_host) if settings("main") else ("main.py",))
    tell("repl")
    sys.stdout.write(settings("mark"))
