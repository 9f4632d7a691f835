"""A new version of the software on trial: see versions.py. Small, for each start looks."""

import os

_TRIAL = "/app/trial"
_PROOF = 60  # seconds
_PATIENCE = 600  # seconds that an owner who is away has to reach the device


def on_trial():
    """Whether the version that runs has not proved itself yet."""
    try:
        os.stat(_TRIAL)
        return True
    except OSError:
        return False


async def prove(device):
    """The job of a device: when nothing has gone wrong for a minute, the trial is over. An owner
    who is away must have said by then, or some minutes later, that he can reach it."""
    import asyncio

    left = _PATIENCE
    while on_trial():
        await asyncio.sleep(_PROOF)
        left -= _PROOF
        if _is_over(left):
            from perun.compat import borrowed

            device.console.event("warning", text="the owner does not reach this version: back")
            borrowed("commands").restart(device)


def _is_over(left):
    """End the trial if it may; True if it has failed."""
    with open(_TRIAL) as file:
        words = file.read().split()
    if "away" not in words:
        os.remove(_TRIAL)
    elif left <= 0:
        with open(_TRIAL, "w") as file:
            file.write("3 " + words[1])  # as one that did not start
        return True
