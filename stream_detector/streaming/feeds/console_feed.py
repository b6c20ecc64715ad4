"""Feeds the operators' console: what the worker sees, and what the topics say.

Alarms, events and feedback come from their topics, so every console shows those of the whole plant and knows them
again after a restart. Assets and scores of the worker's own partitions come from its engine, and how the others stand
from the topic of assets, where each worker tells of its own. Where scores are published, the last day of them is read
back first.
"""

import asyncio
import ipaddress
import logging
import math
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

import numpy as np
from aiohttp import web
from aiokafka.errors import KafkaError
from numpy.typing import NDArray

from stream_detector.bundle.bundle_table import AnyManifest, manifest_for, manifests_of
from stream_detector.bundle.manifest import Manifest
from stream_detector.decoding.unknown_names import NONE_UNKNOWN, UnknownNames
from stream_detector.engine.outcome import AssetStatus, ScoredSteps
from stream_detector.errors import BrokerError, UsageError
from stream_detector.messages import (
    Alarm,
    AlarmStateChange,
    AssetGlance,
    Feedback,
    LoggedEvent,
    OperatingChange,
    Score,
    from_iso,
)
from stream_detector.operations.console.glances import Turns
from stream_detector.operations.console.guard import Guard, Proxy
from stream_detector.operations.console.history import History
from stream_detector.operations.console.server import add_console
from stream_detector.operations.console.tags import read_tags
from stream_detector.operations.console.views import (
    PlantView,
    RecordsState,
    Sample,
    SensorShare,
    UnknownView,
    WorkerView,
)
from stream_detector.operations.downtime.calendar_file import CalendarFile
from stream_detector.operations.ledger.scope import read_scope
from stream_detector.operations.record_guard import RecordGuard, asset_of, broker_seconds, read_message
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.asset_glances import GlancesProducer
from stream_detector.streaming.feeds.feedback import send_feedback
from stream_detector.streaming.readers.committed_log import wanted_by_us
from stream_detector.streaming.readers.topic_reader import TopicReader, TopicRecord
from stream_detector.streaming.state.group_facts import Silence
from stream_detector.version import version

log = logging.getLogger(__name__)

READ_BACK_HOURS = 24.0
READ_BACK_SECONDS = 20.0
"""Seconds that reading old scores may take; scores that were not reached by then are not shown."""

STARTING_SECONDS, STARTING_LOOK_SECONDS = 3.0, 0.05
"""So long the console's work waits for the worker to be ready, for it would take a tenth of a second of its start."""
RETRY_SECONDS = 2.0
MOST_TRIES = 5
ASK_SECONDS = 2.0
LOST_SECONDS = 8.0
"""So long may the brokers be silent until newer alarms are called unknown."""
TOP_SENSORS = 8
MOST_ADVICE = 5_000
MOST_STEPS = 300
"""Taken between two observations: a plant with more of them is shown by these, and costs the worker no more."""


