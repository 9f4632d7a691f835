"""What a board with our firmware does after boot.py: the device, or the owner's own program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from board import console, doctor
from board.deploy import Software, deploy
from board.frozen import MPY_CROSS
from board.port import Repl
from board.virtual import Virtual
from boardkit import NewBoard, mpremote, put

PORTS = {"rp2": "RPI_PICO_W", "esp32": "ESP32_GENERIC"}


def starts(one: Virtual) -> list[str]:
    """Reset the board, of which all was read; what it says until it is at its REPL."""
    said = []
    with console.Console(one.port) as line:
        one.reset()
        one.wait_repl()
        line.send("print('=' * 9)")
        for event in line.events(60):
            text = str(event.get("text", event["event"]))
            if text == "=========":
                return said
            said.append(text.removeprefix(">>> "))  # the last prompt before the reset
    raise AssertionError(f"no REPL after {said}")


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "error text=config.json: cannot be read"),
        ("{", "error text=config.json: not valid JSON"),
        ('{"chain": {}}', "error text=config.json: app: missing"),
    ],
)
def test_a_wrong_configuration(
    new_board: NewBoard, port: str, content: str | None, said: str
) -> None:
    """One line, and then the REPL: a board that starts anew is one that nobody reaches."""
    one = new_board(PORTS[port], firmware="custom")
    one.wait_repl()
    if content is not None:
        put(one, "config.json", content)
    mpremote(one, "exec", "pass")  # takes what the first start has said
    boots = one.boots
    lines = starts(one)
    assert [line for line in lines if line.startswith("error")] == [said]
    assert not any("Traceback" in line for line in lines)
    assert one.boots == boots + 1
    assert mpremote(one, "exec", "print(1)") == "1\n"
    assert one.boots == boots + 1


def test_the_doctor_finds_what_is_frozen(
    new_board: NewBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = new_board("RPI_PICO_W", firmware="custom")
    one.wait_repl()
    with Repl(one.port) as repl:
        findings = {found.what: found for found in doctor.examine(repl)}
        monkeypatch.setattr(doctor, "_SIGNATURE", 65 * "00")  # as if the board made another one
        wrong = {found.what: found.text for found in doctor.examine(repl) if not found.ok}
    assert findings["software"].text.startswith("frozen")
    assert findings["cryptography"].text == "viper and viper, a hash and a signature are right"
    assert [found.what for found in findings.values() if not found.ok] == ["configuration", "key"]
    assert "a wrong signature: do not use this board" in wrong["cryptography"]


def test_the_owners_program_comes_first(new_board: NewBoard) -> None:
    """A port runs the main.py that is frozen, and no other: ours runs that of the file system."""
    one = new_board("RPI_PICO_W", firmware="custom")
    put(one, "main.py", "import device, perun.client\nown = __name__, device.__name__\n")
    assert not any("config.json" in line for line in starts(one))
    assert mpremote(one, "exec", "print(own)") == "('__main__', 'device')\n"
    # And may start the device.
    put(
        one, "main.py", "import device\ntry:\n    device.main()\nexcept SystemExit:\n    own = 2\n"
    )
    assert "error text=config.json: cannot be read" in starts(one)
    assert mpremote(one, "exec", "print(own)") == "2\n"


def test_a_version_that_is_deployed_comes_first(new_board: NewBoard, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def main():\n    print('newer than what is frozen')\n")
    command = [MPY_CROSS, "-march=x64", "-s", "main", tmp_path / "main.py"]
    subprocess.run(command, check=True)
    one = new_board("RPI_PICO_W", firmware="custom")
    one.wait_repl()
    with Repl(one.port) as repl:
        deploy(repl, Software({"main.mpy": (tmp_path / "main.mpy").read_bytes()}))
    assert "newer than what is frozen" in starts(one)
    mpremote(one, "fs", "rm", ":main.py")  # back to what is frozen
    assert "error text=config.json: cannot be read" in starts(one)
