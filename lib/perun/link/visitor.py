"""The owner's side of the link to a device: `owner.py` says what is spoken. No device needs it."""

from perun.compat import const
from perun.crypto import cipher
from perun.link.handshake import handshake
from perun.link.owner import Sealed, agree
from perun.wire.messages import ROLE_OWNER

_CHAIN = const(0)  # the owner of a device need not know its chain


async def enter(link, codec, chain, account, device, random):
    """(the Sealed link, the device's Hello). The caller closes `link`.

    device: its 20-byte address, or None for any that proves its own; random: function, n -> n
    random bytes. Raises LinkError.
    """
    secret, x = cipher.ephemeral(random)
    hello = await handshake(link, codec, chain, account, ROLE_OWNER, _CHAIN, x, device)
    return Sealed(link, agree(secret, hello.challenge), x, hello.challenge, True), hello
