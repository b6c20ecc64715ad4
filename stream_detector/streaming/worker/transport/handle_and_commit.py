"""Hands fetches to the pipeline one after another, and commits what it declares done; every stream does both."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from stream_detector.streaming.worker.transport.fetched import Fetched
from stream_detector.streaming.worker.transport.offset_keeper import FetchHandler, OffsetKeeper

Answer = TypeVar("Answer")


async def begin_or_fail(fetches: Sequence[Fetched], handler: FetchHandler) -> "asyncio.Task[None] | None":
    """Returns when the alarms of what was fetched are on their way; then the next may follow, of whatever partition.

    The answer is done when they are acknowledged; None where they are. After an error, which ends the process, neither
    comes: nobody may take a fetch that failed for done, and no fetch may follow it.
    """
    acknowledged = await _or_fail(handler.begin(*fetches), handler)
    return None if acknowledged is None else asyncio.create_task(_or_fail(acknowledged, handler))


async def _or_fail(work: Awaitable[Answer], handler: FetchHandler) -> Answer:
    """Returns when the work is done; after an error, which ends the process, never."""
    try:
        return await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - reported, and the process ends
        handler.fail(error)
        return await asyncio.Future()


async def commit_declared(
    keeper: OffsetKeeper, commit: Callable[[Mapping[int, tuple[int, str]]], Awaitable[bool]]
) -> bool:
    """Wait for what is not acknowledged, then commit; True when all that was declared is committed.

    Args:
        commit: {partition: (offset, metadata)} to the group; False where the group has moved on.
    """
    try:
        await keeper.flush()
        offsets = keeper.to_commit()
        done = bool(offsets) and await commit(offsets)
    except Exception as error:  # noqa: BLE001 - reported, and the process ends: nobody may go on without commits
        keeper.fail(error)
        return False
    if done:
        keeper.committed({number: offset for number, (offset, _) in offsets.items()})
    return done
