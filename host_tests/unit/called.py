"""A call for the tests of the owner's door: it remembers, and it fails when it is told to."""

sizes = []


async def call(_device, argument):
    sizes.append(len(argument))
    if argument == b"fail":
        raise ValueError("as you like it")
    return argument * 2 + b",%d" % len(sizes)
