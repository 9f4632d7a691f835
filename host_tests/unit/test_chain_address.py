"""Address texts and accounts."""

from perun.chain.account import Account
from perun.chain.address import from_text, to_checksum
from support import raises

# From the text of EIP-55.
CHECKSUMMED = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)


def test_checksums():
    for text in CHECKSUMMED:
        address = from_text(text)
        assert to_checksum(address) == text
        assert from_text(text[2:]) == from_text(text.lower()) == address
        assert from_text("0x" + text[2:].upper()) == address


def test_mistyped_addresses():
    good = CHECKSUMMED[4]
    assert "checksum" in str(raises(ValueError, from_text, good.replace("B", "b")))
    for text in (good[:-1], good + "0", "", "0x", "0X" + good[2:], "0x" + "0x" * 20):
        raises(ValueError, from_text, text)
    for text in (" " + good[3:], good[:10] + "_" + good[11:], good[:10] + "\u0661" + good[11:]):
        raises(ValueError, from_text, "0x" + text[-40:])
    raises(ValueError, to_checksum, bytes(19))


def test_an_account_shows_its_address_and_hides_its_secret():
    secret = b"\x01" * 32
    account = Account(secret)
    text = repr(account)
    assert text == "<Account 0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1>"
    assert len(account.public_key) == 64
    for shown in (text, str(account), "%r" % (account,)):
        assert "01010101" not in shown


def test_secrets_that_are_no_keys():
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    for secret in (
        bytes(32),
        order.to_bytes(32, "big"),
        b"\xff" * 32,
        b"\x01" * 31,
        b"",
        bytes(33),
    ):
        raises(ValueError, Account, secret)
