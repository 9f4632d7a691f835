"""Links in memory and over TCP: whole frames, bounds, back-pressure, and what closing does."""

import asyncio
import os

from perun.link import LinkClosed, LinkError, memory, tcp
from perun.wire import WireError
from support import Random

HOST = "127.0.0.1"
SOON = 60  # seconds in which everything local must have happened


async def fails(exception, operation):
    """Await `operation`, which must raise `exception` soon; return what it raised."""
    try:
        result = await asyncio.wait_for(operation, SOON)
    except exception as error:
        return error
    raise AssertionError("no %s but %r" % (exception.__name__, result))


async def soon(operation):
    return await asyncio.wait_for(operation, SOON)


async def settle():
    """Let the other tasks do what they can."""
    for _ in range(10):
        await asyncio.sleep(0.01)


async def listen(on_link, **options):
    """tcp.serve() on a free port: (server, port)."""
    while True:
        port = 20000 + int.from_bytes(os.urandom(2), "big") % 40000
        try:
            return await tcp.serve(HOST, port, on_link, **options), port
        except LinkError:
            pass  # taken: try another


class Connected:
    """Two ends of one TCP connection, a to b: `async with Connected() as (a, b)`."""

    def __init__(self, **options):
        self._options = options

    async def __aenter__(self):
        self._accepted = []
        arrived = asyncio.Event()

        async def on_link(link):
            self._accepted.append(link)
            arrived.set()

        self._server, port = await listen(on_link, **self._options)
        self._link = await tcp.connect(HOST, port, **self._options)
        await soon(arrived.wait())
        return self._link, self._accepted[0]

    async def __aexit__(self, *_):
        self._link.close()
        self._accepted[0].close()
        self._server.close()
        await settle()


async def on_both(scene):
    """Run scene(a, b) on links in memory and on links over TCP."""
    a, b = memory.pair()
    await scene(a, b)
    async with Connected() as (a, b):
        await scene(a, b)


# -- what is sent arrives ------------------------------------------------------------------------


async def test_bodies_arrive_whole_and_in_order():
    async def scene(a, b):
        random = Random(7)
        bodies = [random.bytes(size) for size in (1, 2, 255, 256, 257, 2000, 2048, 1)]
        for sender, receiver in ((a, b), (b, a)):
            task = asyncio.create_task(send_all(sender, bodies))
            for body in bodies:
                assert await soon(receiver.recv()) == body
            await soon(task)

    await on_both(scene)


async def send_all(link, bodies):
    for body in bodies:
        await link.send(body)


async def test_frames_of_several_senders_are_not_mixed():
    async def scene(a, b):
        senders = [
            asyncio.create_task(send_all(a, [bytes((i,)) * 700 for _ in range(5)]))
            for i in range(1, 5)
        ]
        seen = [0] * 5
        for _ in range(20):
            body = await soon(b.recv())
            assert body == body[:1] * 700
            seen[body[0]] += 1
        assert seen == [0, 5, 5, 5, 5]
        for task in senders:
            await soon(task)

    await on_both(scene)


async def test_the_longest_frame():
    body = Random(3).bytes(65535)
    async with Connected(limit=65535) as (a, b):
        task = asyncio.create_task(a.send(body))
        assert await soon(b.recv()) == body
        await soon(task)


async def test_small_pieces():
    arrived = asyncio.Event()
    got = []

    async def on_link(link):
        got.append(await link.recv())
        got.append(await link.recv())
        arrived.set()
        link.close()

    server, port = await listen(on_link)
    _, writer = await asyncio.open_connection(HOST, port)
    for byte in b"\x00\x03abc\x00\x01d":
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.002)
    await soon(arrived.wait())
    assert got == [b"abc", b"d"]
    writer.close()
    server.close()


async def test_a_cancelled_receive_loses_nothing():
    async def scene(a, b):
        for i in range(3):
            try:
                await asyncio.wait_for(b.recv(), 0.02)
                raise AssertionError("received what was not sent")
            except asyncio.TimeoutError:
                pass
            await a.send(bytes((i, 0, 0)))
            assert await soon(b.recv()) == bytes((i, 0, 0))

    await on_both(scene)


# -- bounds --------------------------------------------------------------------------------------


async def test_a_slow_reader_slows_the_sender():
    async def scene(a, b):
        count = 4000  # 8 MB: more than any buffer in between
        sent = [0]

        async def flood():
            for _ in range(count):
                await a.send(bytes(2048))
                sent[0] += 1

        task = asyncio.create_task(flood())
        held = -1
        while held != sent[0]:  # until every buffer in between is full
            held = sent[0]
            await settle()
            await settle()
        assert held < count
        for _ in range(held):
            assert await soon(b.recv()) == bytes(2048)
        await soon(b.recv())
        for _ in range(100):
            if sent[0] > held:
                break
            await settle()
        assert sent[0] > held
        task.cancel()

    await on_both(scene)


