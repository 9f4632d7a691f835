# timeout: 400
# heapsize: 8m
"""Power cuts in every operation of the flash, for the journal on flash of its own."""

from chip import HALF, NOISE, NOTHING
from cuts import Cuts, Partition
from life import ALICE, BOB

CUTS = Cuts(Partition(), 25)


def test_the_payers_first_boot():
    CUTS.first_boot(ALICE, NOTHING)


def test_the_payers_first_boot_with_half_an_operation():
    CUTS.first_boot(ALICE, HALF)


def test_the_payers_first_boot_with_a_noisy_operation():
    CUTS.first_boot(ALICE, NOISE)


def test_the_payees_first_boot():
    CUTS.first_boot(BOB, NOTHING)


def test_the_payees_first_boot_with_half_an_operation():
    CUTS.first_boot(BOB, HALF)


def test_the_payees_first_boot_with_a_noisy_operation():
    CUTS.first_boot(BOB, NOISE)


def test_an_old_payer():
    CUTS.old_device(ALICE, NOTHING)


def test_an_old_payer_with_half_an_operation():
    CUTS.old_device(ALICE, HALF)


def test_an_old_payer_with_a_noisy_operation():
    CUTS.old_device(ALICE, NOISE)


def test_an_old_payee():
    CUTS.old_device(BOB, NOTHING)


def test_an_old_payee_with_half_an_operation():
    CUTS.old_device(BOB, HALF)


def test_an_old_payee_with_a_noisy_operation():
    CUTS.old_device(BOB, NOISE)


def test_the_partition_is_rewritten_in_between():
    CUTS.rewritten()


def test_again_and_again():
    assert CUTS.again_and_again(50) > 70
