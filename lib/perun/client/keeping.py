"""What the store keeps of channels, read again at the start and for their owner; and what becomes
of it at the end. Forgotten afterwards. client: perun.client.Client."""

from perun.channel import FUNDING
from perun.channel.machine import Channel
from perun.client.records import dump_channel
from perun.compat import const
from perun.model import Transaction
from perun.wire import WireError, compact
from perun.wire.compact import Compact, Contexts

_MAX_SETTLED = const(4)  # settled channels whose newest states stay in the store

_FORMATS = (1, 2)  # what may stand in front: a Channel's, a ForeignChannel's


def read_channel(data):
    """The record in these bytes: params, state, sigs... Raises WireError when they are none, or of
    another format."""
    form = data[1] if len(data) > 1 else 0
    if form not in _FORMATS:
        raise WireError("the store has channels of format %d" % form)
    return compact.loads("channel", data)


def load_channel(data, chain, account):
    """The Channel in these bytes. Raises WireError when they are none, or of another format."""
    record = read_channel(data)
    kind = Channel
    if record.format != kind.FORMAT:
        from perun.channel.foreign import ForeignChannel as kind
    current = Transaction(record.state, record.sigs)
    return kind(
        chain,
        account,
        record.params,
        record.index,
        record.agreement,
        record.phase,
        current,
        record.staged,
        record.burnt,
        record.refused,
        record.evidence,
    )


def restore(client, doubts):
    """Client.restore()."""
    store = client.store
    for key in store.keys():
        if key[:1] == b"c":
            machine = load_channel(store.get(key), client.chain, client.account)
            machine.doubts = doubts
            handle = client.adopt(machine, _peer_of(client, machine))
            receipt = store.get(b"r" + machine.id)
            if receipt:
                handle.receipt = Compact(Contexts()).decode(receipt)
                handle.proven = handle.receipt.version
    return list(client.channels.values())


def _peer_of(client, machine):
    if machine.FORMAT == 1:
        return client.peer(machine.params.participants[1 - machine.index])
    return client.foreign((client.store.get(b"g" + machine.id) or b"").decode())


def forget(client, handle):
    """Client.forget()."""
    store = client.store
    client.channels.pop(handle.id, None)
    client.contexts.remove(handle.id)
    handle.peer.contexts.remove(handle.id)
    if handle.phase >= FUNDING:
        kept = _settled_keys(store)
        number = int.from_bytes(kept[-1][1:], "big") + 1 if kept else 0
        store.put(b"s" + number.to_bytes(4, "big"), dump_channel(handle.machine))
        if len(kept) == _MAX_SETTLED:
            store.delete(kept[0])
    if handle.receipt:
        store.delete(b"r" + handle.id)
    if handle.machine.FORMAT != 1:
        store.delete(b"g" + handle.id)
    store.delete(b"c" + handle.id)


def settled(client):
    """Client.settled()."""
    kept = [client.store.get(key) for key in _settled_keys(client.store)]
    return [load_channel(data, client.chain, client.account) for data in kept]


def _settled_keys(store):
    return sorted([key for key in store.keys() if key[:1] == b"s"])
