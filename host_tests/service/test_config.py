"""Configuration, keys and command line: every mistake is named, nothing starts with it."""

from __future__ import annotations

import json
import os
import stat

import pytest
from adoption import config, keys, status
from adoption.chain import WrongChain
from adoption.cli import app
from adoption.store import Store, StoreError
from service import kit
from service.test_restart import toml
from typer.testing import CliRunner

ADDRESS = "0x5B38Da6a701c568545dCfcB03FcB875f56beddC4"


def document(**sections):
    found = {
        "chain": {"rpc": "http://127.0.0.1:1", "chain_id": 1, "adjudicator": ADDRESS},
        "asset": [{"name": "ETH", "kind": "eth", "holder": ADDRESS}],
    }
    return {**found, **sections}


def run(folder, found, *arguments):
    path = folder / "adoption.toml"
    path.write_text(toml(found))
    return CliRunner().invoke(app, [*arguments, "--config", str(path)])


@pytest.mark.parametrize(
    ("sections", "word"),
    [
        ({"chain": {"rpc": "x", "chain_id": 1}}, "adjudicator"),
        ({"chain": {"rpc": "x", "chain_id": 0, "adjudicator": ADDRESS}}, "chain_id"),
        ({"chain": {"rpc": "x", "chain_id": 1, "adjudicator": "0x12"}}, "40 hex digits"),
        (
            {"chain": {"rpc": "x", "chain_id": 1, "adjudicator": ADDRESS.replace("5B", "5b")}},
            "checksum",
        ),
        ({"chain": {"rpc": [], "chain_id": 1, "adjudicator": ADDRESS}}, "list of 1 to 9"),
        ({"chain": {"rpc": ["x", "x"], "chain_id": 1, "adjudicator": ADDRESS}}, "different"),
        ({"asset": []}, "asset"),
        ({"asset": [{"name": "A", "kind": "erc20", "holder": ADDRESS}]}, "token"),
        ({"asset": [{"name": "A", "kind": "eth", "holder": ADDRESS}] * 2}, "share"),
        ({"asset": [{"name": "A", "kind": "btc", "holder": ADDRESS}]}, "kind"),
        ({"policy": {"min_challenge_duration": 0}}, "min_challenge_duration"),
        ({"policy": {"max_challenge_duration": 2**64}}, "max_challenge_duration"),
        ({"policy": {"min_challenge_duration": 9, "max_challenge_duration": 8}}, "is over"),
        ({"policy": {"default_budget": {"BTC": 1}}}, "BTC"),
        ({"device": [{"address": ADDRESS, "budget": {"ETH": -1}}]}, "2**256"),
        ({"device": [{"address": ADDRESS, "budget": {"ETH": 1.5}}]}, "whole number"),
        ({"device": [{"address": ADDRESS}] * 2}, "twice"),
        ({"typo": {}}, "typo"),
        ({"limits": {"sesions": 1}}, "sesions"),
    ],
)
def test_mistakes(tmp_path, sections, word):
    with pytest.raises(config.ConfigError, match=word.replace("**", r"\*\*")):
        config.parse(document(**sections), tmp_path)
    done = run(tmp_path, document(**sections), "serve")
    assert done.exit_code == 1
    assert not (tmp_path / "adoption.sqlite").exists()


