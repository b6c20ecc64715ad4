"""A worker's upkeep beside the readings: its topics, its state in them, and assets that moved."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka.errors import KafkaError

from stream_detector.engine.assets.snapshots import load
from stream_detector.engine.outcome import AssetStatus
from stream_detector.errors import StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import SnapshotRecord
from stream_detector.streaming.topics.watch import TopicsSeen, TopicWatch
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.ports import Clock, OpenLog

log = logging.getLogger(__name__)

TOPICS_SECONDS = 3.0
MEND_SECONDS = 60.0
"""Far less than the topic of state waits before it compacts."""

SILENT_SECONDS = 30.0
"""An asset that sends nothing for so long may have moved to another partition."""
MOVING_SECONDS = 3_600.0
"""So long after a start, and after partitions were added, assets that fell silent are looked for elsewhere."""


@dataclass(slots=True)
class _Silence:
    """An asset that has sent nothing since `since`; it is looked for elsewhere after `wait` seconds more."""

    watermark: float
    since: float
    wait: float = SILENT_SECONDS


class Housekeeping:
    """Called by the worker's watch, in the main event loop.

    Args:
        settings: names the topics.
        pipeline: whose partitions are looked after.
        topics: looks at the topics.
        open_log: makes a reader of the log.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        topics: TopicWatch,
        open_log: OpenLog,
        clock: Clock = time.monotonic,
    ) -> None:
        self.trouble: str | None = None
        """What is wrong with the topics, in words."""
        self._settings = settings
        self._pipeline = pipeline
        self._topics = topics
        self._open_log = open_log
        self._clock = clock
        self._look_at = 0.0
        self._mend_at = clock() + MEND_SECONDS
        self._readings = 0
        self._gone_since: float | None = None
        self._moving_until = clock() + MOVING_SECONDS
        self._silent: dict[tuple[int, str], _Silence] = {}

    async def look(self) -> None:
        """Do what is due.

        Raises:
            StalledError: the process should end and start again.
        """
        now = self._clock()
        try:
            if now >= self._look_at:
                self._look_at = now + TOPICS_SECONDS
                await self._look_at_topics(await self._topics.look(), now)
            if now >= self._mend_at:
                self._mend_at = now + MEND_SECONDS
                async with self._open_log() as reader:
                    await self._pipeline.mend(reader.state_where_other)
            await self._let_moved_assets_go(now)
        except (KafkaError, TimeoutError, OSError) as error:
            log.info("the topics cannot be looked after now: %r", error)

    async def close(self) -> None:
        await self._topics.close()

    async def _look_at_topics(self, seen: TopicsSeen, now: float) -> None:
        settings, alone = self._settings, self._pipeline.left_alone
        if seen.trouble != self.trouble and seen.trouble is not None:
            log.error("%s", seen.trouble)
        self.trouble = seen.trouble
        if seen.readings > self._readings > 0:
            log.info(
                "topic %s has %d partitions now, it had %d", settings.topic_readings, seen.readings, self._readings
            )
            self._moving_until = now + MOVING_SECONDS
        self._readings = seen.readings or self._readings
        if settings.topic_state in seen.made_again:
            self._mend_at = now
        if alone and seen.state > max(alone):
            raise StalledError(
                f"topic {settings.topic_state} has the partitions {sorted(alone)} now; the next start reads them"
            )
        if seen.readings:
            self._gone_since = None
            return
        self._gone_since = now if self._gone_since is None else self._gone_since
        if now - self._gone_since > settings.stall_seconds:
            raise StalledError(f"topic {settings.topic_readings} does not exist for {settings.stall_seconds:g} s")

    def observe(self, assets: Iterable[AssetStatus]) -> None:
        """Is shown all assets now and then; notes which of them send nothing."""
        now, before = self._clock(), self._silent
        self._silent = {}
        if now > self._moving_until:
            return
        for asset in assets:
            key = asset.partition, asset.asset
            known = before.get(key)
            same = known is not None and known.watermark == asset.watermark
            self._silent[key] = known if same and known is not None else _Silence(asset.watermark, now)

    async def _let_moved_assets_go(self, now: float) -> None:
        due = {key for key, silence in self._silent.items() if now - silence.since >= silence.wait}
        if not due:
            return
        for key in due:
            self._silent[key].wait *= 2
        async with self._open_log() as reader:
            moved = moved_assets(due, await reader.state_of_all())
        for number, asset in sorted(moved):
            del self._silent[number, asset]
            await self._pipeline.depart(number, asset)


def moved_assets(wanted: Iterable[tuple[int, str]], states: Mapping[int, PartitionState]) -> set[tuple[int, str]]:
    """Those (partition, asset) whose state lies in another partition too, written later there than here."""
    looked_for = set(wanted)
    names = {asset for _, asset in looked_for}
    newest: dict[str, dict[int, int]] = {}
    for number, state in states.items():
        for snapshot in state.live():
            if snapshot.asset in names and lives(snapshot):
                written = newest.setdefault(snapshot.asset, {})
                written[number] = max(snapshot.timestamp_ms, written.get(number, -1))
    moved = set()
    for number, asset in looked_for:
        written = newest.get(asset, {})
        if number in written and max(written.values()) > written[number]:
            moved.add((number, asset))
    return moved


def lives(snapshot: SnapshotRecord) -> bool:
    """Whether the asset was there when the snapshot was written."""
    known = None if snapshot.data is None else load(snapshot.data)
    return known is not None and known.evicted is None
