"""The device's configuration: config.json, checked completely before anything starts.

A part of the device (the application, its charger) is an object that names its module; the module
lists the fields that it takes in FIELDS. README.md shows a whole file.

Fields are a table, so that this module can be dropped once it has done its work: name -> (default,
kind, arguments of the kind...). The default `...` stands for a field that must be there. The kinds
are the methods of _Kinds. Amounts are in the asset's smallest unit and may be written as text.
"""

import json

from perun.chain.address import from_text
from perun.compat import const

_MAX_FILE = const(4096)
_MAX_CHALLENGE = (1 << 64) - 1

_TCP = {"host": (..., "text"), "port": (..., "number", 1, 65535, "a port")}
_SERIAL = {
    "path": (None, "text"),  # of a tty, on a computer
    "uart": (None, "number", 0, 3, "a UART"),  # of a board, not the one of its REPL
    "repl": (False, "flag"),  # the REPL's port, see repl_port.py
    "repl_window": (3, "number", 0, 60, "seconds"),  # in which it can be kept at boot
    "tx": (None, "pin"),
    "rx": (None, "pin"),
    "baud": (115200, "number", 300, 4000000, "a baud rate"),
}
_ASSET = {"holder": (..., "address"), "max_deposit": (..., "amount")}
_CHAIN = {
    "id": (..., "number", 1, (1 << 256) - 1, "a chain id"),
    "generation": (2, "number", 1, 2, "a generation of Perun's contracts"),
    "assets": (..., "sections", _ASSET, 16),
    "min_challenge_duration": (60, "number", 1, _MAX_CHALLENGE, "seconds"),
    "max_challenge_duration": (86400, "number", 1, _MAX_CHALLENGE, "seconds"),
}
_SECURE_TCP = {
    "host": (..., "text"),
    "port": (..., "number", 1, 65535, "a port"),
    "certificate": ((), "pins"),
}
_SERVICE = {
    "tcp": (None, "section", _SECURE_TCP),
    "serial": (None, "section", _SERIAL),
    "address": (None, "address"),
}
_WITNESS = {
    "tcp": (..., "section", _SECURE_TCP),
    "address": (None, "address"),
    # Seconds that a channel waits for its word until the service is to settle it. 0: for ever.
    "patience": (600, "number", 0, 86400, "seconds"),
}
_PEER = {
    "listen": (None, "section", _TCP),
    "dial": (None, "section", _SECURE_TCP),
    "bridge": (None, "text"),
    "address": (None, "address"),
    "protocol": (None, "one_of", "go-perun-1", "go-perun-2"),
    "name": (None, "text"),
    "peer_name": (None, "text"),
    "identity": (None, "text"),
}
_CONTROL = {
    "listen": (..., "section", _TCP),
    "owner": (..., "address"),
    "update": (False, "flag"),  # whether he may bring other software
}
_FILE = {
    "chain": (..., "section", _CHAIN),
    "receiver": (..., "address"),
    "service": (..., "section", _SERVICE),
    "witness": (None, "section", _WITNESS),
    "peer": (..., "section", _PEER),
    "app": (..., "part"),
    "control": (None, "section", _CONTROL),
    "console": ("text", "one_of", "text", "json"),
    "store": ("auto", "one_of", "auto", "file", "flash"),
    "wifi": (None, "networks"),
    "hardware": (None, "fields_of", "hardware"),
}


class ConfigError(ValueError):
    """The configuration cannot be used. The text names the field and says what it must be."""


def load(path):
    """Read and check the file: a dictionary. Raises ConfigError."""
    try:
        with open(path) as file:
            content = file.read(_MAX_FILE + 1)
    except (OSError, UnicodeError):
        raise ConfigError(path + ": cannot be read")
    if len(content) > _MAX_FILE:
        raise ConfigError("%s: longer than %d bytes" % (path, _MAX_FILE))
    try:
        document = json.loads(content)
    except ValueError:
        raise ConfigError(path + ": not valid JSON")
    try:
        return check(document)
    except ConfigError as error:
        raise ConfigError("%s: %s" % (path, error))


