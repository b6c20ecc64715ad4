"""A worker's upkeep beside the readings: its topics, its state in them, and assets that moved."""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from aiokafka.errors import KafkaError

from stream_detector.engine.assets.snapshots import load
from stream_detector.engine.outcome import AssetStatus
from stream_detector.errors import StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.state.group_facts import Silence
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import SnapshotRecord
from stream_detector.streaming.topics.watch import TopicsSeen, TopicWatch
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.ports import Clock, OpenLog
from stream_detector.streaming.worker.silences import Review, noted_after_seconds, review, usual_pause

log = logging.getLogger(__name__)

TOPICS_SECONDS = 3.0
MEND_SECONDS = 60.0
"""Far less than the topic of state waits before it compacts."""

SILENT_SECONDS = 30.0
"""An asset that sends nothing for so long may have moved to another partition."""
MOVING_SECONDS = 3_600.0
"""So long after a start, and after partitions were added, assets that fell silent are looked for elsewhere."""


@dataclass(slots=True)
class _Quiet:
    """An asset that has sent nothing since `since`; it is looked for elsewhere after `wait` seconds more.

    `unheard`: whoever decides for it now has never heard it. `pause`: how many seconds it sends nothing at times.
    """

    watermark: float
    since: float
    unheard: Silence | None = None
    wait: float = SILENT_SECONDS
    pause: float = 0.0


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
        self._quiet: dict[tuple[int, str], _Quiet] = {}
        self._limits = limits_of(settings)
        self._reviews: list[tuple[int, PartitionProgress, int, Review]] = []

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
            await self._note_silences()
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

    def observe(self, assets: Iterable[AssetStatus], unheard: Iterable[Silence] = ()) -> None:
        """Is shown all assets now and then, and the silent ones that no engine knows; notes who sends nothing."""
        now, before, settled = self._clock(), self._quiet, self._pipeline.settled()
        steps = {number: self._pipeline.step_seconds(number) for number in settled}
        after = {number: noted_after_seconds(step_seconds) for number, step_seconds in steps.items()}
        held: dict[int, dict[str, AssetStatus]] = {number: {} for number in settled}
        quiet: dict[int, dict[str, float]] = {number: {} for number in settled}
        self._quiet = {}
        # There may be 100,000 of them, and batches wait meanwhile.
        for asset in assets:
            number, name, watermark = asset.partition, asset.asset, asset.watermark
            key = number, name
            known = before.get(key)
            if known is None or known.unheard is not None:
                known = _Quiet(watermark, now)
            elif known.watermark != watermark:
                known = _Quiet(watermark, now, pause=usual_pause(known.pause, now - known.since))
            self._quiet[key] = known
            if number in settled:
                held[number][name] = asset
                silent = now - known.since
                if silent >= after[number] and silent >= noted_after_seconds(steps[number], known.pause):
                    quiet[number][name] = watermark
        for silence in unheard:
            key = silence.partition, silence.asset
            known = before.get(key)
            self._quiet[key] = (
                known if known is not None and known.unheard == silence else _Quiet(silence.heard, now, silence)
            )
        found = {number: review(number, each, held, quiet[number], self._limits) for number, each in settled.items()}
        self._reviews = [
            (number, settled[number], settled[number].term, each) for number, each in found.items() if each
        ]

    async def _note_silences(self) -> None:
        reviews, self._reviews = self._reviews, []
        for number, progress, term, found in reviews:
            await self._pipeline.note_silences(number, progress, term, found)

    async def _let_moved_assets_go(self, now: float) -> None:
        if now > self._moving_until:
            return
        due = {key: quiet for key, quiet in self._quiet.items() if now - quiet.since >= quiet.wait}
        if not due:
            return
        for quiet in due.values():
            quiet.wait *= 2
        terms = {number: (progress, progress.term) for number, progress in self._pipeline.partitions.items()}
        async with self._open_log() as reader:
            states = await reader.state_of_all()
        unheard = [quiet.unheard for quiet in due.values() if quiet.unheard is not None]
        for number, asset in sorted(moved_assets([key for key, quiet in due.items() if not quiet.unheard], states)):
            self._quiet.pop((number, asset), None)
            await self._pipeline.depart(number, asset)
        for silence in moved_silences(unheard, states):
            if silence.partition in terms:
                await self._pipeline.note_silences(
                    silence.partition, *terms[silence.partition], Review(ended=[silence])
                )


def moved_assets(wanted: Iterable[tuple[int, str]], states: Mapping[int, PartitionState]) -> set[tuple[int, str]]:
    """Those (partition, asset) whose state lies in another partition too, written later there than here."""
    looked_for = set(wanted)
    newest = _written({asset for _, asset in looked_for}, states)
    moved = set()
    for number, asset in looked_for:
        written = newest.get(asset, {})
        if number in written and max(written.values()) > written[number]:
            moved.add((number, asset))
    return moved


def moved_silences(wanted: Iterable[Silence], states: Mapping[int, PartitionState]) -> list[Silence]:
    """Those of assets that live in another partition, or were heard later there.

    Whoever decides has no state of them here: where there is some, they are.
    """
    looked_for = list(wanted)
    newest = _written({silence.asset for silence in looked_for}, states)
    return [
        silence
        for silence in looked_for
        if newest.get(silence.asset, {}).keys() - {silence.partition}
        or any(
            other.heard > silence.heard
            for number, state in states.items()
            if number != silence.partition and (other := state.silences.get(silence.asset)) is not None
        )
    ]


def _written(names: Collection[str], states: Mapping[int, PartitionState]) -> dict[str, dict[int, int]]:
    """{asset: {partition: when the state of it was written there (epoch milliseconds)}}."""
    newest: dict[str, dict[int, int]] = {}
    for number, state in states.items():
        for snapshot in state.live():
            if snapshot.asset in names and lives(snapshot):
                written = newest.setdefault(snapshot.asset, {})
                written[number] = max(snapshot.timestamp_ms, written.get(number, -1))
    return newest


def lives(snapshot: SnapshotRecord) -> bool:
    """Whether the asset was there when the snapshot was written."""
    known = None if snapshot.data is None else load(snapshot.data)
    return known is not None and known.evicted is None
