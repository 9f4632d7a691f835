"""What the tools do with the contracts: compile once, deploy anywhere."""

import json
import subprocess
import sys

import pytest
from contracts import build, toolchain
from contracts.anvil import Anvil, account
from contracts.deploy import deploy, deploy_one


def run(*args, **env):
    return subprocess.run(
        [sys.executable, "-m", "contracts", *args],
        env={"PYTHONPATH": str(toolchain.ROOT / "tools"), **env},
        capture_output=True,
        text=True,
    )


def test_fresh_build_touches_nothing():
    build.build()
    before = {path: path.stat().st_mtime_ns for path in build.OUTPUT.glob("*.json")}
    assert build.build() is False
    assert before == {path: path.stat().st_mtime_ns for path in build.OUTPUT.glob("*.json")}


@pytest.mark.ours
def test_build_follows_the_sources(tmp_path, monkeypatch):
    source = "// SPDX-License-Identifier: Apache-2.0\npragma solidity ^0.8.30;\n"
    sources, output = tmp_path / "src", tmp_path / "out"
    sources.mkdir()
    output.mkdir()
    (output / "Gone.json").write_text("{}")
    monkeypatch.setattr(build, "SOURCES", sources)
    monkeypatch.setattr(build, "OUTPUT", output)
    file = sources / "One.sol"
    file.write_text(source + "contract One { uint256 public one; }")
    assert build.build() and not build.build()
    assert [path.name for path in output.glob("*.json")] == ["One.json"]
    first = build.artifact("One")
    assert set(first) == {"abi", "bytecode", "deployedBytecode"}
    file.write_text(source + "contract One { uint256 public two; }")
    assert build.build()
    assert build.artifact("One") != first

    file.write_text(source + "contract One { uint256 public two }")
    with pytest.raises(build.CompileError, match="Expected ';'"):
        build.build()
    # a warning is an error, too
    file.write_text(source + "contract One { function f() external pure { uint256 x; } }")
    with pytest.raises(build.CompileError, match="Unused"):
        build.build()


def test_missing_program(monkeypatch):
    monkeypatch.setenv("ANVIL", "/nowhere/anvil")
    with pytest.raises(toolchain.MissingProgram, match="make setup"):
        Anvil().start()


def test_code_on_the_chain_is_the_code_built(chain):
    code = chain.web3.eth.get_code(chain.place.adjudicator)
    assert "0x" + bytes(code).hex() == build.artifact("Adjudicator")["deployedBytecode"]


def test_deploy_command(anvil, tmp_path):
    before = anvil.snapshot()
    key, out = tmp_path / "key", tmp_path / "addresses.json"
    key.write_text(account(3).key.hex() + "\n")
    owner = account(4).address
    done = run(
        "deploy",
        "--rpc", anvil.url,
        "--key-file", str(key),
        "--token-account", owner,
        "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place = json.loads(done.stdout)
    assert json.loads(out.read_text()) == place
    assert place["chain_id"] == 1337
    for name in ("adjudicator", "eth_holder", "erc20_holder", "token"):
        assert anvil.web3.eth.get_code(place[name])
    assert anvil.web3.eth.get_transaction_count(account(3).address) == 4
    assert account(3).key.hex() not in done.stdout + done.stderr
    anvil.revert(before)


def test_deploy_command_refuses(anvil, tmp_path):
    key = tmp_path / "key"
    key.write_text("abcd")
    nowhere = "http://127.0.0.1:1"
    for text, options in (
        ("no node answers", ["--rpc", nowhere]),
        ("no readable key", ["--rpc", anvil.url, "--key-file", str(key)]),
        ("no readable key", ["--rpc", anvil.url, "--key-file", str(tmp_path / "none")]),
        ("no address", ["--rpc", anvil.url, "--token-account", "alice"]),
    ):
        before = anvil.web3.eth.block_number
        done = run("deploy", *options)
        assert done.returncode == 2
        assert text in done.stderr and "Traceback" not in done.stderr
        assert "abcd" not in done.stderr
        assert anvil.web3.eth.block_number == before


@pytest.mark.parametrize("command", ["build", "deploy", "gas"])
def test_help(command):
    assert run(command, "--help").returncode == 0


def test_deploy_for_named_accounts(anvil):
    before = anvil.snapshot()
    sender, owner = anvil.web3.eth.accounts[5:7]
    place = deploy(anvil.web3, sender, [owner], 77)
    assert place.block == int(before and anvil.web3.eth.block_number) - 4
    token = build.artifact("PerunToken")["abi"]
    functions = anvil.web3.eth.contract(address=place.token, abi=token).functions
    assert functions.balanceOf(owner).call() == 77
    assert functions.totalSupply().call() == 77
    anvil.revert(before)


def test_deploy_without_money(anvil):
    with pytest.raises(Exception, match="(?i)revert|invalid|panic"):
        deploy_one(
            anvil.web3, anvil.web3.eth.accounts[0], "PerunToken", [account(0).address] * 2, 2**255
        )
