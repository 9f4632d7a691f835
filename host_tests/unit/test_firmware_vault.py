"""A secret under a PIN: right and wrong PINs, damage, and what is counted."""

import vault
from perun.store.memory import MemoryStore
from support import raises

SECRET = bytes(range(32))
OWNER = bytes(range(20))
FAST = 0  # seconds: the fewest iterations


def test_functions_by_the_book():
    """RFC 4231 test case 2 of HMAC-SHA256; RFC 7914, section 11, of PBKDF2-HMAC-SHA256."""
    mac = vault.hmac(b"Jefe", b"what do ya want for nothing?")
    assert mac.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    derived = vault.pbkdf2(b"passwd", b"salt", 1)
    assert derived.hex() == "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
    again = vault.pbkdf2(b"password", b"salt", 4096)
    assert again.hex() == "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"
    long = vault.pbkdf2(b"p" * 65, b"salt", 2)
    assert long.hex() == "6f3553a14dcf0e73271c6e26ca06693c24a7d8c0092da9dd4252f8013d559608"


def test_round_trip():
    record = vault.seal(SECRET, OWNER, "2580", FAST)
    assert vault.is_sealed(record) and vault.address(record) == OWNER
    assert vault.unseal(record, "2580") == SECRET
    for pin in ("2581", "258", "25800", "2580 ", "", "ä580"):
        assert vault.unseal(record, pin) is None
    assert SECRET not in record and b"2580" not in record


def test_no_two_records_are_alike():
    records = [vault.seal(SECRET, OWNER, "2580", FAST) for _ in range(2)]
    assert records[0] != records[1]


def test_damage_anywhere():
    record = vault.seal(SECRET, OWNER, "2580", FAST)
    for at in range(5, len(record), 6):  # not each: every try costs
        bad = record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :]
        assert vault.unseal(bad, "2580") is None, at
    for iterations in (0, 999, 10000001, 0xFFFFFFFF):
        bad = record[:1] + iterations.to_bytes(4, "big") + record[5:]
        assert vault.unseal(bad, "2580") is None
    for length in (0, 32, len(record) - 1):
        assert not vault.is_sealed(record[:length])
    assert not vault.is_sealed(b"\x02" + record[1:])


def test_what_can_be_a_pin():
    for pin in ("", "123", "x" * 65, "12 34", " 1234", None, 1234, b"1234", "\t\t\t\t"):
        raises(ValueError, vault.seal, SECRET, OWNER, pin, FAST)
    for pin in ("1234", "x" * 64, "correct-horse-battery", "äöüß"):
        assert vault.unseal(vault.seal(SECRET, OWNER, pin, FAST), pin) == SECRET


def test_wrong_pins_are_counted_first():
    store = MemoryStore()
    record = vault.seal(SECRET, OWNER, "2580", FAST)
    counts = []
    keep = store.put

    def put(key, value):
        counts.append((key, value))
        keep(key, value)

    store.put = put
    for number in range(1, 6):
        error = raises(vault.WrongPin, vault.unlock, store, record, "0000")
        assert "wrong PIN" in str(error) and "in %d s" % vault.pause(number) in str(error)
        assert vault.wrong_tries(store) == number
    assert vault.unlock(store, record, "2580") == SECRET
    assert vault.wrong_tries(store) == 0
    assert counts[-1] == (vault.TRIES, b"\x06")  # counted before it was known to be right


def test_slower_each_time():
    pauses = [vault.pause(tries) for tries in range(300)]
    assert pauses[:6] == [0, 0, 0, 2, 4, 8]
    assert max(pauses) == pauses[-1] == 900
    assert all(one <= other for one, other in zip(pauses, pauses[1:]))


def test_a_full_store_tells_nothing():
    """What cannot count does not look."""

    class Full(MemoryStore):
        def put(self, key, value):
            raise OSError(28)

    record = vault.seal(SECRET, OWNER, "2580", FAST)
    raises(OSError, vault.unlock, Full(), record, "2580")


def test_a_watchdog_is_fed():
    fed = []
    vault.pbkdf2(b"x", b"y", 1000, lambda: fed.append(1))
    assert len(fed) > 10
