"""The other end of a serial line for test_link_serial.py. Runs inside the MicroPython VM.

    micropython serial_peer.py PATH MODE

echo    send every body back, until "stop"
flood   send until the link takes no more, tell that other tasks still run, then send the rest
wait    receive, close the link from another task, and tell what recv() raised

With "uart-" before the mode, the link is not opened by the path but over a stream that belongs to
the caller, as a board does with its UART; after the link is closed a second one uses it again.
"""

import asyncio
import sys

from perun.link import LinkClosed, LinkError, serial


async def echo(link):
    body = b""
    while body != b"stop":
        body = await link.recv()
        await link.send(body)
    link.close()


async def flood(link):
    count = 100  # 200 KB: several times what a tty holds
    sent = [0]

    async def send():
        for i in range(count):
            await link.send(bytes((i,)) * 2000)
            sent[0] += 1

    task = asyncio.create_task(send())
    held = -1
    while held < sent[0]:  # the kernel takes the last of it slowly
        held = sent[0]
        await asyncio.sleep(0.4)
    print("held" if held < count else "not held")
    await task
    print("sent", sent[0])
    await link.recv()


async def wait(link):
    async def close():
        await asyncio.sleep(0.1)
        link.close()

    asyncio.create_task(close())
    try:
        await link.recv()
    except LinkClosed as error:
        print("closed:", error)


async def main(path, mode):
    port = path
    if mode.startswith("uart-"):
        from perun.link.tty import Tty

        port = Tty(path, 115200)
    try:
        link = await serial.open(port)
        print("ready")
        await {"echo": echo, "flood": flood, "wait": wait}[mode.replace("uart-", "")](link)
        if port is not path:
            link = await serial.open(port)
            await link.send(b"still open")
    except LinkError as error:
        print(type(error).__name__)


asyncio.run(main(*sys.argv[1:]))
