"""Plans an assignment: asks the brokers how far each partition is, and reads the snapshots that a start needs."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from stream_detector.bundle.bundle_table import TableManifest
from stream_detector.decoding.asset_table import Line
from stream_detector.errors import MixedProcessorsError, StalledError, StreamDetectorError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.state.group_facts import BundleSwitch, Departure, Fact, Silence, newest_switch
from stream_detector.streaming.state.group_limits import begins_other_limits, limits_of
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import SnapshotRecord
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.kept_reader import KeptReader
from stream_detector.streaming.worker.offsets.recovery import (
    PartitionOffsets,
    ScoredBy,
    Start,
    choose_start,
    from_metadata,
)
from stream_detector.streaming.worker.offsets.takeover import (
    PublishedAlarm,
    Service,
    Takeover,
    begin_anew,
    decided_alone,
    followed,
    go_on,
    left_behind,
    next_id_term,
    next_term,
    read_alarm,
    service_at,
    switch_bundle,
    with_lines,
)
from stream_detector.streaming.worker.ports import Clock, OpenLog

log = logging.getLogger(__name__)

TRUNCATION_PATIENCE_SECONDS = 5.0
"""A new leader may for a moment report an end of the log below what was committed."""

LOOK_AGAIN_SECONDS = 0.5

KEPT_OPEN_SECONDS = 10.0
"""So long before a plan it may be opened, and so long after one it serves the next rebalance."""

CLOCKS_SECONDS = 60.0
"""So far the brokers' clocks may be apart."""


class PartitionPlan(Struct, frozen=True):
    """Where one partition starts, and with what.

    Attributes:
        snapshots: {asset: data}.
        bursts: to be acknowledged before, one after another.
        facts: what the group has written down about the partition, these bursts included.
        departures: assets whose life here ends at an offset that is still to come.
        state_end: the next offset of the partition's state that was not read or written.
        next_term, next_id_term: of the next switch of bundle that a control record makes.
        detector: who decides; None = the bundle that the worker was started with.
        silences: {asset: since when it is silent}.
        known_silent: those of them that whoever decides has heard itself.
    """

    start: Start
    snapshots: Mapping[str, bytes] = field(default_factory=dict)
    bursts: Sequence[Sequence[Outgoing]] = ()
    facts: Sequence[Fact] = ()
    departures: Sequence[Departure] = ()
    state_end: int = 0
    next_term: int = 1
    next_id_term: int = 1
    detector: Detector | None = None
    silences: Mapping[str, Silence] = field(default_factory=dict)
    known_silent: Collection[str] = ()


