"""The API that applications use: open, pay, close and dispute channels, earn money.

client = Client(account, 1337, limits, receiver, store)
client.on_proposal = lambda proposal: None            # None accepts, a text refuses
client.on_update = lambda channel, state: None
client.on_event = lambda channel, kind, detail: print(kind, detail)
asyncio.create_task(client.guard(lambda: tcp.connect(host, port)))     # the service
peer = await client.connect(await tcp.connect(peer_host, peer_port))
channel = await client.propose(peer, deposits, duration)
await channel.pay(amount)
await channel.close()
"""

import os

from perun.chain.ethereum import Ethereum
from perun.channel import DOUBT_PEER, DOUBT_SERVICE, ProtocolError
from perun.channel.machine import begin
from perun.client.handle import ChannelHandle, ClientError
from perun.client.peer import Peer
from perun.compat import borrowed, const
from perun.link import LinkError
from perun.wire.compact import Compact, Contexts
from perun.wire.messages import (
    ROLE_PEER,
    ChannelProposalRej,
    ChannelSync,
    ChannelUpdate,
    LedgerChannelProposal,
    LedgerChannelProposalAcc,
)

_MAX_CHANNELS = const(16)
_MAX_PEERS = const(8)

# Needed once per channel, and at the start
_KEEPING = "perun.client.keeping"
_OPENING = "perun.channel.opening"
_PROPOSING = "perun.client.proposing"


def _own_gain_only(channel, state):
    """The default answer to a peer's update: nothing may be taken away."""
    for old, new in zip(channel.state.allocation.balances, state.allocation.balances):
        if new[channel.index] < old[channel.index]:
            return "an update must not lower this side's balance"
    return None


