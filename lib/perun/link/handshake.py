"""Who is on the other end of a link: both prove that they hold the key of their address.

Each side sends Hello with a fresh challenge and then HelloProof, a signature over both Hellos, so
nothing can be replayed or passed on. Over TLS the certificate is signed with them, which shows
somebody in between. Without TLS nothing is encrypted: whoever can read the line sees the payments;
what is worth money is signed by itself.
"""

import asyncio

from perun.compat import const
from perun.link import LinkError
from perun.wire.messages import (
    PROTOCOL_VERSION,
    ROLE_DEVICE,
    ROLE_OWNED,
    ROLE_OWNER,
    ROLE_PEER,
    ROLE_SERVICE,
    Hello,
    HelloProof,
    hello_transcript,
)

TIMEOUT = const(20)  # seconds; a signature and a verification on a slow board take a few

_EXPECTED = {
    ROLE_PEER: ROLE_PEER,
    ROLE_DEVICE: ROLE_SERVICE,
    ROLE_SERVICE: ROLE_DEVICE,
    ROLE_OWNER: ROLE_OWNED,
}


class HandshakeError(LinkError):
    """The other end is not who it must be."""


async def handshake(link, codec, chain, account, role, chain_id, challenge, expect=None):
    """Run the handshake and return the other end's Hello.

    role: ROLE_* of this side; challenge: 32 fresh random bytes; expect: the 20-byte address that
    the other end must prove, or None for anybody. Raises LinkError (HandshakeError when the other
    end is somebody else, of another chain or speaks another version).
    """
    own = Hello(PROTOCOL_VERSION, role, account.address, chain_id, challenge)
    try:
        return await asyncio.wait_for(_exchange(link, codec, chain, account, own, expect), TIMEOUT)
    except asyncio.TimeoutError:
        raise HandshakeError("handshake: no answer within %d s" % TIMEOUT)


async def _exchange(link, codec, chain, account, own, expect):
    await link.send(codec.encode(own))
    other = await _receive(link, codec, Hello)
    if other.version != PROTOCOL_VERSION:
        raise HandshakeError("handshake: protocol version %d is not supported" % other.version)
    if other.role != _EXPECTED[own.role]:
        raise HandshakeError("handshake: role %d is not expected here" % other.role)
    if other.chain_id != own.chain_id:
        raise HandshakeError("handshake: chain %d is not ours" % other.chain_id)
    if other.address == own.address or other.challenge == own.challenge:
        raise HandshakeError("handshake: the own Hello came back")
    if expect and other.address != expect:
        raise HandshakeError("handshake: another address answered")
    sig = chain.sign_bytes(account, hello_transcript(own, other, link.binding))
    await link.send(codec.encode(HelloProof(sig)))
    proof = await _receive(link, codec, HelloProof)
    transcript = hello_transcript(other, own, link.binding)
    if not chain.verify_bytes(other.address, transcript, proof.sig):
        raise HandshakeError("handshake: the proof is wrong")
    return other


async def _receive(link, codec, kind):
    body = await link.recv()
    try:
        message = codec.decode(body)
    except ValueError as error:
        raise HandshakeError("handshake: " + str(error))
    if type(message) is not kind:
        # A service or a device says why it refuses.
        text = getattr(message, "text", None) or getattr(message, "reason", None)
        raise HandshakeError("handshake: " + (text or "unexpected message"))
    return message