class Planner:
    """Makes plans, and changes nothing: whoever asks puts them into effect.

    Args:
        settings: names group and topics.
        open_log: makes a reader of the log.
        scored_by: what this worker decides with, and how its scores round.
        rewind_seconds: how far to read back where a commit does not say it (Kafka timestamps).
        clock, sleep: monotonic seconds, and how to let them pass.
        require_current: raises where this worker is to take up no partition any more.
        detectors: the bundles that a control record in the log may name; None = there is but one.
        extend_topics: gives the topic of state the partitions that it lacks, where that is allowed; tells all counts.

    Attributes:
        state_partitions: of the topic of state, as far as is known; None = enough.
    """

    def __init__(
        self,
        settings: Settings,
        open_log: OpenLog,
        scored_by: ScoredBy,
        rewind_seconds: float,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        extend_topics: Callable[[], Awaitable[Mapping[str, int]]] | None = None,
        require_current: Callable[[], Awaitable[None]] | None = None,
        detectors: Detectors | None = None,
    ) -> None:
        self._settings = settings
        self._detectors = detectors
        self.state_partitions: int | None = None
        self.open_log = open_log
        self._log = KeptReader(open_log, KEPT_OPEN_SECONDS)
        self._extend_topics = extend_topics
        self._require_current = require_current
        self._scored_by = scored_by
        self._rewind_seconds = rewind_seconds
        self._clock = clock
        self._sleep = sleep

    def prepare(self) -> None:
        """Begin to open what the next plan reads by: while partitions are planned, nothing moves."""
        self._log.warm()

    async def close(self) -> None:
        """The worker ends: it plans nothing from now on."""
        await self._log.close()

    async def plan(
        self, partitions: set[int], committed: Mapping[int, tuple[int, str]], in_memory: Mapping[int, int]
    ) -> dict[int, PartitionPlan]:
        """Every partition's plan; none for those of which the topic of state could keep no snapshots.

        Args:
            partitions: those that are assigned.
            committed: (offset, metadata) of those with a committed offset.
            in_memory: the next offset of those whose live state this worker holds already.

        Raises:
            KafkaError: the brokers cannot be reached.
            UsageError: the group runs under other limits, and the settings do not accept a change.
            MixedProcessorsError: the group's scores so far round otherwise than this worker's.
            StalledError: this worker is to begin again.
        """
        if self._require_current is not None:
            await self._require_current()
        partitions = await self._with_state(partitions)
        committed = {number: entry for number, entry in committed.items() if number in partitions}
        async with self._log.use() as reader:
            ends = await self._trusted_ends(reader, partitions, committed)
            starts = {
                number: await self._choose(reader, number, ends[number], committed.get(number), in_memory.get(number))
                for number in sorted(partitions)
            }
            fresh = {number: ends[number][1] for number, start in starts.items() if not start.keep_state}
            states = await reader.state(fresh) if fresh else {}
            return {
                number: PartitionPlan(start)
                if start.keep_state
                else await self._take_over(
                    reader, number, start, ends[number][0], states[number], committed.get(number)
                )
                for number, start in starts.items()
            }

    async def _with_state(self, partitions: set[int]) -> set[int]:
        known = self.state_partitions
        if known is not None and max(partitions, default=-1) >= known and self._extend_topics is not None:
            counts = await self._extend_topics()
            known = self.state_partitions = counts[self._settings.topic_state]
        return {number for number in partitions if known is None or number < known}

    async def _take_over(
        self,
        reader: LogReader,
        number: int,
        start: Start,
        beginning: int,
        state: PartitionState,
        committed: tuple[int, str] | None,
    ) -> PartitionPlan:
        detector = await self._who_decides(number, start, state)
        if detector is not None and committed is not None:
            before = from_metadata(committed[1]).scored_by
            if before is not None:
                self._require_equal_rounding(number, before, detector.scored_by)
            if from_metadata(committed[1]).low is None:
                # By hand: its windows may reach further back than those of the bundle this worker was started with.
                low = await reader.low_by_time(number, committed[0], beginning, detector.rewind_seconds)
                start = replace(start, offset=min(start.offset, max(low, beginning)))
        start, taken = await self._choose_takeover(reader, number, start, beginning, state, detector)
        topic = self._settings.topic_state
        written = [message for burst in taken.bursts for message in burst if message.topic == topic]
        facts = state.facts_after(written)
        departures = [f for f in facts if isinstance(f, Departure) and f.offset >= start.silent_until]
        newest = newest_switch(facts)
        following = max(next_term(state), 1 if newest is None else newest.term + 1)
        ids = max(next_id_term(state), 1 if newest is None else newest.highest_id_term + 1)
        until = state.until + len(written)
        # Where nothing is committed they are taken back: whoever is in the log is heard.
        silences = state.silences if start.restore_snapshots else {}
        mine = self._scored_by.bundle if detector is None else detector.bundle_id
        return PartitionPlan(
            start, taken.snapshots, taken.bursts, facts, departures, until, following, ids, detector=detector,
            silences=silences, known_silent=silences.keys() & state.of_service(newest, mine).keys(),
        )  # fmt: skip

    async def _who_decides(self, number: int, start: Start, state: PartitionState) -> Detector | None:
        """The bundle that the log has named, where it did; None: the one that this worker was started with.

        Raises:
            StalledError: that bundle cannot be used here.
        """
        if self._detectors is None or not start.restore_snapshots:
            return None
        service, mine = service_at(state, start.silent_until), self._scored_by.bundle
        held = None if service.switch is None else service.switch.held
        # A table's file may say by now what the log has made of the one before.
        same = service.bundle_id in (None, mine) and not service.of_line
        if same or (service.bundle_id != mine and not await self._goes_by_log(service, state)):
            return None
        bundle_id = str(service.bundle_id)
        try:
            detector = await (self._detectors.ready(bundle_id) if held is None else self._detectors.ready_table(held))
        except StreamDetectorError as error:
            raise StalledError(
                f"partition {number}: bundle {bundle_id} decides there, as the log says, and cannot be used: {error}"
            ) from None
        log.info("partition %d: bundle %s decides, as the log says; this worker was started with %s",
                 number, bundle_id, mine)  # fmt: skip
        return detector

    def _lines(self, detector: Detector | None) -> Sequence[Line]:
        """Of the table that decides; none where it is one bundle."""
        detector = detector or (None if self._detectors is None else self._detectors.configured)
        manifest = None if detector is None else detector.manifest
        return manifest.assets.lines if isinstance(manifest, TableManifest) else ()

    async def _goes_by_log(self, service: Service, state: PartitionState) -> bool:
        said = None if self._detectors is None else await self._detectors.follows_log()
        if said is not None:
            return said
        return service.switch is not None and self._scored_by.bundle in followed(state.switches)

    async def _choose_takeover(
        self,
        reader: LogReader,
        number: int,
        start: Start,
        beginning: int,
        state: PartitionState,
        detector: Detector | None,
    ) -> tuple[Start, Takeover]:
        settings, offset = self._settings, start.silent_until
        mine = self._scored_by.bundle if detector is None else detector.bundle_id
        lines = self._lines(detector)
        if not start.restore_snapshots:
            alone = decided_alone(settings, state, mine)
            published = (
                [] if alone else await self._published(reader, state, state.live(), state.switches, start.offset)
            )
            return start, begin_anew(
                settings, number, state, mine, start.offset, alone=alone, published=published, lines=lines
            )
        service = service_at(state, offset)
        mine_since = service.switch if service.bundle_id == mine else None
        other_limits = mine_since is not None and begins_other_limits(settings, mine_since.limits)
        if service.bundle_id in (mine, None) and not other_limits:
            start = behind_the_record(start, service.switch, beginning)
            if service.begun or service.of_line:
                left = left_behind(state, service, service.switch)
                before = [] if service.begun or service.switch is None else _before(state, service.switch)
                published = await self._published(reader, state, left, before, offset) if left or before else []
                return start, go_on(settings, number, state, service, left, published, lines)
            offset = start.silent_until
        if mine_since is not None and not other_limits:
            switch = mine_since
        else:
            read_until = None if self._detectors is None else self._detectors.configured.read_until
            low = await reader.low_by_time(number, offset, beginning, self._rewind_seconds, read_until)
            term = next_term(state)
            switch = BundleSwitch(number, offset, mine, low, limits_of(settings), term, term)
            if mine_since is not None:  # whoever goes by the log goes on doing so
                switch = replace(switch, by_record=mine_since.by_record)
            switch = with_lines(switch, lines)
            log.warning(
                "partition %d: bundle %s decides from %d on, after %s; its windows are read from %d, and the "
                "alarms that are open are cleared", number, mine, offset,
                "itself under other limits" if mine_since is not None else f"bundle {service.bundle_id}", low,
            )  # fmt: skip
        left = left_behind(state, service, switch)
        published = await self._published(reader, state, left, _before(state, switch), switch.offset)
        taken = switch_bundle(settings, service, switch, left, published)
        read_from = min(max(switch.low or 0, beginning), offset)
        return replace(start, offset=read_from), taken

    async def _published(
        self,
        reader: LogReader,
        state: PartitionState,
        left: Sequence[SnapshotRecord],
        before: Sequence[BundleSwitch],
        offset: int,
    ) -> list[PublishedAlarm]:
        """What the bundles before have said since the last snapshots that they left: a worker that was killed leaves no
        newer ones. Where they left none, since one of them began that had got beyond `offset`, the next one's: the
        others were perhaps killed before they had cleared anything. All, where snapshots were written late."""
        known = [snapshot.timestamp_ms for snapshot in left]
        got_on = next((each for each in reversed(before) if each.offset != offset), before[0] if before else None)
        began = None if got_on is None else state.written_ms(got_on)
        since = 0 if any(snapshot.late for snapshot in left) else max(known) if known else began
        if since is None:
            return []
        slack_ms = 1000 * (self._settings.outage_seconds + CLOCKS_SECONDS)
        alarms = await reader.alarms_since(since - int(slack_ms))
        return [alarm for record in alarms if (alarm := read_alarm(record)) is not None]

    async def _trusted_ends(
        self, reader: LogReader, partitions: set[int], committed: Mapping[int, tuple[int, str]]
    ) -> dict[int, tuple[int, int]]:
        deadline = self._clock() + TRUNCATION_PATIENCE_SECONDS
        while True:
            ends = await reader.ends(partitions)
            if all(offset <= ends[number][1] for number, (offset, _) in committed.items()) or self._clock() > deadline:
                return ends
            await self._sleep(LOOK_AGAIN_SECONDS)

    async def _choose(
        self,
        reader: LogReader,
        number: int,
        ends: tuple[int, int],
        committed: tuple[int, str] | None,
        in_memory: int | None,
    ) -> Start:
        beginning, end = ends
        offset, low = None, None
        if committed is not None:
            found = from_metadata(committed[1])
            offset, low = committed[0], found.low
            if in_memory is None and found.scored_by is not None:
                self._require_equal_rounding(number, found.scored_by, self._scored_by)
            if low is None and offset <= end:
                low = await reader.low_by_time(number, offset, beginning, self._rewind_seconds)
                log.warning("partition %d: offset %d was set by hand, rebuilding from %d", number, offset, low)
        start = choose_start(PartitionOffsets(beginning, end, offset, low, in_memory))
        if start.lost:
            log.error("partition %d: retention removed %d records before they were read", number, start.lost)
        elif low is not None and low < beginning and start.restore_snapshots:
            log.warning(
                "partition %d: retention removed records that windows are rebuilt from; they warm up anew", number
            )
        if offset is not None and offset > end:
            log.warning("partition %d: offset %d is beyond the end %d, the log is another one", number, offset, end)
        return start

    def _require_equal_rounding(self, number: int, before: ScoredBy, own: ScoredBy) -> None:
        if not own.rounds_otherwise(before):
            return
        what = (
            f"partition {number} was scored so far by a worker whose scores round otherwise (another processor, or "
            f"other versions of libraries; fingerprint {before.fingerprint}, here {own.fingerprint})"
        )
        if self._settings.mixed_processors == "refuse":
            raise MixedProcessorsError(
                f"{what}; run all workers of a group on the same, or set STREAM_DETECTOR_MIXED_PROCESSORS=accept to go "
                "on: an alarm that is told again may then differ in its last digits"
            )
        log.warning("%s; an alarm that is told again may differ in its last digits", what)


def _before(state: PartitionState, switch: BundleSwitch) -> list[BundleSwitch]:
    return [each for each in state.switches if each.term < switch.term]


def behind_the_record(start: Start, switch: BundleSwitch | None, beginning: int) -> Start:
    """Where offsets were set back across a switch in the log, what others have decided is read in silence.

    Where the change of a table's line is not finished, the windows of its bundle are read too.

    >>> switch = BundleSwitch(0, 90, "b", 60, by_record=True)
    >>> behind_the_record(Start(30, 40, 40, restore_snapshots=True), switch, 0)
    Start(offset=30, silent_until=90, committed=40, keep_state=False, restore_snapshots=True, lost=0)
    >>> behind_the_record(Start(100, 120, 120), switch, 0).silent_until
    120
    """
    if switch is None or not switch.by_record or start.silent_until >= switch.offset + switch.of_line:
        return start
    read_from = min(start.offset, max(switch.low or 0, beginning))
    return replace(start, offset=read_from, silent_until=switch.offset)
