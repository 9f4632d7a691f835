"""No call costs more than with Perun's own contracts."""

import pytest
from contracts.gas import measure

# Measured with the code of Perun's second generation
PERUN = {
    "deploy_adjudicator": 2_980_000,
    "deploy_eth_holder": 940_000,
    "deploy_erc20_holder": 1_050_000,
    "deposit_eth": 45_700,
    "approve_erc20": 46_000,
    "deposit_erc20": 81_300,
    "register": 111_000,
    "refute": 79_000,
    "conclude": 105_000,
    "conclude_final": 154_000,
    "withdraw_eth": 45_000,
    "withdraw_erc20": 69_000,
    "register_app": 131_000,
    "progress": 90_000,
    "conclude_app": 106_000,
    "register_sub": 206_000,
    "conclude_sub": 138_000,
    "register_two_assets": 117_000,
    "conclude_final_two_assets": 160_000,
}

pytestmark = pytest.mark.ours


@pytest.fixture(scope="module")
def measured():
    return measure()


def test_every_call_is_measured(measured):
    assert measured.keys() == PERUN.keys()


@pytest.mark.parametrize("call", PERUN)
def test_not_above(measured, call):
    assert 21_000 < measured[call] <= PERUN[call]
