"""The device's configuration: what is right passes, what is wrong is named."""

import config
from support import raises

HOLDER = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
OWNER = "0x" + "11" * 20


def document():
    """A configuration with every section in it."""
    return {
        "chain": {
            "id": 1337,
            "assets": [{"holder": HOLDER, "max_deposit": "1000000000000000000"}],
            "min_challenge_duration": 60,
            "max_challenge_duration": 3600,
        },
        "receiver": OWNER,
        "service": {"serial": {"path": "/dev/ttyS1"}},
        "peer": {"listen": {"host": "0.0.0.0", "port": 5750}},
        "app": {
            "module": "ev_station",
            "price_per_kwh": 250000000000000,
            "charger": {"module": "pins", "meter_pin": 4, "relay_pin": 5},
        },
        "console": "json",
    }


def changed(path, value):
    """document() with one field replaced, or removed when value is `...`."""
    result = document()
    place = result
    for name in path[:-1]:
        place = place[name]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result


def refused(path, value, *words):
    """The error for a changed document, which must contain all the words."""
    error = raises(config.ConfigError, config.check, changed(path, value))
    for word in words:
        assert word in str(error), str(error)


def test_right():
    result = config.check(document())
    assert result["receiver"] == b"\x11" * 20
    assert result["chain"]["assets"][0]["max_deposit"] == 10**18
    line = result["service"]["serial"]
    assert (line["path"], line["uart"], line["baud"]) == ("/dev/ttyS1", None, 115200)
    assert result["service"]["tcp"] is None
    app = result["app"]
    assert (app["price_per_kwh"], app["min_payment"]) == (250000000000000, 1)
    assert app["charger"]["wh_per_pulse"] == 1


def test_defaults():
    right = document()
    del right["console"]
    del right["chain"]["min_challenge_duration"]
    result = config.check(right)
    assert result["console"] == "text"
    assert result["chain"]["min_challenge_duration"] == 60


def test_missing():
    for path in (
        ("chain",),
        ("receiver",),
        ("service",),
        ("peer",),
        ("app",),
        ("chain", "id"),
        ("chain", "assets"),
        ("peer", "listen", "port"),
        ("app", "price_per_kwh"),
        ("app", "charger"),
        ("app", "charger", "meter_pin"),
    ):
        refused(path, ..., ".".join(path) + ": missing" if len(path) < 4 else "missing")


def test_unknown():
    refused(("reciever",), OWNER, "reciever: unknown", "receiver")
    refused(("app", "price"), 1, "app.price: unknown", "price_per_kwh")
    refused(("app", "charger", "pin"), 1, "app.charger.pin: unknown")


def test_wrong_kind():
    for value in (None, True, 1.5, "1337", [], {}, 0, -1, 1 << 256):
        refused(("chain", "id"), value, "chain.id: expected a chain id from 1")
    for value in (None, True, 0, 65536, "80", 80.0):
        refused(("peer", "listen", "port"), value, "peer.listen.port: expected a port")
    for value in (None, "", "x" * 129, 5, []):
        refused(("service", "serial", "path"), value, "service.serial.path: expected a text")
    for value in (None, True, -1, 1.0, "", "-1", "1e18", "0x10", 1 << 256, str(1 << 256)):
        refused(("app", "min_payment"), value, "app.min_payment: expected an amount")
    for value in (0, "0", None):
        refused(("app", "price_per_kwh"), value, "at least 1")
    for value in (0, 1, "yes", None):
        refused(("app", "charger", "relay_active_low"), value, "true or false")
    for value in ("xml", None, 1):
        refused(("console",), value, "console: expected one of text, json")
    for value in (None, 5, "x", []):
        refused(("service",), value, "service: expected an object")


PIN = "5f" * 32
WITNESS = {"tcp": {"host": "192.168.1.9", "port": 1339, "certificate": PIN}, "address": HOLDER}


def test_a_witness():
    assert config.check(document())["witness"] is None
    result = config.check(changed(("witness",), WITNESS))["witness"]
    assert result["tcp"]["certificate"] == (b"\x5f" * 32,)
    assert (len(result["address"]), result["patience"]) == (20, 600)
    forever = dict(WITNESS, patience=0)
    assert config.check(changed(("witness",), forever))["witness"]["patience"] == 0