def check(document):
    """The checked configuration of a parsed document, defaults filled in. Raises ConfigError."""
    config = check_section(document, _FILE, "")
    chain = config["chain"]
    if chain["min_challenge_duration"] > chain["max_challenge_duration"]:
        raise ConfigError("chain.min_challenge_duration: above max_challenge_duration")
    holders = [asset["holder"] for asset in chain["assets"]]
    if len(set(holders)) != len(holders):
        raise ConfigError("chain.assets: a holder is listed twice")
    for name, ways in (("service", ("tcp", "serial")), ("peer", ("listen", "dial", "bridge"))):
        if sum(config[name][way] is not None for way in ways) != 1:
            known = ", ".join('"%s"' % way for way in ways)
            raise ConfigError("%s: exactly one of %s is needed" % (name, known))
    line = config["service"]["serial"]
    if line and (line["path"] is not None) + (line["uart"] is not None) + line["repl"] != 1:
        raise ConfigError('service.serial: exactly one of "path", "uart" and "repl" is needed')
    for name in ("service", "witness"):
        tcp = config[name] and config[name]["tcp"]
        if tcp and not tcp["certificate"] and not _is_loopback(tcp["host"]):
            raise ConfigError(
                name
                + ".tcp.certificate: missing: over a network the service is spoken to by TLS; "
                'put here the fingerprint that its "adoption certificate" shows'
            )
    if config["witness"] and _is_same(config["service"], config["witness"]):
        raise ConfigError("witness: is the service itself: it must be another one")
    _check_protocol(config["peer"], chain)
    control, peers = config["control"], config["peer"]["listen"]
    if control and peers and control["listen"]["port"] == peers["port"]:
        raise ConfigError("control.listen.port: is the one for peers")
    return config


def _is_same(service, witness):
    """Whether both are one service, as far as this file tells."""
    one, other = service["tcp"], witness["tcp"]
    if one and (one["host"], one["port"]) == (other["host"], other["port"]):
        return True
    if one and any(pin in other["certificate"] for pin in one["certificate"]):
        return True
    return service["address"] and service["address"] == witness["address"]


def _check_protocol(peer, chain):
    """What go-perun's own protocol needs, and nothing else has."""
    protocol = peer["protocol"]
    wanted = {None: (), "go-perun-1": ("name",), "go-perun-2": ("identity",)}[protocol]
    if protocol:
        if peer["bridge"]:
            raise ConfigError("peer.protocol: the service speaks it, behind the bridge")
        wanted += ("peer_name",)
        if chain["generation"] != int(protocol[-1]):
            raise ConfigError("peer.protocol: chain.generation must be " + protocol[-1])
    pinned = peer["dial"] and peer["dial"]["certificate"]
    if protocol == "go-perun-2" and not pinned:
        raise ConfigError("peer.dial.certificate: missing: go-perun-2 is dialled by TLS")
    if pinned and protocol != "go-perun-2":
        raise ConfigError("peer.dial.certificate: only go-perun-2 uses TLS")
    for name in ("name", "identity", "peer_name"):
        if (peer[name] is not None) != (name in wanted):
            what = "missing" if name in wanted else "not for this protocol"
            raise ConfigError("peer.%s: %s" % (name, what))


def _is_loopback(host):
    parts = host.split(".")
    numbers = len(parts) == 4 and all(part.isdigit() for part in parts)
    return host in ("localhost", "::1") or numbers and parts[0] == "127"


def check_section(value, fields, where):
    """The object `value` with every field checked and every default filled in."""
    if not isinstance(value, dict):
        raise _wrong(where or "the file", "an object {...}", value)
    prefix = where + "." if where else ""
    for name in value:
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise ConfigError("%s%s: unknown, the fields here are %s" % (prefix, name, known))
    result = {}
    for name in sorted(fields):
        default, kind = fields[name][:2]
        if name in value:
            result[name] = getattr(_Kinds, kind)(value[name], prefix + name, *fields[name][2:])
        elif default is ...:
            raise ConfigError("%s%s: missing" % (prefix, name))
        else:
            result[name] = default
    return result


def _wrong(where, expected, value):
    return ConfigError("%s: expected %s, found %s" % (where, expected, json.dumps(value)[:60]))


