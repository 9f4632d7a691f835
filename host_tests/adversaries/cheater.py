"""A car that cheats: speaks the devices' protocol over TCP and breaks it where it is told to.

It knows the encodings and signatures of the library and nothing of its rules. As a program it
opens a link to a device, behaves badly once, and prints what it hears:

    python -m adversaries.cheater random_bytes --port 5750
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any

from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.chain.nonce import combine
from perun.link import LinkError, tcp
from perun.link.handshake import handshake
from perun.model import Allocation, Params, State, Transaction, ether, with_balances
from perun.wire import messages as m
from perun.wire.compact import Compact, Contexts

CHAIN = Ethereum()
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Cheater:
    """port: where the device listens; device: its 20-byte address; holder: of the only asset.

    history     the fully signed transactions of the channel, the newest last
    """

    def __init__(self, port: int, device: bytes, holder: bytes, chain_id: int = 1337) -> None:
        self.account = Account(os.urandom(32))
        self.port = port
        self.device = device
        self.chain_id = chain_id
        self.asset = ether(chain_id, holder)
        self.contexts = Contexts()
        self.codec = Compact(self.contexts)
        self.history: list[Transaction] = []
        self.params: Any = None
        self.link: Any = None

    # -- links and messages -----------------------------------------------------------------------

    async def dial(self) -> None:
        """A link, and nothing said yet."""
        self.link = await tcp.connect("127.0.0.1", self.port)

    async def connect(self) -> None:
        """A link after an honest handshake."""
        await self.dial()
        other = await handshake(
            self.link,
            self.codec,
            CHAIN,
            self.account,
            m.ROLE_PEER,
            self.chain_id,
            os.urandom(32),
        )
        self.device = other.address

    def hang_up(self) -> None:
        """Vanish."""
        if self.link is not None:
            self.link.close()
            self.link = None

    async def send(self, message: Any) -> None:
        await self.link.send(self.codec.encode(message))

    async def recv(self, kind: Any, timeout: float = 60) -> Any:
        """The next message of this kind; others are skipped."""
        async with asyncio.timeout(timeout):
            while True:
                message = self.codec.decode(await self.link.recv())
                if isinstance(message, kind):
                    return message

    async def hears_nothing(self, kind: Any, seconds: float = 0.5) -> bool:
        """No message of this kind comes."""
        try:
            await self.recv(kind, seconds)
        except TimeoutError:
            return True
        return False

    # -- a channel --------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The newest state that both signed."""
        return self.history[-1].state

    def sign(self, state: State) -> bytes:
        return CHAIN.sign(self.account, CHAIN.state_hash(state))

    def proposal(self, row: tuple[int, int], **changes: Any) -> m.LedgerChannelProposal:
        """An honest proposal, with some fields changed."""
        allocation = Allocation((self.asset,), (row,), ())
        fields = {
            "proposal_id": os.urandom(32),
            "challenge_duration": 600,
            "nonce_share": os.urandom(32),
            "app": b"",
            "init_data": b"",
            "init_bals": allocation,
            "funding_agreement": allocation.balances,
            "aux": b"",
            "participant": self.account.address,
            "peers": (self.account.address, self.device),
        }
        return m.LedgerChannelProposal(**{**fields, **changes})

    async def agree(self, row: tuple[int, int]) -> tuple[State, m.ChannelUpdateAcc]:
        """Propose honestly; returns version 0 and the device's signature on it."""
        proposal = self.proposal(row)
        await self.send(proposal)
        answer = await self.recv((m.LedgerChannelProposalAcc, m.ChannelProposalRej))
        assert isinstance(answer, m.LedgerChannelProposalAcc), answer
        nonce = combine(proposal.nonce_share, answer.nonce_share)
        parts = (self.account.address, answer.participant)
        self.params = Params(proposal.challenge_duration, nonce, parts, b"", True, False)
        channel = CHAIN.channel_id(self.params)
        self.contexts.add(channel, (self.asset,))
        state = State(channel, 0, b"", proposal.init_bals, b"", False)
        return state, await self.recv(m.ChannelUpdateAcc)

    async def open(self, row: tuple[int, int]) -> State:
        """Open a channel honestly; the deposit is the caller's."""
        state, acc = await self.agree(row)
        self.history = [self.both(state, acc.sig)]
        await self.send(m.ChannelUpdateAcc(state.id, 0, self.sign(state)))
        return state

    def both(self, state: State, sig: bytes) -> Transaction:
        """The state with both signatures; the device's must be right."""
        assert CHAIN.verify(self.device, CHAIN.state_hash(state), sig)
        return Transaction(state, (self.sign(state), sig))

    def next(self, amount: int = 0, step: int = 1, **changes: Any) -> State:
        """The state that follows: `amount` more for the device."""
        (mine, its) = self.state.allocation.balances[0]
        balances = changes.pop("balances", ((mine - amount, its + amount),))
        version = self.state.version + step
        made = with_balances(self.state, balances, changes.pop("is_final", False), version)
        return made._replace(**changes)

    async def update(self, state: State, actor: int = 0, sig: bytes | None = None) -> None:
        await self.send(m.ChannelUpdate(state, actor, sig or self.sign(state)))

    async def pay(self, amount: int, skip: int = 0) -> State:
        """An honest payment. skip: versions that were refused before."""
        state = self.next(amount, 1 + skip)
        await self.update(state)
        answer = await self.recv((m.ChannelUpdateAcc, m.ChannelUpdateRej))
        assert isinstance(answer, m.ChannelUpdateAcc), answer
        self.history.append(self.both(state, answer.sig))
        return state

    async def refused(self, state: State) -> str:
        """Send an update that must be refused; returns the reason."""
        await self.update(state)
        answer = await self.recv((m.ChannelUpdateAcc, m.ChannelUpdateRej))
        assert isinstance(answer, m.ChannelUpdateRej), answer
        return str(answer.reason)

    def forgeries(self, state: State) -> dict[str, bytes]:
        """Signatures on a state that no contract would take."""
        good = self.sign(state)
        r, s, v = good[:32], int.from_bytes(good[32:64], "big"), good[64]
        stranger = Account(os.urandom(32))
        return {
            "v is 0 or 1": good[:64] + bytes((v - 27,)),
            "s is high": r + (ORDER - s).to_bytes(32, "big") + bytes((55 - v,)),
            "a stranger's": CHAIN.sign(stranger, CHAIN.state_hash(state)),
            "of another state": self.sign(state._replace(version=state.version + 1)),
            "zeros": bytes(65),
        }


