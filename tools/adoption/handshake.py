"""Who is the device? Both sides prove that they hold the key of their address."""

from __future__ import annotations

import secrets

from eth_utils import to_checksum_address
from perun.wire import WireError, messages
from perun.wire import service_messages as sm
from perun.wire.compact import Compact

from adoption import encoding, verify
from adoption.config import Config
from adoption.keys import Key
from adoption.links import Link
from adoption.store import Store, devices


class Refusal(verify.Refused):
    """The handshake failed; the device is told, and the session ends."""


async def prove(
    link: Link, codec: Compact, hello: messages.Hello, identity: Key, config: Config
) -> bytes:
    """Answer a device's Hello; returns the device's address, proven.

    A device that starts anew in the middle says Hello again: a serial line does not tell. The
    caller limits the time. Raises Refusal, LinkClosed and WireError.
    """
    while True:
        own, answer = await _challenge(link, codec, hello, identity, config)
        if not isinstance(answer, messages.Hello):
            break
        hello = answer
    if not isinstance(answer, messages.HelloProof):
        raise Refusal(sm.ERROR_MALFORMED, "a HelloProof is expected here")
    transcript = encoding.keccak(messages.hello_transcript(hello, own, link.binding))
    if not verify.signed_by(hello.address, transcript, answer.sig):
        text = "the proof is not signed by the address of the Hello"
        if link.binding:
            text += ", or the device saw another certificate: is somebody in between?"
        raise Refusal(sm.ERROR_SIGNATURE, text)
    proof = identity.sign_bytes(messages.hello_transcript(own, hello, link.binding))
    await link.send(codec.encode(messages.HelloProof(proof)))
    return bytes(hello.address)


async def _challenge(
    link: Link, codec: Compact, hello: messages.Hello, identity: Key, config: Config
) -> tuple[messages.Hello, object]:
    """Answer with a Hello of our own; returns it and what the device says then."""
    own = messages.Hello(
        messages.PROTOCOL_VERSION,
        messages.ROLE_SERVICE,
        identity.address,
        config.chain.chain_id,
        secrets.token_bytes(32),
    )
    _check(hello, own)
    await link.send(codec.encode(own))
    return own, _decoded(codec, await link.recv())


def _check(hello: messages.Hello, own: messages.Hello) -> None:
    if hello.version != own.version:
        raise Refusal(
            sm.ERROR_NOT_ALLOWED, f"protocol version {own.version} is spoken here: update"
        )
    if hello.role != messages.ROLE_DEVICE:
        raise Refusal(sm.ERROR_NOT_ALLOWED, "only devices are served here: role 1 is expected")
    if hello.chain_id != own.chain_id:
        raise Refusal(sm.ERROR_ASSET, f"this service is on chain {own.chain_id}")
    if hello.address == own.address:
        raise Refusal(sm.ERROR_NOT_ALLOWED, "this is the service's own address")


def _decoded(codec: Compact, body: bytes) -> object:
    try:
        return codec.decode(body)
    except WireError as error:
        raise Refusal(sm.ERROR_MALFORMED, f"no valid message: {error}") from error


async def admit(store: Store, config: Config, address: bytes) -> devices.Device:
    """The device of this address, registered now if that is open to all. Raises Refusal."""
    async with store.read() as tx:
        known = await devices.get(tx, address)
    if known is None and config.policy.open_registration:
        async with store.write() as tx:
            if len(await devices.every(tx)) >= config.limits.open_devices:
                raise Refusal(sm.ERROR_BUSY, "registration is full: ask the operator to add you")
            await devices.put(tx, address, "", None)
            for name, amount in config.policy.default_budget.items():
                holder = next(asset.holder for asset in config.asset if asset.name == name)
                await devices.grant(tx, address, holder, amount)
            known = await devices.get(tx, address)
    if known is None or not known.enabled:
        raise Refusal(
            sm.ERROR_NOT_ALLOWED,
            f"{to_checksum_address(address)} is not registered here: ask the operator to add it",
        )
    return known