class Client:
    """One device: its key, its peers, its channels, its service.

    account: perun.chain.account.Account; chain_id: int; limits: perun.channel.Limits;
    receiver: the 20-byte address that withdrawals go to; store: perun.store.journal.Journal;
    random: function, n -> n random bytes.
    """

    def __init__(
        self, account, chain_id, limits, receiver, store, generation=2, random=os.urandom
    ):
        if len(receiver) != 20 or not any(receiver):
            raise ValueError("receiver is not an address")
        self.account = account
        self.chain_id = chain_id
        self.limits = limits
        self.receiver = receiver
        self.store = store
        self.chain = Ethereum(generation)
        self.random = random
        self.contexts = Contexts()  # all channels, for the service
        self.channels = {}  # channel id -> ChannelHandle
        self.guardian = None  # the task that talks to the service, see guard()
        self.witness = None  # perun.client.witness.Witness: must see the deposits, too
        self.bridge = None  # perun.client.bridge.Bridge, to go-perun peers behind the service
        self._peers = {}  # address -> Peer
        self.openings = {}  # proposal id -> own proposals that wait for an answer, see proposing
        # What applications set. max_unwatched: None, or per asset the most that may be earned in
        # states that the service does not guard yet. The rest are plain functions.
        self.max_unwatched = None
        self.on_proposal = lambda proposal: "no proposals, please"
        self.on_update = _own_gain_only
        self.on_event = lambda channel, kind, detail: None
        self.on_error = lambda text: None

    def restore(self, doubts=DOUBT_PEER | DOUBT_SERVICE):
        """Bring back the channels of the store; returns their handles.

        What was stored may be old (a backup, say): nothing is signed before both the peer and the
        service have shown what they have. doubts: DOUBT_PEER alone for a device without a service.
        """
        return borrowed(_KEEPING).restore(self, doubts)

    # -- links --------------------------------------------------------------------------------

    async def connect(self, link, expect=None):
        """Handshake over a fresh link and talk to that Peer from now on. Raises LinkError.

        expect: the 20-byte address that must be at the other end, or None for anybody.
        """
        try:
            hello = await self.handshake(link, ROLE_PEER, expect)
        except Exception:
            link.close()
            raise
        peer = self._peers.get(hello.address)
        if not peer:
            if len(self._peers) >= _MAX_PEERS and not self._forget_a_peer():
                link.close()
                raise LinkError("too many peers")
            peer = self._peers[hello.address] = Peer(self, hello.address)
        await peer.attach(link)
        return peer

    async def handshake(self, link, role, expect=None):
        """Find out who is at the other end of a fresh link: its Hello. Raises LinkError."""
        return await borrowed("perun.link.handshake").handshake(
            link,
            Compact(Contexts()),
            self.chain,
            self.account,
            role,
            self.chain_id,
            self.random(32),
            expect,
        )

    async def accept(self, link):
        """What a listener calls with each incoming link: as connect(), but errors are reported."""
        try:
            await self.connect(link)
        except (
            LinkError,
            ClientError,
            MemoryError,
        ) as error:  # a crowd at the door must not end the device
            self.on_error(str(error))

    def _forget_a_peer(self):
        busy = [handle.peer for handle in self.channels.values()]
        for address, peer in self._peers.items():
            if peer not in busy and not peer.connected:
                del self._peers[address]
                return True
        return False

    def peer(self, address):
        """The Peer with this 20-byte address, connected or not."""
        if address not in self._peers:
            self._peers[address] = Peer(self, address)
        return self._peers[address]

    def foreign(self, name):
        """The go-perun Peer of this name, connected or not: `perun.client.foreign`."""
        if name not in self._peers:
            from perun.client.foreign import ForeignPeer

            self._peers[name] = ForeignPeer(self, name)
        return self._peers[name]

    async def guard(self, dial, expect=None):
        """Keep a session with the IoT adoption service for ever; run it as a task.

        dial: coroutine function that returns a fresh link; expect: the service's 20-byte address.
        """
        from perun.client.guardian import Guardian

        self.guardian = Guardian(self, dial, expect)
        await self.guardian.run()

    # -- opening ------------------------------------------------------------------------------

    async def propose(self, peer, deposits, duration, timeout=60):
        """Open a channel with `peer` and wait until both signed version 0.

        deposits: per asset of the limits a pair (own, peer's), in the smallest unit; duration:
        the challenge duration in seconds. Returns the ChannelHandle; `await handle.opened()` waits
        for the money. Raises Refused, TimedOut, ProtocolError, LinkError.
        """
        work = borrowed(_PROPOSING).propose
        return await work(self, peer, deposits, duration, timeout)

    def adopt(self, machine, peer):
        """Take a machine into the books."""
        if machine.id in self.channels:
            raise ProtocolError("this channel exists already")
        if len(self.channels) >= _MAX_CHANNELS:
            raise ProtocolError("too many channels")
        state = machine.current.state
        handle = ChannelHandle(self, machine, peer)
        for contexts in (self.contexts, peer.contexts):
            contexts.add(machine.id, state.allocation.assets, state.app)
        self.channels[machine.id] = handle
        return handle

    def tell(self, handle, kind, detail):
        """Tell the application. Its own mistakes must not stop the channel."""
        try:
            self.on_event(handle, kind, detail)
        except Exception as error:
            self.on_error("on_event: " + repr(error))

    def forget(self, handle):
        """Drop a channel that is settled.

        Its newest state stays in the store until enough others have followed: that the money has
        arrived is what the service says, and only the owner's wallet can tell.
        """
        borrowed(_KEEPING).forget(self, handle)

    def settled(self):
        """The machines of the channels that were forgotten last, for their owner to look at."""
        return borrowed(_KEEPING).settled(self)

    # -- what arrives ---------------------------------------------------------------------------

    async def receive(self, peer, message):
        """Handle a peer's message. Nothing it sends raises: errors are reported."""
        try:
            if type(message) is LedgerChannelProposal:
                await self._on_proposal(peer, message)
            elif type(message) in (LedgerChannelProposalAcc, ChannelProposalRej):
                await self._on_answer(peer, message)
            else:
                await self._channel_of(peer, message).receive(message)
        except (ProtocolError, ClientError) as error:
            self.on_error(str(error))

    def _channel_of(self, peer, message):
        kind = type(message)
        if kind is ChannelUpdate:
            channel_id = message.state.id
        elif kind is ChannelSync:
            channel_id = message.current.state.id if message.current else b""
        else:
            channel_id = getattr(message, "channel_id", b"")
        handle = self.channels.get(channel_id)
        if not handle or handle.peer is not peer:
            raise ProtocolError("a message about an unknown channel")
        return handle

    async def _on_proposal(self, peer, proposal):
        peers = (peer.address, peer.own)
        try:
            rules = borrowed(_OPENING)
            rules.check_proposal(proposal, 1, peers, self.limits)
            if not peer.is_account(proposal.participant):
                raise ProtocolError("proposal: the participant is not the peer")
            if len(self.channels) >= _MAX_CHANNELS:
                raise ProtocolError("proposal: too many channels")
            refusal = self.on_proposal(proposal)
        except ProtocolError as error:
            refusal = str(error)
        if refusal:
            await peer.send(ChannelProposalRej(proposal.proposal_id, refusal))
            raise ProtocolError(refusal)
        acc = rules.accept(proposal, self.random(32), self.account.address)
        rules = None  # what comes now needs the memory
        handle = self.open(peer, proposal, acc, 1)
        await peer.send(acc)
        await handle.begin()

    async def _on_answer(self, peer, answer):
        opening = self.openings.get(answer.proposal_id)
        if not opening or opening.peer is not peer or opening.is_answered():
            raise ProtocolError("an answer to no proposal of ours")
        await opening.answer(answer)

    def open(self, peer, proposal, acc, index):
        """The handle of a channel that both want."""
        params, state = borrowed(_OPENING).agree(self.chain, proposal, acc)
        agreement = proposal.funding_agreement
        kind = peer.channel
        machine = begin(self.chain, self.account, params, index, state, agreement, kind)
        handle = self.adopt(machine, peer)
        if kind.FORMAT != 1:
            handle.keep(b"g", peer.name.encode())
        return handle