def _is_number(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class _Kinds:
    """Static methods (value, where, arguments...) -> checked value."""

    @staticmethod
    def number(value, where, low, high, what):
        """A whole number in a range."""
        if not _is_number(value, low, high):
            raise _wrong(where, "%s from %d to %d" % (what, low, high), value)
        return value

    @staticmethod
    def amount(value, where, low=0):
        """An amount, as a number or as text with decimal digits."""
        if isinstance(value, str) and 0 < len(value) < 79 and value.isdigit():
            value = int(value)
        if not _is_number(value, low, (1 << 256) - 1):
            expected = "an amount in the smallest unit, at least %d" % low
            raise _wrong(where, expected, value)
        return value

    @staticmethod
    def address(value, where):
        """20 bytes, from "0x" and 40 hexadecimal digits; mixed case must be a right checksum."""
        try:
            if not isinstance(value, str) or value[:2] != "0x":
                raise ValueError("0x and 40 hexadecimal digits")
            address = from_text(value)
            if not any(address):
                raise ValueError("not zero")
            return address
        except ValueError as error:
            raise _wrong(where, "an address (%s)" % error, value)

    @staticmethod
    def pins(value, where):
        """One or two fingerprints of 32 bytes, as hexadecimal digits with or without colons."""
        texts = value if isinstance(value, list) else [value]
        try:
            pins = tuple(bytes.fromhex(text.replace(":", "")) for text in texts)
        except (ValueError, AttributeError):
            pins = ()
        if not 0 < len(pins) < 3 or any(len(pin) != 32 for pin in pins):
            expected = "a SHA-256 of 64 hexadecimal digits, or a list of two"
            raise _wrong(where, expected, value)
        return pins

    @staticmethod
    def pin(value, where):
        """A pin: its number, or the name that the board has for it."""
        if not _is_number(value, 0, 127) and not (isinstance(value, str) and 0 < len(value) < 16):
            raise _wrong(where, "a pin: its number or its name", value)
        return value

    @staticmethod
    def networks(value, where):
        """An object of 1 to 4 names of networks with their passwords."""
        texts = value if isinstance(value, dict) else {}
        fits = all(isinstance(texts[name], str) and len(texts[name]) <= 64 for name in texts)
        if not 0 < len(texts) <= 4 or not fits or not all(0 < len(name) <= 32 for name in texts):
            expected = 'an object {"network": "password"} of at most 4'
            raise ConfigError("%s: expected %s" % (where, expected))  # and shows no password
        return value

    @staticmethod
    def fields_of(value, where, module):
        """An object with the FIELDS of a module."""
        return check_section(value, __import__(module).FIELDS, where)

    @staticmethod
    def text(value, where):
        """A text of 1 to 128 characters."""
        if not isinstance(value, str) or not 0 < len(value) <= 128:
            raise _wrong(where, "a text of 1 to 128 characters", value)
        return value

    @staticmethod
    def flag(value, where):
        """true or false."""
        if not isinstance(value, bool):
            raise _wrong(where, "true or false", value)
        return value

    @staticmethod
    def one_of(value, where, *choices):
        """One of a few texts."""
        if value not in choices:
            raise _wrong(where, "one of " + ", ".join(choices), value)
        return value

    @staticmethod
    def section(value, where, fields):
        """An object with these fields."""
        return check_section(value, fields, where)

    @staticmethod
    def sections(value, where, fields, most):
        """A list of 1 to `most` objects with these fields."""
        if not isinstance(value, list) or not 0 < len(value) <= most:
            raise _wrong(where, "a list of 1 to %d objects" % most, value)
        return [check_section(v, fields, "%s[%d]" % (where, i)) for i, v in enumerate(value)]

    @staticmethod
    def part(value, where):
        """An object that names its module, which lists the other fields in FIELDS."""
        if not isinstance(value, dict) or not isinstance(value.get("module"), str):
            raise _wrong(where, 'an object with the name of its "module"', value)
        fields = {"module": (..., "text")}
        try:
            fields.update(__import__(value["module"]).FIELDS)
        except (ImportError, AttributeError, ValueError):
            raise _wrong(where + ".module", "an application or a driver", value["module"])
        return check_section(value, fields, where)
