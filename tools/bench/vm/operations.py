"""The operations of the cryptography that are measured. Runs in the VM and on CPython."""

from perun.chain.ethereum import Ethereum
from perun.crypto import keccak, secp256k1
from perun.model import NO_APP, Allocation, State, ether

HASHES = ("keccak_f", "state_hash", "state_hash_other", "state_hash_first")
SIGNATURES = ("sign", "verify_cached", "verify_new", "recover")

_ASSETS = (ether(1337, b"\x5b" * 20), ether(1, b"\xa5" * 20))
_LAST_BYTE = 135  # of a block


class Operations:
    """Each operation is a method of the number of the time.

    samples: {"secret": hexadecimal, "public": ..., "signed": [[digest, signature], ...]}
    """

    def __init__(self, samples: dict) -> None:  # type: ignore[type-arg]
        self.chain = Ethereum()
        self.sponge = bytearray(201)
        self.secret = bytes.fromhex(samples["secret"])
        self.public = bytes.fromhex(samples["public"])
        self.signed = [[bytes.fromhex(part) for part in one] for one in samples["signed"]]
        self.states = [_state(number) for number in range(4)]
        self.others = [_state(number, number & 1) for number in range(4)]
        self.key = None

    def keccak_f(self, _: int) -> None:
        """The permutation, brought on by the last byte of a block."""
        self.sponge[200] = _LAST_BYTE
        keccak.absorb(self.sponge, b"\x01", 1)

    def state_hash(self, number: int) -> None:
        """A state of generation 2, 832 bytes, which a payment has made of the last one."""
        self.chain.state_hash(self.states[number % len(self.states)])

    def state_hash_other(self, number: int) -> None:
        """The same when the last one was of a channel with another asset."""
        self.chain.state_hash(self.others[number % len(self.others)])

    def state_hash_first(self, number: int) -> None:
        """The first after the start, or when the last one had other numbers of things in it."""
        Ethereum().state_hash(self.states[number % len(self.states)])

    def sign(self, number: int) -> None:
        digest, expected = self.signed[number % len(self.signed)]
        if secp256k1.sign(digest, self.secret) != expected:
            raise ValueError("another signature")

    def verify_cached(self, number: int) -> None:
        if self.key is None:
            self.key = secp256k1.prepare(self.public)
        self._verify(number, self.key)

    def verify_new(self, number: int) -> None:
        self._verify(number, self.public)

    def recover(self, number: int) -> None:
        digest, signature = self.signed[number % len(self.signed)]
        if secp256k1.recover(digest, signature) != self.public:
            raise ValueError("another key")

    def _verify(self, number: int, key: object) -> None:
        digest, signature = self.signed[number % len(self.signed)]
        if not secp256k1.verify(digest, signature, key):
            raise ValueError("a good signature is refused")


def backend(operation: str) -> str:
    """Who computes it here. Keccak's portable twin counts as plain integers, as the curve's."""
    name: str = keccak.BACKEND if operation in HASHES else secp256k1.BACKEND
    return "bigint" if name == "portable" else name


def _state(number: int, asset: int = 0) -> State:
    ether_ = 10**18
    balances = (2 * ether_ - number, ether_ + number)
    return State(
        b"\x07" * 32, number, NO_APP, Allocation((_ASSETS[asset],), (balances,), ()), b"", False
    )
