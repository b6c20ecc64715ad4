"""Leaving the consumer group for good, as a member with an instance name never does by itself.

Who comes back under an instance name is given what it had, without a look at the topic. A worker that had no partition,
for the topic was gone when they were shared out, would get none for ever. When a worker ends because nothing moves, its
group shares the partitions out anew.
"""

import asyncio
import logging
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from stream_detector.streaming.worker.transport import BatchConsumer

log = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0


async def leave_for_good(consumer: object) -> None:
    """Leave now; without effect where the coordinator does not answer within a second."""
    if not isinstance(consumer, BatchConsumer):
        return
    thread = consumer._thread
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await thread.call_thread(_leave, thread._ensure_consumer()._coordinator)
    except (KafkaError, TimeoutError, OSError) as error:
        log.info("the group was not left: %r", error)


async def _leave(coordinator: Any) -> None:
    if coordinator.generation > 0:
        await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))
