"""The life of a channel as its two devices' stores saw it, and what a restored store must know.

`record()` runs two real clients with real keys from the first boot to the withdrawn money. Its
log says in which order each device stored and sent; a message is a signature that the world has.
Every test then cuts one device's store at a moment of that log.
"""

import asyncio

import identity
from channels import ASSET, CHAIN_ID
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import (
    ACTING,
    DOUBT_PEER,
    FINAL,
    FUNDING,
    INIT_SIGNING,
    REGISTERED,
    SIGNING,
    Ask,
    Limits,
    Send,
)
from perun.client import Client
from perun.client.handle import Refused
from perun.client.peer import Peer
from perun.client.keeping import load_channel
from perun.link.memory import pair
from perun.model import transfer
from perun.store.memory import MemoryStore
from perun.wire.messages import (
    ChannelSync,
    ChannelUpdate,
    ChannelUpdateAcc,
    ChannelUpdateRej,
)
from support import Random

ALICE, BOB = 0, 1
_SECRETS = (b"\x01" * 32, b"\x02" * 32)
_LIMITS = Limits((ASSET,), (10**18,), 30, 3600)
_RECEIVER = b"\x99" * 20
_DEPOSITS = ((10**17, 10**16),)


class Diary(MemoryStore):
    """A store that writes down in a common log what it is given."""

    def __init__(self, who, log):
        super().__init__()
        self._who = who
        self._log = log

    def put(self, key, value):
        self._log.append((self._who, key, value))
        super().put(key, value)

    def delete(self, key):
        self._log.append((self._who, key, b""))
        super().delete(key)


class Life:
    """log: (who, message) for what was sent and (who, key, value) for what was stored, in order;
    an empty value deletes. accounts: Alice's and Bob's."""

    def __init__(self):
        self.log = []
        self.stores = [Diary(who, self.log) for who in (ALICE, BOB)]
        for store, secret in zip(self.stores, _SECRETS):
            store.put(b"k", secret)
        self.accounts = [identity.load(store) for store in self.stores]
        self._clients = [None, None]
        self._seed = 0

    # -- recording ----------------------------------------------------------------------------

    def start(self, who):
        """Start or restart a device."""
        self._seed += 1
        client = Client(
            self.accounts[who],
            CHAIN_ID,
            _LIMITS,
            _RECEIVER,
            self.stores[who],
            random=Random(self._seed).bytes,
        )
        client.on_proposal = lambda proposal: None
        self._clients[who] = client
        handles = client.restore(DOUBT_PEER)
        return handles[0] if handles else None

    async def connect(self):
        """A new link between the two."""
        alice, bob = self._clients
        one, other = pair()
        accepting = asyncio.create_task(bob.accept(other))
        peer = await alice.connect(one, bob.account.address)
        await accepting
        return peer

    async def run(self):
        """The whole life."""
        real_send = Peer.send

        async def send(peer, message):
            self.log.append((self._clients.index(peer._client), message))
            await real_send(peer, message)

        Peer.send = send
        try:
            await self._live()
        finally:
            Peer.send = real_send

    async def _live(self):
        self.start(ALICE)
        self.start(BOB)
        alice, bob = self._clients
        mine = await alice.propose(await self.connect(), _DEPOSITS, 60)
        await _soon(lambda: bob.channels and bob.channels[mine.id].phase == FUNDING)
        theirs = bob.channels[mine.id]
        for handle in (mine, theirs):
            await handle.happened("funded")
        for amount in (10**15, 2 * 10**15, 3):
            await mine.pay(amount)
        for amount in (10**12, 7):
            await theirs.pay(amount)

        # Bob refuses once: the version is burnt.
        bob.on_update = lambda handle, state: "no"
        try:
            await mine.pay(5)
            raise AssertionError("not refused")
        except Refused:
            pass
        bob.on_update = lambda handle, state: None
        await mine.pay(6)
        await asyncio.gather(mine.pay(100), theirs.pay(50))

        # Bob dies before he hears of a payment, and Alice while it is unanswered.
        mine.peer.close()
        theirs.peer.close()
        await _soon(lambda: not mine.peer.connected)
        paying = asyncio.create_task(mine.pay(10**14))
        await _soon(lambda: mine.phase == SIGNING)
        paying.cancel()
        theirs = self.start(BOB)
        mine = self.start(ALICE)
        await self.connect()
        await _soon(lambda: mine.phase == theirs.phase == ACTING)
        await mine.pay(1)
        await theirs.pay(2)

        await mine.close()
        for handle in (mine, theirs):
            await handle.happened("concluded", handle.version)
            await handle.happened("withdrawn")
        for client, handle in zip(self._clients, (mine, theirs)):
            client.forget(handle)

    # -- reading ------------------------------------------------------------------------------

    def puts(self, who):
        """Where in the log this device stored."""
        return [i for i, entry in enumerate(self.log) if entry[0] == who and len(entry) == 3]

    def contents(self, who, moment):
        """What this device had stored before the log's entry `moment`."""
        values = {}
        for i in self.puts(who):
            if i < moment:
                _, key, value = self.log[i]
                if value:
                    values[key] = value
                else:
                    values.pop(key, None)
        return values

    def released(self, who, moment):
        """What this device had sent before the log's entry `moment`."""
        entries = self.log[:moment]
        return [entry[1] for entry in entries if entry[0] == who and len(entry) == 2]

    # -- the rules ----------------------------------------------------------------------------

    def check(self, who, moment, contents):
        """A device had this left when the power failed at `moment`: do the rules hold?

        The key is there; no signature is out that the store does not know; no version comes again
        with another state; and the channel goes on with the peer, or can be disputed.
        """
        chain = Ethereum()
        own = self._machine(who, contents, chain)
        if b"k" in self.contents(who, moment):
            assert Account(contents[b"k"]).address == self.accounts[who].address
        if not own:
            signed = (ChannelUpdate, ChannelUpdateAcc, ChannelSync)
            out = [m for m in self.released(who, moment) if type(m) in signed]
            assert not out or self._is_over(who, moment)
            return
        for message in self.released(who, moment):
            knows(own, who, message)
        if own.phase >= FUNDING:
            _check_disputable(own, chain)
        peer = self._machine(1 - who, self.contents(1 - who, moment), chain)
        if peer:
            _go_on((own, peer) if who == ALICE else (peer, own))
        else:
            # The peer has not begun, so nothing is deposited; or it is through, and so is this.
            assert own.phase == INIT_SIGNING or own.current.state.is_final

    def _is_over(self, who, moment):
        """The channel is withdrawn, and this device forgets it now or did so before."""
        last = self.puts(who)[-1]
        return self.log[last][2] == b"" and moment >= last

    def _machine(self, who, contents, chain):
        channels = [contents[key] for key in contents if key[:1] == b"c"]
        if not channels:
            return None
        machine = load_channel(channels[0], chain, self.accounts[who])
        machine.doubts = DOUBT_PEER
        return machine


