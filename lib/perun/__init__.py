"""Perun state channels for MicroPython and CPython: one source for both.

The rooms, from the ground up (no arrow runs upward):

model     what a channel is: Params, State, Allocation, valid transitions
crypto    Keccak, SHA-3, secp256k1
chain     what a chain wants signed: ids, hashes, signatures
channel   one channel's life as a pure machine
wire      messages, codecs, frames
link      bytes to and from a peer or a service
adoption  requests to the IoT adoption service
store     the journal
client    asyncio, many channels: the API that applications use
"""

__version__ = "0.1.0"
