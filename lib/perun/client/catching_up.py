"""A device and its service compare what they know of a channel: at the beginning of a session, and
when the service knows more. Forgotten afterwards. guardian: perun.client.guardian.Guardian."""

from perun.adoption.session import ServiceError
from perun.channel import ACTING, FUNDING, WITHDRAWING, WITHDRAWN
from perun.wire.inquiry_messages import (
    STAGE_CONCLUDED,
    STAGE_DISPUTE,
    STAGE_FUNDED,
    STAGE_WITHDRAWN,
)
from perun.wire.service_messages import (
    ERROR_NOT_ALLOWED,
    ERROR_UNKNOWN_CHANNEL,
)


async def catch_up(guardian, session):
    """A new session: learn what happened meanwhile and hand over what the service lacks."""
    for handle in list(guardian.client.channels.values()):
        if handle.phase != WITHDRAWN:
            try:
                status = await session.status(handle.id)
            except ServiceError as error:
                # Not this device's: the service knows the channel from the peer only.
                if error.code not in (ERROR_UNKNOWN_CHANNEL, ERROR_NOT_ALLOWED):
                    raise
                await _introduce(guardian, handle)
            else:
                await _compare(guardian, session, handle, status)


async def look_again(guardian, session, handle):
    """The peer took a newer state to the chain, or money waits there that no authorization
    fits: take over the state, and sign for what is there."""
    status = await session.status(handle.id)
    await _compare(guardian, session, handle, status)
    if status.stage == STAGE_CONCLUDED and any(status.holdings):
        held = await session.held(handle.id)
        state_hash = guardian.client.chain.state_hash(held.state)
        auths = guardian.auths(handle.id, enumerate(status.holdings))
        await session.watch(handle.index, None, held, state_hash, auths)


async def _introduce(guardian, handle):
    """The service does not know this channel."""
    await handle.happened("service_holds")
    if handle.phase >= FUNDING:
        guardian.watch(handle, True)
    if handle.phase == FUNDING:
        guardian.fund(handle)


async def _compare(guardian, session, handle, status):
    guardian.known.add(handle.id)
    handle.watched = status.version
    if status.version == handle.version:
        handle.is_watched(handle.state)
    newer = None
    if status.version > handle.version:  # this device was restored from an old backup
        try:
            newer = await session.held(handle.id)
        except ServiceError:
            if status.stage != STAGE_WITHDRAWN:  # else it was paid out, and pruned since
                raise
    await handle.happened("service_holds", newer)
    if handle.phase == FUNDING:
        if status.stage == STAGE_FUNDED:
            await guardian.funded(handle)
        else:
            guardian.fund(handle)  # idempotent: the service does nothing twice
    await _apply(handle, status)
    if status.version < handle.version and status.stage < STAGE_CONCLUDED:
        guardian.watch(handle)


async def _apply(handle, status):
    if status.stage == STAGE_DISPUTE and handle.phase >= ACTING:
        handle.registered = (status.registered, status.timeout)
        await handle.happened("registered", status.registered)
    if status.stage >= STAGE_CONCLUDED and handle.phase < WITHDRAWING:
        await handle.happened("concluded", status.version)
    if status.stage == STAGE_WITHDRAWN:
        await handle.happened("withdrawn")
