"""A session with the service over a link that loses frames."""

import asyncio

from channels import ALICE, BOB
from perun.adoption.session import ServiceError, Session
from perun.chain.ethereum import Ethereum
from perun.link import LinkError
from perun.link.memory import pair
from perun.wire.compact import Compact, Contexts
from perun.wire.service_messages import Ack, Error

CHANNEL = b"\x11" * 32


def asked(service):
    """Run service(link, codec) at the other end; what a request for a dispute raises, or None."""

    async def main():
        near, far = pair()
        codec = Compact(Contexts())
        session = Session(near, codec, Ethereum(), ALICE.address, BOB.address, None)
        session.patience = 0.05
        tasks = [
            asyncio.create_task(quiet(session.run())),
            asyncio.create_task(service(far, codec)),
        ]
        try:
            await session.dispute(CHANNEL)
        except Exception as error:
            return error
        finally:
            for task in tasks:
                task.cancel()

    return asyncio.run(asyncio.wait_for(main(), 20))


async def quiet(coroutine):
    try:
        await coroutine
    except (LinkError, ServiceError):
        pass


def test_a_lost_request_is_sent_again():
    async def deaf_at_first(link, codec):
        lost, again = await link.recv(), await link.recv()
        assert bytes(lost) == bytes(again)
        number = codec.decode(again).request
        for _ in range(2):  # the first one may have been late only: two answers are no harm
            await link.send(codec.encode(Ack(number)))

    assert asked(deaf_at_first) is None


def test_a_service_that_never_answers():
    async def dead(link, codec):
        seen.append(bytes(await link.recv()))
        await dead(link, codec)

    seen = []
    error = asked(dead)
    assert isinstance(error, LinkError) and "does not answer" in str(error)
    assert len(seen) == 3 and len(set(seen)) == 1


def test_a_service_that_started_anew():
    async def new(link, codec):
        await link.recv()  # lost: nobody was there
        await link.recv()
        await link.send(codec.encode(Error(0, 5, "no session here: say Hello first")))

    error = asked(new)
    assert isinstance(error, LinkError) and "the session ended" in str(error)
