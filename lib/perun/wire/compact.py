"""The compact codec: a message is a MessagePack array [type, fields...].

Both ends of a link know its channels, so a message names one by a handle, the first four bytes of
its id, and leaves out what never changes in it. README.md has the format. The tables below are
the whole of it: a message or record is its class and a kind per field; CHECKS has what is checked
of the finished tuple. Encoder and decoder walk the same tables.
"""

from perun.compat import const
from perun.model import Allocation, Asset, Params, State, SubAlloc, Transaction
from perun.model.rules import MAX_ASSETS, MAX_LOCKED, PARTICIPANTS
from perun.wire import WireError, kinds, messages
from perun.wire import service_messages as service
from perun.wire.msgpack import Reader, Writer

_HANDLE = const(4)
_ID = const(32)

# The type numbers of the messages whose tables are loaded when one comes along.
_CONTROL = const(0)
_LAST_CONTROL = const(3)
_SUBCHANNEL = const(6)
_LAST_SUBCHANNEL = const(13)
_NOTHING = const(32)  # all of these are known
_INQUIRY = const(48)
_LAST_INQUIRY = const(59)
_BRIDGE = const(60)
_LAST_BRIDGE = const(62)

# Kinds beyond those of `perun.wire.kinds`.
# key: names a channel by its handle or its id
# list: kind of an item, least and greatest count
# record: class, kinds
# optional: kind, the value that nil stands for
# known_state: a State without what the context of its channel has
# watched_state: a State in full after params, a known one after none
KINDS = {
    "key": ("key",),
    "asset": ("record", Asset, "amount", "holder", "u32"),
    "assets": ("list", "asset", 1, MAX_ASSETS),
    "row": ("list", "amount", PARTICIPANTS, PARTICIPANTS),
    "rows": ("list", "row", 1, MAX_ASSETS),
    "amounts": ("list", "amount", 0, MAX_ASSETS),
    "index_map": ("list", "u16", 0, PARTICIPANTS),
    "sub_alloc": ("record", SubAlloc, "id", "amounts", "index_map"),
    "locked": ("list", "sub_alloc", 0, MAX_LOCKED),
    "allocation": ("record", Allocation, "assets", "rows", "locked"),
    "peers": ("list", "wire_address", PARTICIPANTS, PARTICIPANTS),
    "parts": ("list", "address", PARTICIPANTS, PARTICIPANTS),
    "params": ("record", Params, "u64", "amount", "parts", "app", "flag", "flag"),
    "state": ("record", State, "id", "u64", "app", "allocation", "data", "flag"),
    "known_state": ("known_state",),
    "sigs": ("list", "sig", PARTICIPANTS, PARTICIPANTS),
    "some_sig": ("optional", "sig", None),
    "some_sigs": ("list", "some_sig", PARTICIPANTS, PARTICIPANTS),
    "transaction": ("record", Transaction, "known_state", "some_sigs"),
    "some_transaction": ("optional", "transaction", None),
    "some_params": ("optional", "params", None),
    "watched_state": ("watched_state",),
    "auth": ("record", service.WithdrawalAuth, "u16", "address", "amount", "sig"),
    "auths": ("list", "auth", 0, MAX_ASSETS),
}

# By type number; up to 16 these are go-perun's own.
MESSAGES = {
    4: (
        messages.LedgerChannelProposal,
        "id",
        "u64",
        "id",
        "app",
        "data",
        "allocation",
        "rows",
        "aux",
        "address",
        "peers",
    ),
    5: (messages.LedgerChannelProposalAcc, "id", "id", "address"),
    10: (messages.ChannelProposalRej, "id", "text"),
    11: (messages.ChannelUpdate, "known_state", "u16", "sig"),
    14: (messages.ChannelUpdateAcc, "key", "u64", "sig"),
    15: (messages.ChannelUpdateRej, "key", "u64", "text"),
    16: (messages.ChannelSync, "u8", "some_transaction"),
    32: (messages.Hello, "u8", "u8", "address", "amount", "id"),
    33: (messages.HelloProof, "sig"),
    # What is rare names the channel by its whole id: the other side may not know the channel.
    48: (service.ServiceInfo, "amount", "address", "assets", "u64"),
    49: (service.ChainEvent, "id", "u8", "u64", "u64"),
    50: (service.FundRequest, "u32", "u8", "params", "state", "sigs", "rows"),
    51: (service.WatchRequest, "u32", "u8", "some_params", "watched_state", "sigs", "auths"),
    54: (service.Ack, "u32"),
    55: (service.Receipt, "u32", "key", "u64", "id", "sig"),
    57: (service.Error, "u32", "u8", "text"),
}

