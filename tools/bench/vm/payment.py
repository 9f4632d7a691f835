"""One side's work for a payment, or one part of it, again and again. Runs inside the VM.

    micropython payment.py RECORDING WORK COUNT [weigh]

RECORDING is a JSON file made by device.py, WORK a name below. The current folder gets the side's
journal. With "weigh" nothing is collected, and the bytes allocated by COUNT times are printed.
"""

import gc
import json
import sys

from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import Ask, Persist, Send
from perun.client.keeping import load_channel
from perun.client.records import dump_channel
from perun.model import transfer
from perun.store.journal import Journal
from perun.wire.compact import Compact, Contexts


class Side:
    """The payer (index 0) or the payee, with its stored channel and the frames to come."""

    def __init__(self, recording: dict, index: int) -> None:  # type: ignore[type-arg]
        self.chain = Ethereum()
        self.account = Account(bytes.fromhex(recording["secrets"][index]))
        self.channel = load_channel(
            bytes.fromhex(recording["records"][index]), self.chain, self.account
        )
        self.peer = self.channel.params.participants[1 - index]
        self.price = (recording["price"],)
        contexts = Contexts()
        contexts.add(self.channel.id, self.channel.current.state.allocation.assets)
        self.codec = Compact(contexts)
        self.store = Journal("payment.journal")
        self.payments = [[bytes.fromhex(part) for part in one] for one in recording["payments"]]
        self.update = self.codec.decode(self.payments[0][0])
        self.body = b""  # the last one that was sent

    def perform(self, effects: list) -> None:  # type: ignore[type-arg]
        """What a client does with a machine's effects, but for its links and its service."""
        for effect in effects:
            kind = type(effect)
            if kind is Persist:
                self.persist()
            elif kind is Send:
                self.body = self.codec.encode(effect.message)
            elif kind is Ask:
                self.perform(self.channel.accept())

    def persist(self) -> None:
        """Store the channel."""
        self.store.put(b"c" + self.channel.id, dump_channel(self.channel))

    # -- work: methods of the number of the time -------------------------------------------------

    def payer(self, number: int) -> None:
        """Propose the payment and take the answer."""
        request, answer, _, _ = self.payments[number]
        state = transfer(self.channel.current.state, 0, self.price)
        self.perform(self.channel.propose(state))
        if self.body != request:
            raise ValueError("another request than the recorded one")
        self.perform(self.channel.receive(self.codec.decode(answer)))

    def payee(self, number: int) -> None:
        """Take the payment and answer it."""
        request, answer, _, _ = self.payments[number]
        self.perform(self.channel.receive(self.codec.decode(request)))
        if self.body != answer:
            raise ValueError("another answer than the recorded one")

    def sign(self, number: int) -> None:
        """Sign a state's hash."""
        _, _, digest, _ = self.payments[number % len(self.payments)]
        self.chain.sign(self.account, digest)

    def verify(self, number: int) -> None:
        """Verify the signature of a peer who is known already."""
        self._verify(self.chain, number)

    def verify_new(self, number: int) -> None:
        """Verify the signature of a peer who is not known yet."""
        self._verify(Ethereum(), number)

    def _verify(self, chain: Ethereum, number: int) -> None:
        _, _, digest, signature = self.payments[number % len(self.payments)]
        if not chain.verify(self.peer, digest, signature):
            raise ValueError("a good signature is refused")

    def state_hash(self, _: int) -> None:
        """Hash the newest state."""
        self.chain.state_hash(self.channel.current.state)

    def encode(self, _: int) -> None:
        """Encode a payment."""
        self.codec.encode(self.update)

    def decode(self, _: int) -> None:
        """Decode a payment."""
        self.codec.decode(self.payments[0][0])

    def journal(self, _: int) -> None:
        """Store the channel once."""
        self.persist()


def main(path: str, name: str, count: str, weigh: str = "") -> None:
    """Do the work once, so that everything is loaded, and then `count` times."""
    with open(path) as file:
        recording = json.load(file)
    side = Side(recording, 0 if name == "payer" else 1)
    del recording
    work = getattr(side, name)
    work(0)
    gc.collect()
    if weigh:
        gc.disable()
    before = gc.mem_alloc()  # type: ignore[attr-defined]
    for number in range(1, int(count) + 1):
        work(number)
    if weigh:
        print(gc.mem_alloc() - before)  # type: ignore[attr-defined]


main(*sys.argv[1:])