def test_no_file_and_no_toml(tmp_path):
    with pytest.raises(config.ConfigError, match="cannot read"):
        config.load(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("[chain\n")
    with pytest.raises(config.ConfigError, match="TOML"):
        config.load(tmp_path / "bad.toml")


def test_identity_key_is_made_once(tmp_path):
    path = tmp_path / "deep" / "identity.key"
    key = keys.load(path, keys.IDENTITY_VARIABLE, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.load(path, keys.IDENTITY_VARIABLE, create=True).address == key.address
    assert path.read_text().strip() not in repr(key)


def test_unsafe_or_broken_keys(tmp_path, monkeypatch):
    path = tmp_path / "key"
    with pytest.raises(keys.BadKey, match="no key"):
        keys.load(path, keys.FUNDER_VARIABLE)
    path.write_text("11" * 32)
    path.chmod(0o644)
    with pytest.raises(keys.BadKey, match="chmod"):
        keys.load(path, keys.FUNDER_VARIABLE)
    path.chmod(0o600)
    assert keys.load(path, keys.FUNDER_VARIABLE).address
    for text in ("", "11" * 31, "zz" * 32, "00" * 32, "ff" * 32):
        monkeypatch.setenv(keys.FUNDER_VARIABLE, text)
        with pytest.raises(keys.BadKey) as error:
            keys.load(path, keys.FUNDER_VARIABLE)
        assert not text or text not in str(error.value)
    monkeypatch.setenv(keys.FUNDER_VARIABLE, "0x" + "22" * 32)
    assert keys.load(path, keys.FUNDER_VARIABLE).address


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c, d: d["chain"].update(chain_id=5), "chain 1337"),
        (lambda c, d: d["chain"].update(adjudicator=c.accounts[0]), "no contract"),
        (lambda c, d: d["chain"].update(adjudicator=c.place.token), "another adjudicator"),
        (lambda c, d: d["asset"][0].update(holder=c.place.token), "no asset holder"),
        (lambda c, d: d["asset"][1].update(token=c.place.eth_holder), "another token"),
        (lambda c, d: d["chain"].update(generation=1), "not of generation 1"),
    ],
)
async def test_configuration_of_another_chain(chain, tmp_path, change, word):
    from adoption.service import Service

    found = kit.document(chain, ())
    change(chain, found)
    kit.write_wallet(tmp_path)
    with pytest.raises(WrongChain, match=word):
        await Service(kit.parse(found, tmp_path)).run()


async def test_store_of_another_chain(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    await store.open({"chain_id": "1"})
    await store.close()
    store = Store(tmp_path / "store.sqlite")
    with pytest.raises(StoreError, match="another database"):
        await store.open({"chain_id": "2"})
    await store.close()


async def test_address_in_use(chain, start, cars, tmp_path):
    service = await start(cars[0])
    taken = f"127.0.0.1:{service.listeners.addresses[0][1]}"
    with pytest.raises(OSError):
        await start(cars[1], service={"listen": [taken], "database": "other.sqlite"})


def test_devices_by_command(tmp_path):
    found = document()
    assert run(tmp_path, found, "status").exit_code == 1
    assert run(tmp_path, found, "devices", "budget", ADDRESS, "ETH", "5").exit_code == 1
    assert run(tmp_path, found, "devices", "add", ADDRESS, "--name", "car").exit_code == 0
    assert run(tmp_path, found, "devices", "budget", ADDRESS, "ETH", str(10**30)).exit_code == 0
    assert run(tmp_path, found, "devices", "budget", ADDRESS, "BTC", "5").exit_code == 1
    assert run(tmp_path, found, "devices", "budget", ADDRESS, "ETH", "five").exit_code == 1
    assert run(tmp_path, found, "devices", "add", "0x12").exit_code == 1
    listed = run(tmp_path, found, "devices", "list")
    assert listed.exit_code == 0 and "car" in listed.output
    shown = run(tmp_path, found, "status", "--json")
    devices = json.loads(shown.output)["devices"]
    assert devices[0]["address"] == ADDRESS
    assert devices[0]["budgets"] == {ADDRESS: {"granted": 10**30, "spent": 0}}
    assert run(tmp_path, found, "devices", "remove", ADDRESS).exit_code == 0
    assert not status.read(tmp_path / "adoption.sqlite")["devices"][0]["enabled"]
    assert run(tmp_path, found, "status").exit_code == 0


def test_secrets_stay_out_of_the_environment_of_others():
    assert keys.FUNDER_VARIABLE not in os.environ
