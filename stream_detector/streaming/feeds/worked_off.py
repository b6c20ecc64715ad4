"""Whether groups have worked off the readings: until they have, what they said is not all that they will say."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import AdminGroupOffsets
from stream_detector.streaming.clients.diagnosis import in_words_for
from stream_detector.streaming.clients.kafka_types import KafkaConsumer, TopicPartition
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.topics.topics import existing_partitions

LOOK_AGAIN_SECONDS = 0.5


async def behind(settings: Settings, groups: Sequence[str], seconds: float) -> dict[str, int]:
    """{group: readings that it has not committed} of those that lay there when this was called, where there are any.

    Args:
        settings: names brokers and topic.
        groups: names of consumer groups.
        seconds: for so long running workers are waited for.

    Raises:
        BrokerError: the brokers cannot be reached, or cannot say.
    """
    offsets = AdminGroupOffsets(settings)
    try:
        spans, until = await _spans(settings), time.monotonic() + seconds
        while True:
            found = {group: await _left(offsets, group, spans) for group in groups}
            found = {group: left for group, left in found.items() if left}
            if not found or time.monotonic() > until:
                return found
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
    except KafkaError as error:
        reason = await in_words_for(settings, error)
        raise BrokerError(
            f"{settings.bootstrap} does not say what {', '.join(groups)} have committed: {reason}"
        ) from error
    finally:
        await offsets.close()


async def _spans(settings: Settings) -> dict[TopicPartition, tuple[int, int]]:
    """First and next offset of each partition of the readings."""
    numbers = (await existing_partitions(settings)).get(settings.topic_readings, ())
    partitions = [TopicPartition(settings.topic_readings, number) for number in numbers]
    consumer: KafkaConsumer = AIOKafkaConsumer(**aiokafka_options(settings))
    try:
        await consumer.start()
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        return {tp: (begins[tp], ends[tp]) for tp in partitions}
    finally:
        await consumer.stop()


async def _left(offsets: AdminGroupOffsets, group: str, spans: dict[TopicPartition, tuple[int, int]]) -> int:
    committed = await offsets.read(group, list(spans))
    return sum(max(0, end - (committed[tp].offset if tp in committed else begin)) for tp, (begin, end) in spans.items())