class ConsoleFeed:
    """The console of one worker. `observe` and `scored` are called by its event loop, everything else by the server's.

    Args:
        why_not_ready: None = the worker is ready.
        guard: what becomes of a record that is no message of ours.
    """

    def __init__(
        self,
        settings: Settings,
        manifest: AnyManifest,
        why_not_ready: Callable[[], str | None],
        guard: RecordGuard | None = None,
    ) -> None:
        self._settings = settings
        self._guard = guard or RecordGuard()
        self._door = Guard(settings.metrics_host, None, proxy=_proxy(settings))
        self._why_not_ready = why_not_ready
        self._seen: dict[str, tuple[AssetStatus, Sample]] = {}
        self.use(manifest)
        self._started_at = time.time()
        self._version = version()
        self._read_back = not settings.publish_scores
        self._steps_left = MOST_STEPS
        self._records_read = False
        self._answered_at = -math.inf
        self.unknown: Callable[[], UnknownNames] = lambda: NONE_UNKNOWN
        """What was passed over since the start."""
        self.partitions: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """How many partitions are this worker's, and of how many."""
        self.fail: Callable[[Exception], None] = lambda error: log.error("%s", error)
        """Told, in the server's thread, what the console cannot do without."""
        self._others = True
        self._name = settings.instance or f"{settings.group}@{socket.gethostname()}"
        self.history = History(
            self._worker,
            self._send,
            ledger_days=settings.console_ledger_days,
            forget_seconds=settings.evict_after_seconds,
            planner=None if settings.calendar_file is None else CalendarFile(settings.calendar_file),
        )

    def use(self, manifest: AnyManifest) -> None:
        """From now on this bundle decides what is observed, or those of this table, each about its assets."""
        self._manifest = manifest
        self._places = {
            each.bundle_id: {sensor: place for place, sensor in enumerate(each.sensors)}
            for each in manifests_of(manifest)
        }
        self._seen = {}

    def _deciding(self, asset: str) -> Manifest:
        found = manifest_for(self._manifest, asset)
        assert found is not None  # an asset that nobody decides about is not observed
        return found

    def serve(self, app: web.Application) -> None:
        """Adds the pages, and the reading of the topics for as long as the application runs.

        Raises:
            UsageError: the token's file or the list of tags cannot be read.
        """
        settings = self._settings
        self.renew_token()
        tags = {} if settings.tags_file is None else read_tags(settings.tags_file)
        plant = PlantView(settings.site, settings.currency, tags)
        add_console(app, self.history, self._door, plant)
        app.cleanup_ctx.append(self._reading)

    def renew_token(self) -> None:
        """Take the token as its file has it now.

        Raises:
            UsageError: the file cannot be read.
        """
        self._door.token = self._settings.token_of_console()
        self._door.viewer_token = self._settings.token_of_viewers()

    def observe(self, assets: Sequence[AssetStatus], unheard: Sequence[Silence] = ()) -> None:
        """Takes the assets as they stand now, and those that whoever decides now has never heard; called once a second
        or so."""
        for _ in self.observing(assets, unheard, max(len(assets), 1)):
            pass

    def observing(self, assets: Sequence[AssetStatus], unheard: Sequence[Silence], at_once: int) -> Iterator[None]:
        """As `observe`, in slices of so many assets; others may work in between."""
        self._steps_left = MOST_STEPS
        if not self._read_back:
            return
        manifest, seen = self._manifest, {}
        for first in range(0, len(assets), at_once):
            # Of 10,000 assets few have a new step each second: what did not change is not made again.
            seen.update({status.asset: self._sample_again(status) for status in assets[first : first + at_once]})
            yield
            if self._manifest is not manifest:
                return  # another bundle decides now, and they stand as it says
        self._seen = seen
        silent = [self._sample_of_silence(silence) for silence in unheard]
        samples = [sample for _, sample in seen.values()] + [each for each in silent if each]
        yield from self.history.observing(samples, at_once)

    def scored(self, steps: Sequence[ScoredSteps]) -> None:
        """Takes the scored steps of one batch; of too many only the newest, up to the next observation."""
        for part in steps:
            self.history.heard(part.assets)
        if not self._read_back:
            return
        too_many = max(0, sum(map(len, steps)) - self._steps_left)
        for part in steps:
            first = min(too_many, len(part))
            too_many -= first
            self._steps_left -= len(part) - first
            for place in range(first, len(part)):
                self.history.remember(self._sample_of_step(part, place))

    def _worker(self) -> WorkerView:
        reason = self._why_not_ready()
        held, partitions = self.partitions()
        notice = None
        if reason is not None:
            notice = f"The detector is not ready: {reason}."
        elif not self._read_back:
            notice = "The last hours are being read back."
        return WorkerView(
            instance=self._name,
            version=self._version,
            started_at=self._started_at,
            bundle=self._manifest.bundle_id,
            recipe=self._manifest.recipe,
            ready=reason is None,
            notice=notice,
            records=self._records(),
            unknown=self._unknown(),
            partitions=held,
            all_partitions=partitions,
            others=self._others,
            expects_changes=tuple(
                each.bundle_id for each in manifests_of(self._manifest) if each.transform.kind == "differences"
            ),
        )

    def _unknown(self) -> UnknownView:
        seen = self.unknown()
        return UnknownView(seen.readings, seen.sensors, seen.assets)

    def _records(self) -> RecordsState:
        if not self._records_read:
            return "reading"
        return "live" if time.monotonic() - self._answered_at < LOST_SECONDS else "lost"

    async def _send(self, feedback: Feedback) -> None:
        await asyncio.to_thread(send_feedback, self._settings, feedback)

    def _sample_again(self, status: AssetStatus) -> tuple[AssetStatus, Sample]:
        known = self._seen.get(status.asset)
        return known if known is not None and known[0] == status else (status, self._sample(status))

    def _sample(self, status: AssetStatus) -> Sample:
        manifest = self._deciding(status.asset)
        if status.not_running or status.warming_up or math.isnan(status.scored_until):
            return self._sample_without_score(status)
        return Sample(
            asset=status.asset,
            time=status.scored_until,
            step_seconds=manifest.grid.step_seconds,
            score=None if math.isnan(status.score) else status.score,
            threshold=status.threshold,
            probability=None if math.isnan(status.probability) else status.probability,
            alarm=status.alarm_open,
            degraded=status.degraded,
            warming_up=False,
            bundle=manifest.bundle_id,
            top_sensors=tuple(
                SensorShare(sensor, share, _known(status.newest[place]), _known(status.expected[place]))
                for sensor, share in status.top_shares[:TOP_SENSORS]
                for place in (self._places[manifest.bundle_id][sensor],)
            ),
            sensors=manifest.sensors,
            values=status.newest,
            expected=status.expected,
            scale_steps=status.scale_steps,
            scale_steps_wanted=status.scale_steps_wanted,
        )

    def _sample_without_score(self, status: AssetStatus) -> Sample:
        """The machine stands, or its window fills: what was scored before says nothing of now."""
        manifest = self._deciding(status.asset)
        unscored = math.isnan(status.scored_until) and not status.not_running
        return Sample(
            asset=status.asset,
            time=status.watermark if unscored else status.closed_until,
            step_seconds=manifest.grid.step_seconds,
            score=None,
            threshold=status.threshold,
            probability=None,
            alarm=status.alarm_open,
            degraded=0,
            warming_up=status.warming_up,
            bundle=manifest.bundle_id,
            sensors=manifest.sensors,
            not_running=status.not_running,
            scale_steps=status.scale_steps,
            scale_steps_wanted=status.scale_steps_wanted,
        )

    def _sample_of_silence(self, silence: Silence) -> Sample | None:
        manifest = manifest_for(self._manifest, silence.asset)
        if manifest is None:
            return None  # of a partition that has not changed over yet
        return Sample(
            asset=silence.asset,
            time=silence.heard,
            step_seconds=manifest.grid.step_seconds,
            score=None,
            threshold=manifest.alarm_threshold_of(silence.asset),
            probability=None,
            alarm=False,
            degraded=0,
            warming_up=False,
            bundle=manifest.bundle_id,
            sensors=manifest.sensors,
            silent=True,
        )

    def _sample_of_step(self, steps: ScoredSteps, place: int) -> Sample:
        manifest, probability = self._deciding(steps.assets[place]), float(steps.probability[place])
        step_seconds = manifest.grid.step_seconds
        return Sample(
            asset=steps.assets[place],
            time=(int(steps.step[place]) + 1) * step_seconds,
            step_seconds=step_seconds,
            score=float(steps.score[place]),
            threshold=manifest.alarm_threshold_of(steps.assets[place]),
            probability=None if math.isnan(probability) else probability,
            alarm=bool(steps.above[place]),
            degraded=int(steps.degraded[place]),
            warming_up=False,
            bundle=manifest.bundle_id,
            sensors=manifest.sensors,
            values=_shown(steps.newest[place]),
            expected=_shown(steps.expected[place]),
        )

    def _sample_of_score(self, score: Score) -> Sample | None:
        manifest = manifest_for(self._manifest, score.asset)
        if manifest is None:
            return None  # of another worker, or before there was such a table
        step_seconds = manifest.grid.step_seconds
        return Sample(
            asset=score.asset,
            time=from_iso(score.time) + step_seconds,
            step_seconds=step_seconds,
            score=score.score,
            threshold=math.inf if score.threshold is None else score.threshold,
            probability=score.probability,
            alarm=score.alarm,
            degraded=score.degraded,
            warming_up=False,
            bundle=score.bundle,
            top_sensors=tuple(SensorShare(top.sensor, top.share, top.value, top.expected) for top in score.top_sensors),
            sensors=manifest.sensors,
        )

    # -- the topics --------------------------------------------------------------------------------------------------

    async def _reading(self, _app: web.Application) -> AsyncIterator[None]:
        work: list[Callable[[], Awaitable[None]]] = [self._follow_for_ever]
        if self._settings.role == "champion":
            # A challenger watches the same assets; of how they stand the champion tells.
            work.append(self._tell_others)
        if not self._read_back:
            work.append(self._read_scores_back)
        started = asyncio.create_task(self._let_the_worker_start())
        tasks = [asyncio.create_task(self._after(started, each)) for each in work]
        yield
        tasks.append(started)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)

    async def _let_the_worker_start(self) -> None:
        until = time.monotonic() + STARTING_SECONDS
        while self._why_not_ready() is not None and time.monotonic() < until:  # noqa: ASYNC110 - another thread's state
            await asyncio.sleep(STARTING_LOOK_SECONDS)
        try:
            # Before the first alarm is read, whose advice is asked for.
            self.history.advise = _advice()
        except UsageError as error:
            self.fail(error)

    async def _after(self, started: asyncio.Task[None], work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.shield(started)
        await work()

    async def _follow_for_ever(self) -> None:
        said = ""
        while True:
            try:
                await self._follow()
            except (BrokerError, KafkaError) as error:
                # Once, not with every try: the worker itself says when the broker is away.
                if str(error) != said:
                    said = str(error)
                    log.warning("the console cannot read its topics, and goes on trying: %s", said)
            except asyncio.CancelledError:
                if wanted_by_us():
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _tell_others(self) -> None:
        turns = Turns(self._name, time.time)
        await GlancesProducer(self._settings, turns, self.history.own, lambda: self._records() == "live").run()

    async def _follow(self) -> None:
        """From the beginning each time: what is known already changes nothing."""
        settings = self._settings
        said = [settings.topic_events, settings.topic_feedback, settings.topic_alarm_states]
        topics = [settings.topic_alarms, *said]
        optional = [settings.topic_challenger_alarms, settings.topic_assets, settings.topic_operating]
        for attempt in range(MOST_TRIES):
            async with TopicReader(settings, topics, optional=optional) as reader:
                # A worker creates its topics soon after its server has started.
                self._others = settings.topic_assets not in reader.absent
                if reader.missing and attempt < MOST_TRIES - 1:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                async for records in reader.to_end():
                    self.take(records)
                self._records_read, self._answered_at = True, time.monotonic()
                asked_at = -math.inf
                async for records in reader.follow():
                    self.take(records)
                    self._others = settings.topic_assets not in reader.absent
                    if time.monotonic() - asked_at > ASK_SECONDS:
                        asked_at = time.monotonic()
                        if await reader.answered():
                            self._answered_at = time.monotonic()

    async def _read_scores_back(self) -> None:
        since = time.time() - 3600.0 * READ_BACK_HOURS
        try:
            async with (
                asyncio.timeout(READ_BACK_SECONDS),
                TopicReader(self._settings, [self._settings.topic_scores], since) as reader,
            ):
                async for records in reader.to_end():
                    self._take_scores(records)
        except TimeoutError:
            log.info("the console read scores back for %g s and leaves the rest", READ_BACK_SECONDS)
        except (BrokerError, KafkaError) as error:
            log.warning("the console could not read scores back: %s", error)
        self.history.past_is_read()
        self._read_back = True

    def _take_scores(self, records: Iterable[TopicRecord]) -> None:
        for record in records:
            with self._guard.skipping(record):
                if record.value is None:
                    continue
                sample = self._sample_of_score(read_message(Score, record.value))
                if sample is not None:
                    self.history.read_back(sample)

    def take(self, records: Iterable[TopicRecord]) -> None:
        """Takes alarms, events and feedback. A record that is no such message changes nothing."""
        for record in records:
            if record.value is None:
                continue
            with self._guard.skipping(record):
                self._take(record)

    def _take(self, record: TopicRecord) -> None:
        if record.topic == self._settings.topic_alarms:
            self.history.observe_alarm(read_message(Alarm, record.value))
        elif record.topic == self._settings.topic_challenger_alarms:
            self.history.observe_challenger(read_message(Alarm, record.value), read_scope(record.headers))
        elif record.topic == self._settings.topic_assets:
            glance = read_message(AssetGlance, record.value)
            self.history.observe_glance(glance, broker_seconds(record.timestamp_ms, time.time()))
        elif record.topic == self._settings.topic_operating:
            self.history.observe_operating(read_message(OperatingChange, record.value))
        elif record.topic == self._settings.topic_alarm_states:
            self.history.observe_state(read_message(AlarmStateChange, record.value))
        elif record.topic == self._settings.topic_feedback:
            self.history.observe_feedback(read_message(Feedback, record.value, record.timestamp_ms))
        else:
            event = read_message(LoggedEvent, record.value)
            self.history.observe_event(asset_of(event.asset, record.key), event)


def _proxy(settings: Settings) -> Proxy | None:
    if not settings.console_proxy:
        return None
    names = frozenset(name.strip() for name in settings.console_operators.split(",") if name.strip())
    return Proxy(ipaddress.ip_network(settings.console_proxy), settings.console_user_header, names)


def _advice() -> Callable[[Alarm], str]:
    """The words in which notifications say what to do."""
    from stream_detector.operations.notify.forwarder_settings import ForwarderSettings  # noqa: PLC0415 - see below
    from stream_detector.operations.notify.notification import Writer  # noqa: PLC0415 - jinja2 is not light

    settings = ForwarderSettings.load()
    writer = Writer(settings.language, folder=settings.templates)
    known: dict[str, str] = {}

    def action(alarm: Alarm) -> str:
        if alarm.id not in known:
            if len(known) > MOST_ADVICE:
                known.clear()
            known[alarm.id] = writer.action(alarm)
        return known[alarm.id]

    return action


def _shown(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # a plant may send numbers beyond float32
        return values.astype(np.float32)


def _known(value: float | np.float32) -> float | None:
    return float(value) if math.isfinite(value) else None
