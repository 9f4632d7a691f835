"""What the guardian hands over to the service, which is played here, arrives."""

import asyncio

from channels import ALICE, ASSET, BOB, CHAIN_ID
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.link import LinkError
from perun.link.handshake import handshake
from perun.link.memory import pair
from perun.wire.compact import Compact
from perun.wire.control_messages import Ping, Pong
from perun.wire.messages import ROLE_SERVICE
from perun.wire.inquiry_messages import STAGE_FUNDED, Status, StatusRequest
from perun.wire.service_messages import (
    Error,
    Receipt,
    ServiceInfo,
    receipt_transcript,
)
from test_client import channel, client, run

CHAIN = Ethereum()
SERVICE = Account(b"\x03" * 32)


async def serve(link, contexts, watched):
    """Knows these channels, funded and at version 0, and takes what it is to watch."""
    codec = Compact(contexts)
    await handshake(link, codec, CHAIN, SERVICE, ROLE_SERVICE, CHAIN_ID, b"\x05" * 32)
    await link.send(codec.encode(ServiceInfo(CHAIN_ID, bytes(20), (ASSET,), 30)))
    while True:
        request = codec.decode(await link.recv())
        number = request.request
        if type(request) is StatusRequest:
            ident = request.channel_id
            answer = Status(number, ident, 0, bytes(32), STAGE_FUNDED, -1, 0, (0,), -1)
        else:
            watched.append(request)
            state_hash = CHAIN.state_hash(request.state)
            ident, version = request.state.id, request.state.version
            signed = receipt_transcript(BOB.address, ident, version, state_hash)
            sig = CHAIN.sign_bytes(SERVICE, signed)
            answer = Receipt(number, ident, version, state_hash, sig)
        await link.send(codec.encode(answer))


async def played(*details):
    try:
        await serve(*details)
    except LinkError:
        pass


def test_a_lack_of_memory_loses_no_authorization():
    """It strikes before it is signed: the session ends, and the next one hands it over."""

    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        _, theirs = await channel(alice, bob)
        bob.channels[theirs.id].peer.close()
        withdrawal_hash = bob.chain.withdrawal_hash
        failures = [MemoryError("no memory"), MemoryError("no memory")]

        def short_of_memory(*given):
            if failures:
                raise failures.pop()
            return withdrawal_hash(*given)

        bob.chain.withdrawal_hash = short_of_memory
        watched, services = [], []

        async def dial():
            near, far = pair()
            services.append(asyncio.create_task(played(far, bob.contexts, watched)))
            return near

        guarding = asyncio.create_task(bob.guard(dial, SERVICE.address))
        await asyncio.sleep(0)
        await theirs.checkpoint()
        assert not failures and len(services) == 3
        assert [len(request.auths) for request in watched] == [1]
        assert "service: no memory" in bob.errors
        for task in [guarding] + services:
            task.cancel()

    run(main())


def test_a_service_that_has_lost_the_session_is_noticed_with_nothing_to_say():
    async def main():
        bob, pings, enough = client(BOB, seed=2), [], asyncio.Event()
        codec = Compact(bob.contexts)

        async def serve_anew(link):
            """In its first session it is there for two pings, and starts anew."""
            await handshake(link, codec, CHAIN, SERVICE, ROLE_SERVICE, CHAIN_ID, b"\x05" * 32)
            while True:
                message = codec.decode(await link.recv())
                pings.append(message)
                if len(pings) == 5:
                    enough.set()
                again = len(pings) != 3
                await link.send(codec.encode(Pong(message.created) if again else Error(0, 5, "")))

        async def dial():
            near, far = pair()
            services.append(asyncio.create_task(serve_anew(far)))
            return near

        services = []
        guarding = asyncio.create_task(bob.guard(dial, SERVICE.address))
        await asyncio.sleep(0)
        bob.guardian.quiet = 0.01
        await enough.wait()
        assert len(services) == 2 and set(pings) == {Ping(0)}
        assert [text for text in bob.errors if "service" in text] == [
            "service: service:  (code 5)"
        ]
        for task in [guarding] + services:
            task.cancel()

    run(main())
