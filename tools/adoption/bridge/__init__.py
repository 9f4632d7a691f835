"""The bridge to go-perun nodes: their protocol towards them, the compact one towards the devices.

addresses    wire addresses: how they are marshalled, what their owner proves
identity     the keys that the service holds for its devices' wire identities
perunio      go-perun's other serializer, which keeps locked funds
connection   one TLS connection to a node: handshake, whole messages in and out
translate    what differs between a message of a device and one of a node
line         one device's link to one node: one connection at a time, redialled
exchange     all of it: listeners, lines, and the sessions of the devices

The bridge routes. It signs nothing but the handshake, which is worth nothing.
"""