def test_a_wrong_witness():
    def wrong(words, **changes):
        refused(("witness",), dict(WITNESS, **changes), *words)

    refused(("witness",), {"address": HOLDER}, "witness.tcp: missing")
    wrong(("witness.serial: unknown",), serial={"uart": 1})
    wrong(("witness.patience: expected seconds",), patience=-1)
    wrong(("witness.tcp.certificate: missing", "TLS"), tcp={"host": "192.168.1.9", "port": 1339})


def test_the_service_is_no_witness():
    def same(**service):
        tcp = {"host": "192.168.1.2", "port": 1339, "certificate": "6a" * 32}
        tcp.update(service.pop("tcp", {}))
        made = changed(("service",), dict(service, tcp=tcp))
        made["witness"] = WITNESS
        assert "witness: is the service" in str(raises(config.ConfigError, config.check, made))

    same(address=HOLDER)
    same(tcp={"host": "192.168.1.9", "port": 1339})
    same(tcp={"certificate": ["6a" * 32, PIN]})


def test_wrong_address():
    for value in (
        None,
        5,
        "",
        "0x",
        "11" * 20,
        "0x" + "11" * 19,
        "0x" + "11" * 21,
        "0x" + "1g" * 20,
        "0x" + "00" * 20,
        HOLDER.replace("F", "f"),
    ):
        refused(("receiver",), value, "receiver: expected an address")


def test_wrong_assets():
    for value in (None, [], {}, [{}] * 17):
        refused(("chain", "assets"), value, "chain.assets: expected a list of 1 to 16")
    asset = {"holder": HOLDER, "max_deposit": 1}
    refused(("chain", "assets"), [asset, {}], "chain.assets[1].holder: missing")
    refused(("chain", "assets"), [asset, asset], "listed twice")
    refused(("chain", "assets"), [5], "chain.assets[0]: expected an object")


def test_wrong_durations():
    refused(("chain", "min_challenge_duration"), 3601, "chain.min_challenge_duration: above")
    refused(("chain", "max_challenge_duration"), 1 << 64, "chain.max_challenge_duration")
    refused(("chain", "min_challenge_duration"), 0, "expected seconds from 1")


def test_one_link_each():
    tcp = {"host": "localhost", "port": 1}
    refused(("service",), {}, 'exactly one of "tcp", "serial"')
    both = {"tcp": tcp, "serial": {"path": "/dev/ttyS1"}}
    refused(("service",), both, 'exactly one of "tcp", "serial"')
    refused(("peer",), {}, 'exactly one of "listen", "dial", "bridge"')
    refused(("peer",), {"listen": tcp, "dial": tcp}, 'exactly one of "listen", "dial", "bridge"')


def test_line():
    for line in ({}, {"baud": 9600}, {"path": "/dev/ttyS1", "uart": 1}):
        refused(("service",), {"serial": line}, 'exactly one of "path", "uart" and "repl"')
    for line in ({"repl": False}, {"repl": True, "uart": 1}, {"repl": True, "path": "/dev/ttyS1"}):
        refused(("service",), {"serial": line}, 'exactly one of "path", "uart" and "repl"')
    right = config.check(changed(("service",), {"serial": {"repl": True}}))
    assert right["service"]["serial"]["repl_window"] == 3
    right = config.check(changed(("service",), {"serial": {"uart": 1, "tx": 4, "rx": 5}}))
    assert right["service"]["serial"]["uart"] == 1
    refused(("service",), {"serial": {"uart": 4}}, "service.serial.uart: expected a UART from 0")


def test_certificate():
    place = ("service",)
    for host in ("localhost", "127.0.0.1", "127.8.1.250", "::1"):
        tcp = {"host": host, "port": 1}
        assert config.check(changed(place, {"tcp": tcp}))["service"]["tcp"]["certificate"] == ()
    for host in ("192.168.1.2", "service.example", "127.0.0.1.example", "127.", "0.0.0.0", "::2"):
        refused(place, {"tcp": {"host": host, "port": 1}}, "service.tcp.certificate: missing")
    one, two = "ab" * 32, ":".join(["CD"] * 32)
    for value, pins in (
        (one, (b"\xab" * 32,)),
        (two, (b"\xcd" * 32,)),
        ([one, two], (b"\xab" * 32, b"\xcd" * 32)),
    ):
        tcp = {"host": "192.168.1.2", "port": 1, "certificate": value}
        assert config.check(changed(place, {"tcp": tcp}))["service"]["tcp"]["certificate"] == pins
    for value in (
        None,
        "",
        [],
        5,
        "ab" * 31,
        "ab" * 33,
        "zz" * 32,
        [one, two, one],
        [one, 5],
        [""],
    ):
        tcp = {"host": "127.0.0.1", "port": 1, "certificate": value}
        refused(place, {"tcp": tcp}, "service.tcp.certificate: expected a SHA-256")


