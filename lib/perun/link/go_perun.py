"""go-perun's handshake: both ends say who they are, the dialler first.

In generation 1 that is all there is. In generation 2 (net/simple, over TLS) each end sends a
signature over its own address, always the same bytes: a device has it made once on a computer
(`python -m adoption identity`) and never computes with RSA keys, except to check the peer's.
Whoever has seen that signature can repeat it: what keeps strangers out is the pinned certificate
of the TLS link, and what protects the money are the signatures on the states.

Source: go-perun's packages wire/net and wire/net/simple.
"""

import asyncio
import hashlib

from perun.compat import const
from perun.link import LinkError
from perun.wire import WireError
from perun.wire.control_messages import AuthResponse

TIMEOUT = const(10)  # seconds, as go-perun's listener has it

_PKCS1 = bytes.fromhex("3031300d060960864801650304020105000420")  # SHA-256, as PKCS #1 marks it


async def introduce(link, codec, proof=b"", peer=b""):
    """The dialler's part. codec: Protobuf between the two ends; proof: the own signature; peer:
    the marshalled net/simple address whose signature must come back, or b"" in generation 1.
    Raises LinkError."""
    await link.send(codec.encode(AuthResponse(proof)))
    _check(codec, await _in_time(link), peer)


async def welcome(link, codec, proof=b"", peer=b""):
    """The listener's part: the one who came must be the codec's peer. Raises LinkError."""
    _check(codec, await _in_time(link), peer)
    await link.send(codec.encode(AuthResponse(proof)))


async def _in_time(link):
    try:
        return await asyncio.wait_for(link.recv(), TIMEOUT)
    except asyncio.TimeoutError:
        raise LinkError("handshake: no answer within %d s" % TIMEOUT)


def _check(codec, body, peer):
    try:
        message = codec.decode(body)
    except WireError as error:
        raise LinkError("handshake: " + str(error))
    if type(message) is not AuthResponse:
        raise LinkError("handshake: unexpected message")
    if peer and not signed(peer, message.signature):
        raise LinkError("handshake: the signature is not the peer's")


def signed(address, signature):
    """Whether the owner of a marshalled net/simple address made this signature over it: RSA with
    PKCS #1 v1.5 and SHA-256. An address without a key is nobody's."""
    at = 2 + int.from_bytes(address[:2], "big")
    size = int.from_bytes(address[at : at + 2], "big")
    key = address[at + 2 : at + 2 + size]
    exponent = int.from_bytes(address[at + 2 + size :], "big")
    if size != 256 or len(address) != at + size + 6 or len(signature) != size or exponent < 3:
        return False
    modulus = int.from_bytes(key, "big")
    number = int.from_bytes(signature, "big")
    if number >= modulus:
        return False
    digest = hashlib.sha256(b"\1" + address).digest()
    tail = b"\0" + _PKCS1 + digest
    expected = b"\0\1" + b"\xff" * (size - 2 - len(tail)) + tail
    return pow(number, exponent, modulus).to_bytes(size, "big") == expected
