"""Energy and money. Both are counted from a channel's start, so rounding never adds up."""


def cost(wh, price_per_kwh):
    """What `wh` cost, in the asset's smallest unit, rounded up."""
    return (wh * price_per_kwh + 999) // 1000


def energy(paid, price_per_kwh):
    """The whole Wh that `paid` buys; energy(cost(wh)) is at least wh."""
    return paid * 1000 // price_per_kwh


def earned(channel):
    """What the own side has in the newest state beyond its deposit; negative when it spent."""
    return channel.balance() - channel.machine.agreement[0][channel.index]