def knows(own, who, message):
    """The store knows the signature in a message that is out."""
    state, sigs = own.current
    kind = type(message)
    if kind is ChannelUpdate:
        version = message.state.version
        if own.staged and own.staged.state.version == version:
            assert own.staged == message
        elif state.version == version:
            assert state == message.state and sigs[who] == message.sig
        else:
            assert own.next_version > version
    elif kind is ChannelUpdateAcc:
        assert state.version >= message.version
        if state.version == message.version:
            assert sigs[who] == message.sig
    elif kind is ChannelSync:
        assert state.version >= message.current.state.version
        assert state.version > message.current.state.version or state == message.current.state
    elif kind is ChannelUpdateRej:
        assert own.next_version > message.version


def _check_disputable(own, chain):
    state, sigs = own.current
    for address, sig in zip(own.params.participants, sigs):
        assert chain.verify(address, chain.state_hash(state), sig)


def _go_on(machines):
    """Both restart, meet, and pay each other; or they agree how it ended."""
    alice, bob = machines
    before = [machine.current.state.version for machine in machines]
    queue = [(bob, alice.ask()), (alice, bob.ask())]
    _deliver(queue, machines)
    for machine, other in ((alice, bob), (bob, alice)):
        _deliver([(other, machine.retry())], machines)
    for machine in machines:
        machine.funded()
        assert not machine.evidence
    assert min(machine.current.state.version for machine in machines) >= max(before)
    assert alice.current == bob.current
    if alice.current.state.is_final or max(m.phase for m in machines) >= REGISTERED:
        assert all(m.phase >= FINAL for m in machines)
        return
    for payer, other in ((alice, bob), (bob, alice)):
        assert payer.phase == other.phase == ACTING, (payer.phase, other.phase)
        state = transfer(payer.current.state, payer.index, (1,), payer.next_version)
        _deliver([(other, payer.propose(state))], machines)
        assert payer.current == other.current and payer.current.state == state


def _deliver(queue, machines):
    """Give each machine what the other one's effects send, until there is nothing left."""
    rounds = 0
    while queue:
        rounds += 1
        assert rounds < 50, "they talk for ever"
        machine, effects = queue.pop(0)
        other = machines[1 - machine.index]
        for effect in effects:
            if type(effect) is Send:
                answer = machine.receive(effect.message)
                if any(type(e) is Ask for e in answer):
                    answer = machine.accept()
                queue.append((other, answer))


async def _soon(ready):
    for _ in range(2000):
        if ready():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def record():
    """A recorded Life."""
    life = Life()
    asyncio.run(asyncio.wait_for(life.run(), 60))
    return life
