# timeout: 300
# heapsize: 8m
"""The journal on a board's flash: full, read-only, damaged; and what it wears."""

import os

from mounted import ROOT, format, mount, unmount
from channels import ALICE, BOB
from chip import Flash
from life import knows, record
from perun.channel import ACTING, DOUBT_PEER
from perun.client.handle import ClientError
from perun.model import transfer
from perun.store import StoreError
from perun.store.journal import Journal
from support import raises
from test_client import channel, client, connect, fails, run, soon

PATH = ROOT + "/perun.journal"


def contents(store):
    return {key: store.get(key) for key in store.keys()}


def board(**settings):
    """A new board, switched on."""
    flash = Flash(**settings)
    format(flash)
    mount(flash)
    return flash


def fill():
    """Take all the room that is left."""
    file = open(ROOT + "/log", "wb")
    try:
        while True:
            file.write(bytes(1024))
            file.flush()
    except OSError:
        file.close()


def fill_up(store, key):
    """Put until the flash is full: the last value that was confirmed."""
    last = None
    for i in range(1000):
        try:
            value = b"%d" % i * 100
            store.put(key, value)
            last = value
        except StoreError as error:
            assert "nothing is signed" in str(error)
            return last
    raise AssertionError("it never was full")


def test_a_full_flash():
    board()
    store = Journal(PATH)
    store.put(b"k", b"secret")
    store.put(b"c", b"old")
    fill()
    last = fill_up(store, b"c")
    assert "closed" in str(raises(StoreError, store.put, b"c", b"x"))
    expected = {b"k": b"secret", b"c": last or b"old"}
    unmount_and_check(expected)


def unmount_and_check(expected):
    """What was confirmed is there, also while the flash is full; with room it goes on."""
    store = Journal(PATH)
    assert contents(store) == expected
    store.close()
    os.remove(ROOT + "/log")
    store = Journal(PATH)
    store.put(b"c", b"there is room again")
    assert store.get(b"c") == b"there is room again" and store.get(b"k") == expected[b"k"]
    store.close()
    unmount()


def test_a_flash_that_is_too_full_for_a_rewrite():
    board(blocks=16)
    store = Journal(PATH)
    store.put(b"k", b"secret")
    for i in range(16):
        store.put(b"c", bytes((i,)) * 1000)
    store.put(b"c", b"\x01" * 2800)
    fill()
    last = fill_up(store, b"c")
    unmount_and_check({b"k": b"secret", b"c": last or b"\x01" * 2800})


def test_a_full_flash_at_the_first_boot():
    board()
    fill()
    raises(StoreError, Journal, PATH)
    os.remove(ROOT + "/log")
    Journal(PATH).close()
    unmount()


def test_a_read_only_flash():
    flash = board()
    store = Journal(PATH)
    store.put(b"k", b"secret")
    store.close()
    unmount()
    mount(Flash(image=flash.image, writable=False))
    store = Journal(PATH)
    assert store.get(b"k") == b"secret"
    raises(StoreError, store.put, b"k", b"another")
    raises(StoreError, store.get, b"k")
    raises(StoreError, Journal, ROOT + "/new")
    store = Journal(PATH)
    assert store.get(b"k") == b"secret"
    store.close()
    unmount()


def spy(peer):
    """The list of what is sent to this peer from now on; it is sent all the same."""
    sent, send = [], peer.send

    async def note_and_send(message):
        sent.append(message)
        await send(message)

    peer.send = note_and_send
    return sent


def test_a_client_on_a_full_flash_is_frozen():
    async def main():
        store = Journal(PATH)
        alice, bob = client(ALICE, store=store), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        assert await mine.pay(10) == 1
        fill()
        sent = spy(mine.peer)
        for _ in range(100):  # there may be room for a record or two
            try:
                await mine.pay(1)
            except ClientError:
                break
        assert "nothing is signed" in str(mine.failed)
        count = len(sent)
        await fails(mine.pay(1), ClientError, "frozen")
        await fails(mine.close(), ClientError, "frozen")
        await fails(mine.happened("ask"), ClientError, "frozen")
        await theirs.happened("propose", transfer(theirs.state, 1, (1,)))
        await soon(lambda: alice.errors and "frozen" in alice.errors[-1])
        assert len(sent) == count

        # With room again, and started again, it knows all that it sent; and it goes on.
        os.remove(ROOT + "/log")
        again = client(ALICE, seed=3, store=Journal(PATH))
        restored = again.restore(DOUBT_PEER)[0]
        for message in sent:
            knows(restored.machine, 0, message)
        await connect(again, bob)
        await soon(lambda: restored.phase == theirs.phase == ACTING)
        await restored.pay(1)
        assert restored.machine.current == theirs.machine.current
        again.store.close()

    board(blocks=32)
    run(main())
    unmount()


def test_a_damaged_byte_anywhere_on_the_chip():
    """LittleFS does not see it all, and returns to earlier versions of a file without an error."""
    flash = board(blocks=16)
    store = Journal(PATH)
    store.put(b"k", b"secret")
    for i in range(24):
        store.put(b"c", b"version %d " % i * 30)
    newest = contents(store)
    store.close()
    unmount()
    image = flash.image
    refused = 0
    for at in range(len(image)):
        if image[at] == 0xFF and at % 32:
            continue  # mostly erased
        damaged = Flash(image=image)
        damaged.image[at] ^= 0x10
        try:
            mount(damaged)
        except OSError:
            refused += 1
            continue
        try:
            store = Journal(PATH)
            assert contents(store) == newest, at
            store.close()
        except StoreError:
            refused += 1
        unmount()
    print("refused:", refused)
    assert refused > 1000


def test_what_payments_wear():
    """Page programs and erases of many payments, with the records of a real channel."""
    life = record()
    payment = {}
    for who, name in ((0, "payer"), (1, "payee")):
        values = [value for _, key, value in stored(life, who) if key[:1] == b"c"]
        puts = values[3:5] if who == 0 else values[3:4]
        payment[name] = (puts, key_of(life, who))
    for name, (puts, key) in payment.items():
        flash = board(blocks=64)
        store = Journal(PATH)
        store.put(b"k", b"\x01" * 32)
        flash.programs = flash.erases = 0
        count = 400
        for _ in range(count):
            for value in puts:
                store.put(key, value)
        pages, erases = flash.programs / count, flash.erases / count
        print("%s: %.1f pages, %.2f erases a payment" % (name, pages, erases))
        # LittleFS copies the file's last block each time: half of its 16 pages in the mean.
        assert pages < 14 * len(puts) and erases < 1.5 * len(puts)
        assert max(flash.wear) < 200  # it moves what it has erased a hundred times
        store.close()
        unmount()


def stored(life, who):
    return [life.log[moment] for moment in life.puts(who)]


def key_of(life, who):
    return stored(life, who)[1][1]
