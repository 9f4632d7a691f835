"""A new version of the software on trial: see versions.py. Small, for each start looks."""

import os

_TRIAL = "/app/trial"


def on_trial():
    """Whether the version that runs has not proved itself yet."""
    try:
        os.stat(_TRIAL)
        return True
    except OSError:
        return False


async def prove():
    """The job of a device: when nothing has gone wrong for a minute, the trial is over."""
    import asyncio

    await asyncio.sleep(60)
    if on_trial():
        os.remove(_TRIAL)
