"""What a group has committed, asked without being its member."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any


async def committed_offsets(admin: Any, group: str, partitions: Collection[Any]) -> dict[Any, Any]:
    """{TopicPartition: OffsetAndMetadata} of those partitions of which the group has committed something.

    `list_consumer_group_offsets` of aiokafka (private interface; the version is pinned) passes over an error that
    concerns the whole answer: a broker that has just started and holds no groups yet is then taken for a group that
    has never committed anything. Partitions are named, for the embedded broker does not answer when asked about all.

    Args:
        admin: a started `AIOKafkaAdminClient`.

    Raises:
        KafkaError: the group's coordinator cannot be reached, or cannot say yet.
    """
    from aiokafka import OffsetAndMetadata, TopicPartition
    from aiokafka.errors import for_code
    from aiokafka.protocol.commit import OffsetFetchRequest

    if not partitions:
        return {}
    wanted: dict[str, list[int]] = defaultdict(list)
    for topic, partition in sorted(partitions):
        wanted[topic].append(partition)
    coordinator = await admin.find_coordinator(group)
    answer = await admin._send_request(OffsetFetchRequest(group, list(wanted.items())), coordinator)
    entries = [(topic, *entry) for topic, found in answer.topics for entry in found]
    # The oldest form of the answer has no error of the whole.
    for code in (getattr(answer, "error_code", 0), *(code for *_, code in entries)):
        if code:
            raise for_code(code)(f"the offsets of group {group} cannot be read")
    return {
        TopicPartition(topic, partition): OffsetAndMetadata(offset, metadata)
        for topic, partition, offset, metadata, _ in entries
        if offset >= 0
    }