CHECKS = {
    Asset: kinds.check_asset,
    Allocation: kinds.check_allocation,
    State: kinds.check_state,
    messages.LedgerChannelProposal: kinds.check_proposal,
}


class Contexts:
    """The channels that both ends of one link know.

    Give every peer its own: among the channels of one peer nobody else can make a handle unclear.
    """

    def __init__(self):
        self._by_handle = {}

    def add(self, channel_id, assets, app=b""):
        """From now on the channel is known. assets: tuple of Asset; app: b"" or 20 bytes."""
        self.remove(channel_id)
        handle = channel_id[:_HANDLE]
        known = self._by_handle.get(handle, ())
        self._by_handle[handle] = known + ((channel_id, assets, app),)

    def remove(self, channel_id):
        """Forget the channel, if it is known."""
        handle = channel_id[:_HANDLE]
        known = tuple([c for c in self._by_handle.get(handle, ()) if c[0] != channel_id])
        if known:
            self._by_handle[handle] = known
        else:
            self._by_handle.pop(handle, None)

    def find(self, key):
        """(channel_id, assets, app) of the channel with this handle or id, else None.

        None as well for a handle that two known channels share.
        """
        known = self._by_handle.get(key[:_HANDLE], ())
        if len(key) == _HANDLE:
            return known[0] if len(known) == 1 else None
        for context in known:
            if context[0] == key:
                return context
        return None

    def key(self, channel_id):
        """How to name the channel on the wire: its handle where that is clear, else its id."""
        handle = channel_id[:_HANDLE]
        context = self.find(handle)
        return handle if context and context[0] == channel_id else channel_id


class Compact:
    """The codec of one link. contexts: Contexts, which its owner keeps up to date."""

    def __init__(self, contexts):
        self._contexts = contexts

    def encode(self, message):
        """The body of the frame for this message, or WireError."""
        number = _number(type(message))
        fields = MESSAGES[number][1:]
        encoder = _Encoder(self._contexts)
        encoder.array(len(fields) + 1)
        encoder.integer(number)
        encoder.put_fields(fields, message)
        if len(encoder.out) > kinds.MAX_BODY:
            raise WireError("the message is too long")
        return bytes(encoder.out)

    def decode(self, body):
        """The message in this body (bytes-like), or WireError."""
        decoder = _Decoder(self._contexts, body)
        count = decoder.array(1, 32)
        number = decoder.integer()
        if number not in MESSAGES:
            _extend(number)
            if number not in MESSAGES:
                raise WireError("unknown message type %d" % number)
        spec = MESSAGES[number]
        if count != len(spec):
            raise WireError("%d fields where %d are expected" % (count - 1, len(spec) - 1))
        message = decoder.get_fields(spec[0], spec[1:])
        decoder.end()
        return message


def dumps(kind, value):
    """The bytes of one value of a kind of KINDS, for a store. WireError if it is none."""
    encoder = _Encoder(Contexts())
    encoder.put(kind, value)
    return bytes(encoder.out)


def loads(kind, data):
    """The value of this kind in these bytes, or WireError."""
    decoder = _Decoder(Contexts(), data)
    value = decoder.get(kind)
    decoder.end()
    return value


def _number(cls):
    # An inquiry is likelier than a sub-channel's message, whose tables may stay away for ever.
    for extension in (_NOTHING, _INQUIRY, _BRIDGE, _SUBCHANNEL, _CONTROL):
        _extend(extension)
        for number, message in MESSAGES.items():
            if message[0] is cls:
                return number
    raise WireError("no message of this protocol: %s" % cls.__name__)


def _extend(number):
    # The rarer messages cost no memory until one comes along, and a device may do without.
    try:
        if number <= _LAST_CONTROL:
            from perun.wire import compact_control as more
        elif _SUBCHANNEL <= number <= _LAST_SUBCHANNEL:
            from perun.wire import compact_subchannel as more

            CHECKS.update(more.CHECKS)
        elif _INQUIRY <= number <= _LAST_INQUIRY:
            from perun.wire import compact_inquiry as more
        elif _BRIDGE <= number <= _LAST_BRIDGE:
            from perun.wire import compact_bridge as more
        else:
            return
        KINDS.update(more.KINDS)
        MESSAGES.update(more.MESSAGES)
    except ImportError:
        pass