async def test_a_length_that_cannot_be_sent_changes_nothing():
    async def scene(a, b):
        for body in (b"", bytes(65536)):
            await fails(WireError, a.send(body))
        await a.send(b"fine")
        assert await soon(b.recv()) == b"fine"

    await on_both(scene)


async def test_a_frame_over_the_limit_ends_the_link():
    async def scene(a, b):
        task = asyncio.create_task(a.send(bytes(2049)))
        error = await fails(LinkError, b.recv())
        assert not isinstance(error, LinkClosed) and b.closed
        await fails(LinkClosed, b.recv())
        await settle()
        task.cancel()

    await on_both(scene)


async def test_noise_on_tcp_ends_the_link():
    for noise in (b"\x00\x00", b"\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"):
        errors = []

        async def on_link(link, errors=errors):
            errors.append(await fails(LinkError, link.recv()))

        server, port = await listen(on_link)
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(noise)
        await writer.drain()
        try:
            assert await soon(reader.read(10)) == b""  # hung up
        except OSError:
            pass  # or reset, because some of the noise was never read
        assert len(errors) == 1
        writer.close()
        server.close()
        await settle()


async def test_a_listener_keeps_so_many_links_and_no_more():
    accepted = []

    async def on_link(link):
        accepted.append(link)

    server, port = await listen(on_link, max_links=2)
    links = []
    for _ in range(2):
        links.append(await tcp.connect(HOST, port))
    await settle()
    refused = await tcp.connect(HOST, port)
    await fails(LinkError, refused.recv())
    assert len(accepted) == 2

    accepted[0].close()
    links.append(await tcp.connect(HOST, port))
    await links[2].send(b"in again")
    await settle()
    assert await soon(accepted[2].recv()) == b"in again"
    for link in links + accepted:
        link.close()
    server.close()
    await settle()


# -- the end -------------------------------------------------------------------------------------


async def test_what_was_sent_before_closing_arrives():
    async def scene(a, b):
        await a.send(b"one")
        await a.send(b"two")
        a.close()
        assert await soon(b.recv()) == b"one"
        assert await soon(b.recv()) == b"two"
        await fails(LinkClosed, b.recv())
        assert b.closed
        await fails(LinkClosed, b.recv())
        await fails(LinkClosed, b.send(b"late"))

    await on_both(scene)


async def test_closing_wakes_who_receives():
    async def scene(a, b):
        waiting = asyncio.create_task(fails(LinkClosed, b.recv()))
        await settle()
        b.close()
        b.close()
        await soon(waiting)
        await fails(LinkClosed, b.send(b"late"))
        await fails(LinkClosed, a.recv())

    await on_both(scene)


async def test_closing_wakes_who_sends():
    async def scene(a, b):
        async def flood():
            while True:
                await a.send(bytes(2048))

        waiting = [asyncio.create_task(fails(LinkClosed, flood())) for _ in range(2)]
        await settle()
        a.close()
        for task in waiting:
            await soon(task)

    await on_both(scene)


async def test_the_other_end_closing_wakes_who_sends():
    async def scene(a, b):
        async def flood():
            while True:
                await a.send(bytes(2048))

        waiting = asyncio.create_task(fails(LinkError, flood()))
        await settle()
        b.close()
        await soon(waiting)
        assert a.closed

    await on_both(scene)


async def test_a_cancelled_send_leaves_no_half_frame():
    async def scene(a, b):
        try:
            while True:
                await asyncio.wait_for(a.send(bytes(2048)), 0.05)
        except asyncio.TimeoutError:
            pass
        assert a.closed
        while True:
            try:
                assert await soon(b.recv()) == bytes(2048)
            except LinkError:
                break

    await on_both(scene)


async def test_nobody_listens():
    async def on_link(link):
        link.close()

    server, port = await listen(on_link)
    server.close()
    await settle()
    error = await fails(LinkError, tcp.connect(HOST, port))
    assert str(port) in str(error)
    await fails(LinkError, tcp.connect("no.such.host.invalid", 1))


async def test_a_port_that_is_taken():
    async def on_link(link):
        link.close()

    server, port = await listen(on_link)
    await fails(LinkError, tcp.serve(HOST, port, on_link))
    server.close()
    await settle()