# -- what a stranger can do -----------------------------------------------------------------------


async def silent_before_hello(cheater: Cheater) -> None:
    """Connect and say nothing."""
    await cheater.dial()


async def silent_before_proof(cheater: Cheater) -> None:
    """Say hello and prove nothing."""
    await cheater.dial()
    await cheater.send(m.Hello(1, 0, cheater.account.address, cheater.chain_id, os.urandom(32)))


async def false_proof(cheater: Cheater) -> None:
    """Prove with a key that is not the one of the address."""
    await cheater.dial()
    await cheater.send(m.Hello(1, 0, cheater.device[::-1], cheater.chain_id, os.urandom(32)))
    await cheater.send(m.HelloProof(cheater.account.sign(bytes(32))))


async def random_bytes(cheater: Cheater) -> None:
    """Frames of noise after a good handshake."""
    await cheater.connect()
    for size in range(1, 16):
        await cheater.link.send(os.urandom(size * 20))


STRANGERS = {
    behaviour.__name__: behaviour
    for behaviour in (silent_before_hello, silent_before_proof, false_proof, random_bytes)
}


async def _run(name: str, port: int) -> None:
    cheater = Cheater(port, bytes(range(20)), bytes(range(20)))
    await STRANGERS[name](cheater)
    try:
        while True:
            print((await cheater.link.recv()).hex())
    except LinkError as error:
        print(error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("behaviour", choices=STRANGERS)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(_run(arguments.behaviour, arguments.port))
