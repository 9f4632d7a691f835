"""The link between a device and its owner: both are proven, and nobody else can read or change it.

Handshake as everywhere (`handshake.py`), with two differences. Each challenge is the x of an
ephemeral public key, so both ends compute a secret that nobody else has, and what is recorded
today cannot be read with a key that is stolen tomorrow. And the device speaks second: it signs
nothing for somebody who has not proven to be its owner.

    owner   Hello
    device  Hello, or Shutdown with a reason
    owner   HelloProof
    device  HelloProof
    then    records both ways: AES-256-CBC of a body, padded, and a tag of 16 bytes

A record has a number that is not sent, 0, 1, 2... in each direction, with keys of its own. The
initialization vector and the tag (HMAC-SHA256) are made from it, so a record that is injected,
changed, repeated, left out or moved does not open, and the link is closed.

A body begins with its kind, below. A text that is too long for a record comes in several, of which
all but the last have the kind in capitals. Each PING is answered by one; an end that hears nothing
for SILENCE seconds hangs up.
"""

from perun.compat import borrowed, const
from perun.link import LinkError
from perun.wire import WireError
from perun.wire.messages import (
    PROTOCOL_VERSION,
    ROLE_OWNED,
    ROLE_OWNER,
    Hello,
    HelloProof,
    hello_transcript,
)

LINE = b"l"  # owner: a line of the console
CALL = b"c"  # owner: the name of a call, a blank, its argument
EVENT = b"e"  # device: an event of the console, as JSON
ANSWER = b"a"  # device: what a call gave
FAILURE = b"f"  # device: why a call failed, a text
PING = b"p"
SILENCE = const(60)  # seconds
_BLOCK = const(16)

_cipher = borrowed("perun.crypto.cipher")


async def admit(link, codec, chain, account, owner, random, body):
    """The device's side: the Sealed link. body: what came first; the caller limits the time.

    Raises LinkError for whoever is not the owner, a 20-byte address.
    """
    hello = _decoded(codec, body, Hello)
    if (hello.version, hello.role) != (PROTOCOL_VERSION, ROLE_OWNER) or hello.address != owner:
        raise LinkError("owner: not a Hello of the owner")
    secret, x = _cipher.ephemeral(random)
    own = Hello(PROTOCOL_VERSION, ROLE_OWNED, account.address, hello.chain_id, x)
    await link.send(codec.encode(own))
    proof = _decoded(codec, await link.recv(), HelloProof)
    if not chain.verify_bytes(owner, hello_transcript(hello, own), proof.sig):
        raise LinkError("owner: the proof is wrong")
    sealed = Sealed(link, agree(secret, hello.challenge), hello.challenge, x, False)
    sig = chain.sign_bytes(account, hello_transcript(own, hello))
    await link.send(codec.encode(HelloProof(sig)))
    return sealed


def _decoded(codec, body, kind):
    try:
        message = codec.decode(body)
    except WireError as error:
        raise LinkError("owner: " + str(error))
    if type(message) is not kind:
        raise LinkError("owner: unexpected message")
    return message


def agree(secret, x):
    """What both ends compute of their own secret and the other one's challenge."""
    try:
        return _cipher.agree(secret, x)
    except ValueError:
        raise LinkError("owner: the challenge is no point of the curve")


class Sealed:
    """A Link whose bodies are records. One task may send, one may receive.

    secret: what both have agreed on; owner, device: their challenges; is_owner: which side.
    """

    def __init__(self, link, secret, owner, device, is_owner):
        root = _cipher.hmac(owner + device, secret)
        sides = (b"owner", b"device") if is_owner else (b"device", b"owner")
        self._link = link
        self._sending, self._receiving = [_Keys(root, b"uPerun " + side) for side in sides]

    async def send(self, body):
        """Send a body of any length that the other end's limit lets through. Raises LinkError."""
        await self._link.send(self._sending.seal(body))

    async def recv(self):
        """The next body. Raises LinkError; the link is closed when a record does not open."""
        body = self._receiving.open(await self._link.recv())
        if body is None:
            self._link.close()
            raise LinkError(self._link.name + ": a record is not what its sender sealed")
        return body

    def close(self):
        """Close the link."""
        self._link.close()


class _Keys:
    """The keys of one direction, and the number of its next record."""

    def __init__(self, root, label):
        self._cipher = _cipher.hmac(root, label + b" cipher")
        self._mac = _cipher.pads(_cipher.hmac(root, label + b" mac"))
        self._number = 0

    def seal(self, body):
        """The record of a body."""
        number, iv = self._next()
        pad = _BLOCK - len(body) % _BLOCK
        data = _cipher.aes(self._cipher, iv, bytes(body) + bytes((pad,)) * pad, True)
        return _cipher.tag(self._mac, b"tag", number, data)[:_BLOCK] + data

    def open(self, record):
        """The body of a record, or None."""
        number, iv = self._next()
        tag, data = record[:_BLOCK], record[_BLOCK:]
        right = _cipher.tag(self._mac, b"tag", number, data)[:_BLOCK]
        if not _cipher.same(tag, right) or not data or len(data) % _BLOCK:
            return None
        body = _cipher.aes(self._cipher, iv, data, False)
        return body[: -body[-1]]

    def _next(self):
        number = self._number.to_bytes(8, "big")
        self._number += 1
        return number, _cipher.tag(self._mac, b"iv", number)[:_BLOCK]
