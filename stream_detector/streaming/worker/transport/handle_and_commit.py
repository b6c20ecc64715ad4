"""Hands fetches to the pipeline one by one, and commits what it declares done; every stream does both."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from stream_detector.streaming.worker.transport.fetched import Fetched
from stream_detector.streaming.worker.transport.offset_keeper import FetchHandler, OffsetKeeper


async def handle_or_fail(fetched: Fetched, handler: FetchHandler) -> None:
    """Returns when the fetch is handled; after an error, which ends the process, never.

    Nobody may take a fetch that failed for done, and no fetch may follow it.
    """
    try:
        await handler.handle(fetched)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - reported, and the process ends
        handler.fail(error)
        await asyncio.Event().wait()


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
