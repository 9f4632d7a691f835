"""The module `network` of a virtual board: a station interface that the world lets in or not.

The sockets are the computer's own; what is acted here is only whether there is a network.
"""

import vm

STA_IF = 0
AP_IF = 1
STAT_IDLE = 0
STAT_CONNECTING = 1
STAT_WRONG_PASSWORD = -3
STAT_NO_AP_FOUND = -2
STAT_GOT_IP = 3

_air = {}  # network -> password: what is in reach


def _heard(words):
    if words[1] == "off":
        _air.clear()
    else:
        _air[words[1]] = words[2] if len(words) > 2 else ""


vm.listen("wifi", _heard)
for _line in vm.settings("wifi", ()):
    _heard(["wifi"] + _line)


def country(*_):
    pass


def hostname(*_):
    return "virtual"


class WLAN:
    """A station interface."""

    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _active = False
    _wanted = None

    def __init__(self, interface=0):
        pass

    def active(self, on=None):
        if on is not None:
            WLAN._active = bool(on)
        return WLAN._active

    def connect(self, ssid, key=None, **_):
        if not WLAN._active:
            raise OSError("Wifi Not Started")
        WLAN._wanted = ssid, key or ""
        vm.tell("wifi %s %d" % (ssid, self.isconnected()))

    def disconnect(self):
        WLAN._wanted = None

    def isconnected(self):
        return self.status() == STAT_GOT_IP

    def status(self, what=None):
        if what == "rssi":
            return -50
        if not WLAN._active or not WLAN._wanted:
            return STAT_IDLE
        ssid, key = WLAN._wanted
        if ssid not in _air:
            return STAT_NO_AP_FOUND
        return STAT_GOT_IP if _air[ssid] == key else STAT_WRONG_PASSWORD

    def ifconfig(self, *_):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def config(self, *what, **_):
        return bytes(vm.settings("unique_id")[:6]) if what == ("mac",) else None

    def scan(self):
        return [(ssid.encode(), b"\x02" * 6, 1, -50, 3, False) for ssid in _air]
