# timeout: 400
# heapsize: 8m
"""Power cuts in every operation of the flash, for the journal in a file on LittleFS 2."""

from chip import HALF, NOISE, NOTHING
from cuts import LIFE, Cuts, File
from life import ALICE, BOB

CUTS = Cuts(File(), 250)


def test_the_life_goes_through():
    assert len(LIFE.log) > 80
    for who in (ALICE, BOB):
        for moment in LIFE.puts(who) + [len(LIFE.log)]:
            LIFE.check(who, moment, LIFE.contents(who, moment))
        assert not [key for key in LIFE.contents(who, len(LIFE.log)) if key[:1] == b"c"]  # over


def test_the_check_finds_an_older_store():
    """The rules would notice if a store came back with the record before the newest one."""
    noticed = 0
    for who in (ALICE, BOB):
        puts = LIFE.puts(who)
        for before, moment in zip(puts, puts[1:]):
            lost = LIFE.contents(who, before)
            if LIFE.released(who, moment) != LIFE.released(who, before):
                try:
                    LIFE.check(who, moment, lost)
                except (AssertionError, KeyError):
                    noticed += 1
    assert noticed > 20, noticed


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


def test_the_file_is_rewritten_in_between():
    CUTS.rewritten()


def test_again_and_again():
    assert CUTS.again_and_again(40) > 500
