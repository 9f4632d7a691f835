"""What a chain wants hashed and signed. One module per chain; today there is `ethereum`.

A chain is an object with these methods, all pure but for a cache of peer keys:

channel_id(params)                                          32 bytes
state_hash(state)                                           32 bytes
funding_id(channel_id, participant)                         32 bytes
withdrawal_hash(channel_id, participant, receiver, amount)  32 bytes
sign(account, hash32)                                       signature
verify(address, hash32, sig)                                bool
sign_bytes(account, data), verify_bytes(address, data, sig) the same over any bytes
"""