def test_board():
    right = document()
    right["wifi"] = {"home": "password", "open": ""}
    right["hardware"] = {
        "watchdog": 8,
        "alive_led": "LED",
        "buttons": [{"pin": 1, "command": "x"}],
    }
    result = config.check(right)
    assert result["wifi"] == right["wifi"] and result["hardware"]["refused_led"] is None
    assert config.check(document())["wifi"] is None
    for value in (None, [], {}, {"": "x"}, {"a": 1}, {"a": "x" * 65}, dict.fromkeys("abcde", "x")):
        refused(("wifi",), value, "wifi: expected an object")
    error = raises(config.ConfigError, config.check, changed(("wifi",), {"a": "geheim" * 20}))
    assert "geheim" not in str(error)
    for value in (-1, 128, "", "x" * 16, None, 1.0):
        refused(("hardware",), {"alive_led": value}, "hardware.alive_led: expected a pin")
    refused(("hardware",), {"watchdog": 9}, "hardware.watchdog: expected seconds from 0 to 8")
    refused(("hardware",), {"buttons": [{"pin": 1}]}, "hardware.buttons[0].command: missing")
    for value in ("file", "flash"):
        assert config.check(changed(("store",), value))["store"] == value
    refused(("store",), "tape", "store: expected one of auto, file, flash")


def test_wrong_parts():
    for value in ("no_such_module", "console", "", "a b"):
        refused(("app", "module"), value, "app.module: expected an application")
    refused(("app",), {}, "module")
    refused(("app", "charger"), "pins", "module")


def test_wrong_file():
    assert "no such/file: cannot be read" in str(
        raises(config.ConfigError, config.load, "no such/file")
    )
    for text, word in (
        ("", "not valid JSON"),
        ('{"chain": ', "not valid JSON"),
        ("[]", "expected an object"),
        (" " * 5000, "longer than"),
    ):
        with open("wrong_config.tmp", "w") as file:
            file.write(text)
        error = raises(config.ConfigError, config.load, "wrong_config.tmp")
        assert word in str(error) and "wrong_config.tmp" in str(error), str(error)
    import os

    os.remove("wrong_config.tmp")


def test_go_perun_peers():
    tcp = {"host": "localhost", "port": 1}
    assert config.check(changed(("peer",), {"bridge": "node"}))["peer"]["bridge"] == "node"
    refused(("peer",), {"bridge": "node", "dial": tcp}, "exactly one of")
    first = {"dial": tcp, "protocol": "go-perun-1", "name": "car", "peer_name": "node"}
    refused(("peer",), first, "chain.generation must be 1")
    document_ = changed(("peer",), first)
    document_["chain"]["generation"] = 1
    assert config.check(document_)["peer"]["protocol"] == "go-perun-1"
    second = {"dial": tcp, "protocol": "go-perun-2", "peer_name": "node"}
    refused(("peer",), second, "peer.dial.certificate: missing")
    pinned = {"host": "localhost", "port": 1, "certificate": "ab" * 32}
    refused(("peer",), {"dial": pinned}, "only go-perun-2 uses TLS")
    second["dial"] = pinned
    refused(("peer",), second, "peer.identity: missing")
    second["identity"] = "wire.json"
    config.check(changed(("peer",), second))
    refused(("peer",), {"dial": tcp, "name": "car"}, "peer.name: not for this protocol")
    bridged = {"bridge": "node", "protocol": "go-perun-1"}
    refused(("peer",), bridged, "the service speaks it")
    refused(("peer",), {"dial": tcp, "protocol": "perun"}, "peer.protocol: expected one of")
