"""Protocols of what the pipeline is given: an engine, an observer, logs to read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from stream_detector.engine.outcome import AssetStatus, Outcome, RecordBatch
from stream_detector.streaming.readers.log_reader import LogReader

OpenLog = Callable[[], LogReader]
"""Makes a reader, not started."""

Clock = Callable[[], float]
"""Seconds; monotonic where nothing else is said."""


class DetectionEngine(Protocol):
    """`engine.Engine`."""

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome: ...
    def process_all(self, batches: Sequence[RecordBatch], publish_scores: bool = False) -> list[Outcome]: ...
    def low(self, partition: int) -> int | None: ...
    def restore(
        self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0, id_term: int = 0
    ) -> None: ...
    def forget(self, partition: int) -> None: ...
    def retire(self, topic: str, partition: int, asset: str, offset: int) -> Outcome: ...
    def snapshots(self, partition: int, processed: int | None = None) -> list[tuple[str, bytes | None]]: ...
    def untold(self, partition: int, processed: int) -> list[tuple[str, bytes | None]]: ...
    def status(self, detailed: int | None = None) -> list[AssetStatus]: ...


class PipelineObserver(Protocol):
    """Is told what the pipeline does, as it does it; decides nothing."""

    def decided(self, seconds: float) -> None:
        """The engine has answered batches that it was given together, in so many seconds."""

    def scored(self, partition: int, outcome: Outcome, seconds: float) -> None:
        """The engine has answered one batch, alone or with others; nothing of it is acknowledged yet.

        seconds: what it took, of several together the share of its records.
        """

    def alarms_acknowledged(self, outcome: Outcome) -> None: ...

    def dead_letter_held_back(self) -> None:
        """A dead letter is not published: over the rate limit."""

    def evicted(self, assets: int) -> None:
        """So many assets were forgotten that were silent since before whoever decides now did."""

    def committed(self) -> None: ...

    def assigned(self, partitions: set[int]) -> None:
        """The partitions that the worker owns now."""

    def planned(self, *, rebuilding: bool) -> None: ...
    def rebuilt(self, *, rebuilding: bool) -> None: ...

    def switched(self, partition: int, seconds: float) -> None:
        """The log named another bundle, which decides now; nothing was decided for so many seconds."""


class FetchState(Struct, frozen=True):
    """How far the fetches of one partition are; `position` names the next record, None before the first seek."""

    position: int | None
    answered_ms: int | None
    """When the broker last answered a fetch, epoch milliseconds; None before its first answer."""


class GroupView(Struct, frozen=True):
    """A consumer's view of itself. `member`: it belongs to its group, has an assignment, and does not rebalance."""

    member: bool
    fetches: Mapping[int, FetchState]


class ReadingsStream(Protocol):
    """Whatever brings the pipeline its fetches and commits what it declares: `agent.FaustStream`."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Finish the batch in hand, commit and leave."""

    async def crashed(self) -> BaseException:
        """Returns the reason when it can never go on; otherwise never."""

    def observe(self) -> GroupView: ...

    async def leave(self) -> None:
        """Leave the group, so that it shares its partitions out anew; at most a second."""
