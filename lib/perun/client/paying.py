"""Own updates of a channel: payments, and its end. Who only earns does without.

handle: perun.client.handle.ChannelHandle. README.md says who goes first when updates cross.
"""

from perun.channel import ACTING, CROSSING, SIGNING
from perun.client.handle import ClientError, Refused, TimedOut
from perun.compat import const
from perun.model import transfer, with_balances

_RETRIES = const(3)
_ANSWER = const(10)  # seconds that the peer has for an answer, before the same is sent again
_CROSSINGS = const(5)  # tries when the peer proposes at the same time
_COURTESY = const(2)  # seconds that the peer has for what comes first; participant 1 waits twice


async def pay(handle, amounts):
    """ChannelHandle.pay()."""
    return await _update(
        handle, lambda state, version: transfer(state, handle.index, amounts, version)
    )


async def close(handle):
    """ChannelHandle.close()."""
    await _update(handle, final)


def final(state, version):
    """The end of a channel, as it is in this state."""
    return with_balances(state, state.allocation.balances, True, version)


async def _update(handle, make):
    """Propose make(newest state, version) until the peer signs; when updates cross, make it
    anew."""
    machine = handle.machine
    first = False  # whether it was this side's turn
    async with handle.turn:
        await handle.peer.hear(handle)
        for attempt in range(_CROSSINGS):
            try:
                await handle.until(lambda: _may_go(handle), _COURTESY << handle.index)
            except TimedOut:
                handle.yields = machine.asked = False
            state = handle.state
            if make is final and state.is_final:  # the peer was quicker
                return None
            again = handle.phase == SIGNING  # only the same may follow
            version = machine.staged.state.version if again else machine.next_version
            state = make(state, version)
            handle.yields = first  # what crossed this comes next
            if await propose(handle, state):
                return state.version
            first = handle.refusal and _goes_first(handle, attempt)
            if first:
                handle.yields = False
    raise TimedOut("the peer's updates cross again and again")


def _goes_first(handle, attempt):
    """Whose turn it is after updates crossed: an end comes before a payment, participant 0's
    before participant 1's. Who crosses again does not know that: participant 0 it is."""
    machine = handle.machine
    for update in (machine.staged, machine.refused):
        if attempt == 0 and update and update.state.is_final:
            return update is machine.staged
    return handle.index == 0


def _may_go(handle):
    """Whether nothing of the peer comes first."""
    return handle.phase != ACTING or not (handle.yields or handle.machine.asked)


async def propose(handle, state):
    """True when the peer signed `state`, False when an update of the peer came between."""
    handle.refusal = None
    await handle.happened("propose", state)
    answered = lambda: handle.version >= state.version or handle.phase != SIGNING or handle.failed
    for _ in range(_RETRIES):
        try:
            await handle.until(answered, _ANSWER)
            break
        except TimedOut:
            await handle.resend()
    handle.check_usable()
    if handle.machine.confirmed == state.version:
        return True
    if handle.refusal == CROSSING or handle.version >= state.version:
        return False
    if handle.refusal is not None:
        raise Refused("the peer refused: " + handle.refusal)
    if handle.phase == SIGNING:
        raise TimedOut("the peer does not answer version %d" % state.version + handle.peer.silence)
    raise ClientError("the channel is not open any more")
