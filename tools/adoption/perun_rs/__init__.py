"""The protocol that perun-rs devices speak to their service, as it was published.

messages    its messages and their codec
server      answers them, out of the handlers that serve our own devices

It has no handshake, no encryption and no reasons for a refusal. README.md says what that means.
"""
