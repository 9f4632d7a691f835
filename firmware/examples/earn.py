"""A device that earns money: whoever opens a channel to it may pay."""

import asyncio

import identity
from perun.chain.address import from_text
from perun.channel import Limits
from perun.client import Client
from perun.link import tcp
from perun.model import ether
from perun.store.journal import Journal

ETHER = ether(1337, from_text("0x5FbDB2315678afecb367f032d93F642f64180aa3"))  # asset holder
OWNER = from_text("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")  # gets the money


async def earn(service, port):
    store = Journal("earn.journal")
    client = Client(identity.load(store), 1337, Limits((ETHER,), (0,), 60, 86400), OWNER, store)
    client.on_proposal = lambda proposal: None  # whatever is within the limits is welcome
    client.on_error = print
    client.on_event = lambda channel, kind, detail: print(kind, channel.balance())
    print(client.account)  # the service's operator lets this address in
    asyncio.create_task(client.guard(lambda: tcp.connect(*service)))
    await (await tcp.serve("0.0.0.0", port, client.accept)).wait_closed()
