"""What this product asks of aiokafka, which publishes no types; `streaming.local` has the same in memory."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict

if TYPE_CHECKING:

    class TopicPartition(NamedTuple):
        topic: str
        partition: int

    class OffsetAndMetadata(NamedTuple):
        offset: int
        metadata: str

    class OffsetAndTimestamp(NamedTuple):
        offset: int
        timestamp: int
else:
    from aiokafka.structs import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition

__all__ = [
    "CommittingConsumer",
    "DescribedTopic",
    "FollowingConsumer",
    "GroupOffsets",
    "KafkaAdmin",
    "KafkaConsumer",
    "KafkaProducer",
    "KafkaRecord",
    "OffsetAndMetadata",
    "OffsetAndTimestamp",
    "TopicPartition",
    "WaitingProducer",
]


class KafkaRecord(Protocol):
    """A record as it lies in the log; `value` None = tombstone."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Kafka's, in milliseconds."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class KafkaConsumer(Protocol):
    """`AIOKafkaConsumer` with partitions assigned by hand."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, partitions: Iterable[TopicPartition]) -> None: ...
    def assignment(self) -> Iterable[TopicPartition]: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    def pause(self, *partitions: TopicPartition) -> None: ...
    async def seek_to_beginning(self, *partitions: TopicPartition) -> bool: ...
    async def position(self, partition: TopicPartition) -> int: ...
    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[KafkaRecord]]: ...
    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def offsets_for_times(
        self, timestamps: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, OffsetAndTimestamp | None]: ...


class FollowingConsumer(KafkaConsumer, Protocol):
    """A consumer that also sees partitions that are added."""

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """The partitions that are known; None where the topic is not."""


class CommittingConsumer(FollowingConsumer, Protocol):
    """A consumer that also keeps its progress in a group."""

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None: ...


class DescribedPartition(TypedDict):
    """One partition, as the admin client describes it."""

    partition: int
    replicas: list[int]


class DescribedTopic(TypedDict):
    """One topic, as the admin client describes it; with an `error_code` other than 0 the rest says nothing."""

    error_code: int
    topic: str
    partitions: list[DescribedPartition]


class KafkaAdmin(Protocol):
    """`AIOKafkaAdminClient`. Answers of the brokers come as aiokafka's classes of the protocol, which have no types."""

    async def close(self) -> None: ...
    async def describe_topics(self, topics: list[str] | None = None) -> list[DescribedTopic]: ...
    async def create_topics(self, new_topics: list[Any]) -> Any: ...
    async def create_partitions(self, topic_partitions: Mapping[str, Any]) -> Any: ...
    async def describe_configs(self, config_resources: list[Any]) -> list[Any]: ...
    async def list_consumer_groups(self) -> list[tuple[str, ...]]: ...
    async def find_coordinator(self, group_id: str) -> int: ...
    async def _send_request(self, request: object, node_id: int | None = None) -> Any: ...


class KafkaProducer(Protocol):
    """`producer.EndableProducer`."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def abandon(self) -> None:
        """End it at once, whatever the brokers do: what is on its way has failed, and nothing is sent any more."""

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        *,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> "asyncio.Future[object]":
        """Hand a record to the sender; the future is done when the brokers have acknowledged it."""


class WaitingProducer(KafkaProducer, Protocol):
    """A producer that also sends single records."""

    async def send_and_wait(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> object:
        """Send a record, and wait until the brokers have acknowledged it."""


class GroupOffsets(Protocol):
    """What a consumer group has committed, asked without being a member of it."""

    def read(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Awaitable[Mapping[TopicPartition, OffsetAndMetadata]]:
        """Offsets of the partitions of which the group has committed something."""

    async def close(self) -> None: ...