class _Encoder(Writer):
    """put(kind, value) checks a value and writes it."""

    def __init__(self, contexts):
        super().__init__()
        self._contexts = contexts

    def put(self, kind, value):
        spec = KINDS.get(kind) or kinds.KINDS[kind]
        op = spec[0]
        if op == "bin":
            self.binary(kinds.check_bin(value, spec))
        elif op == "uint":
            self.integer(kinds.check_uint(value, spec[1]))
        elif op == "amount":
            self.big(kinds.check_uint(value, 256))
        elif op == "text":
            self.string(kinds.text_bytes(value, spec[1]))
        elif op == "flag":
            if type(value) is not bool:
                raise WireError("a boolean is expected")
            self.boolean(value)
        elif op == "key":
            kinds.check_bin(value, kinds.KINDS["id"])
            self.binary(self._contexts.key(value))
        elif op == "optional":
            self._missing = value == spec[2]
            if self._missing:
                self.nil()
            else:
                self.put(spec[1], value)
        else:
            self._put_many(spec, value)

    def put_fields(self, fields, value):
        """A kind per field of this tuple, which is checked as a whole as well."""
        for kind, item in zip(fields, value):
            self.put(kind, item)
        check = CHECKS.get(type(value))
        if check:
            check(value)

    def _put_many(self, spec, value):
        op = spec[0]
        if op == "list":
            self.array(len(kinds.check_tuple(value, spec[2], spec[3])))
            for item in value:
                self.put(spec[1], item)
        elif op == "record":
            kinds.check_type(value, spec[1])
            self.array(len(spec) - 2)
            self.put_fields(spec[2:], value)
        elif op == "watched_state":
            self.put("known_state" if self._missing else "state", value)
        else:
            self._put_known(value)

    def _put_known(self, state):
        kinds.check_type(state, State)
        channel_id, version, app, allocation, data, is_final = state
        kinds.check_type(allocation, Allocation)
        context = self._contexts.find(channel_id)
        if context and context[1:] != (allocation.assets, app):
            raise WireError("the state has other assets or another app than its channel")
        more = allocation.locked or data
        self.array(6 if more else 4)
        self.put("key", channel_id)
        self.put("u64", version)
        self.put("flag", is_final)
        self.put("rows", allocation.balances)
        if more:
            self.put("locked", allocation.locked)
            self.put("data", data)
        kinds.check_allocation(allocation)
        kinds.check_state(state)


class _Decoder(Reader):
    """get(kind) reads a value and checks it."""

    def __init__(self, contexts, body):
        super().__init__(body)
        self._contexts = contexts

    def get(self, kind):
        spec = KINDS.get(kind) or kinds.KINDS[kind]
        op = spec[0]
        if op == "bin":
            return kinds.check_bin(self.binary(spec[1], spec[2]), spec)
        if op == "uint":
            return kinds.check_uint(self.integer(), spec[1])
        if op == "amount":
            return self.big()
        if op == "text":
            return kinds.checked_text(self.string())
        if op == "flag":
            return self.boolean()
        if op == "key":
            key = self.binary(_HANDLE, _ID)
            context = self._find(key)
            return context[0] if context else key
        if op == "optional":
            self._missing = self.skip_nil()
            return spec[2] if self._missing else self.get(spec[1])
        if op == "list":
            return tuple([self.get(spec[1]) for _ in range(self.array(spec[2], spec[3]))])
        if op == "record":
            self.array(len(spec) - 2, len(spec) - 2)
            return self.get_fields(spec[1], spec[2:])
        if op == "watched_state" and not self._missing:
            return self.get("state")
        return self._get_known()

    def get_fields(self, cls, fields):
        """A tuple of this class, checked as a whole as well."""
        value = cls(*[self.get(kind) for kind in fields])
        check = CHECKS.get(cls)
        if check:
            check(value)
        return value

    def _find(self, key):
        if len(key) not in (_HANDLE, _ID):
            raise WireError("a channel's handle or id is expected")
        context = self._contexts.find(key)
        if context is None and len(key) == _HANDLE:
            raise WireError("unknown or ambiguous channel handle " + key.hex())
        return context

    def _get_known(self):
        count = self.array(4, 6)
        key = self.binary(_HANDLE, _ID)
        context = self._find(key)
        if context is None:
            raise WireError("unknown channel " + key.hex())
        version = self.get("u64")
        is_final = self.boolean()
        balances = self.get("rows")
        locked = ()
        data = b""
        if count != 4:
            locked = self.get("locked")
            data = self.get("data")
            if count != 6 or not (locked or data):
                raise WireError("a state has 4 fields, or 6 with locked funds or data")
        allocation = Allocation(context[1], balances, locked)
        kinds.check_allocation(allocation)
        state = State(context[0], version, context[2], allocation, data, is_final)
        kinds.check_state(state)
        return state
