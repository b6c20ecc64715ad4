"""Everything the console knows, kept in memory within bounds and rebuilt from the topics after a restart."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from stream_detector.messages import Alarm, AlarmStateChange, Feedback, LoggedEvent, from_iso, to_epoch_seconds
from stream_detector.operations.console.answers import Answers, SetAside
from stream_detector.operations.console.rings import POINTS, AssetRing
from stream_detector.operations.console.views import (
    AlarmView,
    AssetView,
    LedgerView,
    Sample,
    Series,
    WorkerView,
)
from stream_detector.operations.ledger.challenger import Challengers, Comparison
from stream_detector.operations.ledger.ledger import AlarmEntry, Ledger
from stream_detector.operations.ledger.report import Tally, report

MAX_ASSETS = 500
MAX_CELLS = 1_800_000
"""Values kept of all sensors of all assets together, 8 bytes each; assets beyond it have a score but no traces."""
MAX_ALARMS = 1_000
LEDGER_ALARMS = 8_000
"""About 3 kB each; up to a quarter more between two cuts."""
FORGET_EVERY_SECONDS = 3_600.0
SECONDS_PER_DAY = 86_400.0
MAX_EVENTS = 200
SPARK_POINTS = 48
MIN_POINTS = 60
TRACES = 6

SendFeedback = Callable[[Feedback], Awaitable[None]]


class _Asset:
    """One asset as the console keeps it."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.received_at = 0.0
        self.columns = _columns(sample)
        self.ring = AssetRing((), sample.step_seconds)
        self.version = 0


class History:
    """A `ConsoleSource`. Observing and reading may happen in different threads.

    Args:
        worker: gives the figures of the detector itself.
        send: writes feedback to its topic.
        clock: wall clock in epoch seconds.
        max_assets: assets beyond this many are not shown.
        max_cells: bound of the memory for traces.
        ledger_days: how far back the ledger reaches (event time).
    """

    def __init__(
        self,
        worker: Callable[[], WorkerView],
        send: SendFeedback,
        clock: Callable[[], float] = time.time,
        max_assets: int = MAX_ASSETS,
        max_cells: int = MAX_CELLS,
        ledger_days: float = 365.0,
    ) -> None:
        self._worker = worker
        self._send = send
        self._clock = clock
        self._max_assets = max_assets
        self._max_cells = max_cells
        self._past: dict[str, AssetRing] = {}
        self._names_version = 1
        self._lock = threading.Lock()
        self._version = 1
        self._records_version = 1
        self._assets: dict[str, _Asset] = {}
        self._alarms: dict[str, Alarm] = {}
        self._events: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MAX_EVENTS))
        self._answers = Answers(clock)
        self._heard: dict[str, float] = {}
        self._ledger_seconds = ledger_days * SECONDS_PER_DAY
        self._ledger = Ledger()
        self._challengers = Challengers(self._ledger)
        self._forget_at = 0.0
        self._alarms_added = 0
        self._ledger_view: tuple[int, LedgerView] | None = None

    # -- observing ---------------------------------------------------------------------------------------------------

    def remember(self, sample: Sample) -> None:
        """Takes a step between two observations, or one of the past that was read back from its topic."""
        with self._lock:
            known = self._assets.get(sample.asset)
            if known is not None:
                known.ring.add(sample)
                return
            ring = self._past.get(sample.asset)
            if ring is None:
                if len(self._past) >= self._max_assets:
                    return
                ring = self._past[sample.asset] = self._new_ring(_columns(sample), sample.step_seconds)
            ring.add(sample)

    def heard(self, assets: Iterable[str]) -> None:
        """Note that new data of these assets has come now; what is read back after a restart is not new."""
        with self._lock:
            self._heard.update(dict.fromkeys(assets, self._clock()))

    def observe(self, samples: Sequence[Sample]) -> None:
        """Takes the newest step of every asset; the same step again changes nothing, assets left out are gone."""
        with self._lock:
            now = self._clock()
            names = {sample.asset for sample in samples[: self._max_assets]}
            self._heard = {name: at for name, at in self._heard.items() if name in names}
            for name in set(self._assets) - names:
                del self._assets[name]
                self._names_version = self._bump()
            for sample in samples[: self._max_assets]:
                self._observe(sample, now)

    def _observe(self, sample: Sample, now: float) -> None:
        known = self._assets.get(sample.asset)
        if known is None:
            known = self._assets[sample.asset] = _Asset(sample)
            self._names_version = self._bump()
            # Of an asset that came with a restart or a rebalance only the plant's own time says how old its data is.
            known.received_at = self._heard.get(sample.asset, min(now, sample.time))
            past = self._past.pop(sample.asset, None)
            fits = past is not None and past.step_seconds == sample.step_seconds
            known.ring = past if past is not None and fits else self._new_ring(known.columns, sample.step_seconds)
        elif sample.time < known.sample.time or sample == known.sample:
            return
        columns = _columns(sample, known.columns)
        if columns != known.columns or sample.step_seconds != known.ring.step_seconds:
            known.columns = columns
            known.ring = self._new_ring(columns, sample.step_seconds)
        if sample.time > known.sample.time:
            known.received_at = now
        known.sample = sample
        known.ring.add(sample)
        known.version = self._bump()

    def _new_ring(self, columns: Sequence[str], step_seconds: float) -> AssetRing:
        rings = [*(known.ring for known in self._assets.values()), *self._past.values()]
        left = self._max_cells - sum(ring.cells for ring in rings)
        points = min(POINTS, left // max(1, len(columns)))
        return AssetRing(columns, step_seconds, points) if points >= MIN_POINTS else AssetRing((), step_seconds)

    def observe_alarm(self, alarm: Alarm) -> None:
        """Takes an alarm, raised or cleared."""
        with self._lock:
            known = self._alarms.get(alarm.id)
            self._ledger.add_alarm(alarm)
            self._alarms_added += 1
            self._forget()
            if known is None or known.state == "raised":
                self._alarms[alarm.id] = alarm
                self._bump_records()
            if len(self._alarms) > 2 * MAX_ALARMS:
                newest = sorted(self._alarms.values(), key=_alarm_order)[:MAX_ALARMS]
                self._alarms = {alarm.id: alarm for alarm in newest}

    def observe_challenger(self, alarm: Alarm) -> None:
        """Takes an alarm of a challenger: it is entered in its book, and shown to nobody."""
        with self._lock:
            self._challengers.add_alarm(alarm)
            self._bump_records()

    def _forget(self) -> None:
        """The ledger covers `ledger_days`, and of a plant that raises very many alarms the newest `LEDGER_ALARMS`."""
        now = self._clock()
        if self._alarms_added > LEDGER_ALARMS // 4:
            self._alarms_added = 0
            self._ledger.keep_newest(LEDGER_ALARMS)
        elif now < self._forget_at:
            return
        self._forget_at = now + FORGET_EVERY_SECONDS
        self._ledger.forget_before(self._ledger_begin())
        self._challengers.forget_before(self._ledger_begin())

    def _ledger_begin(self) -> float:
        """A replay of old data is as good as now; an event in the far future is not."""
        return min(self._ledger.newest, self._clock()) - self._ledger_seconds

    def observe_event(self, asset: str, event: LoggedEvent) -> None:
        """Takes an event that people logged."""
        with self._lock:
            self._ledger.add_event(asset, event)
            self._challengers.add_event(asset, event)
            if not event.retracted:
                self._events[event.asset or asset].append(to_epoch_seconds(event.time))
            self._bump_records()

    def observe_feedback(self, feedback: Feedback) -> None:
        """Takes what a person said, from this page or any other."""
        with self._lock:
            self._ledger.add_feedback(feedback)
            self._answers.take_feedback(feedback)
            self._touch(feedback.asset)

    def observe_state(self, change: AlarmStateChange) -> None:
        """Takes a change of state, as the forwarder writes it."""
        with self._lock:
            self._answers.take_state(change)
            self._touch(change.asset)

    def _touch(self, asset: str) -> None:
        version = self._bump_records()
        if asset in self._assets:
            self._assets[asset].version = version

    def _bump(self) -> int:
        self._version += 1
        return self._version

    def _bump_records(self) -> int:
        self._records_version = self._bump()
        return self._version

    # -- reading -----------------------------------------------------------------------------------------------------

    def version(self) -> int:
        with self._lock:
            return self._version

    def records_version(self) -> int:
        with self._lock:
            return self._records_version

    def names(self, since_version: int = 0) -> Sequence[str] | None:
        with self._lock:
            return None if self._names_version <= since_version else sorted(self._assets)

    def worker(self) -> WorkerView:
        return self._worker()

    def assets(self, since_version: int = 0) -> Sequence[AssetView]:
        with self._lock:
            return [self._view(known) for _, known in sorted(self._assets.items()) if known.version > since_version]

    def _view(self, known: _Asset) -> AssetView:
        sample = known.sample
        aside = self._answers.set_aside(sample.asset)
        # While windows fill there is no score; the last one is of another time.
        scored = not sample.warming_up
        return AssetView(
            asset=sample.asset,
            state=_state(sample),
            time=sample.time,
            received_at=known.received_at,
            step_seconds=sample.step_seconds,
            ratio=sample.ratio if scored else None,
            score=sample.score if scored else None,
            threshold=sample.threshold,
            probability=sample.probability if scored else None,
            degraded=sample.degraded,
            sensors=len(known.columns),
            bundle=sample.bundle,
            top_sensors=sample.top_sensors,
            recent=known.ring.recent_ratios(SPARK_POINTS),
            shelved_until=aside.until if aside is not None and aside.state == "shelved" else None,
            out_of_service=aside.why if aside is not None and aside.state == "out-of-service" else None,
        )

    def series(self, asset: str, since: float, until: float | None, sensors: Sequence[str]) -> Series | None:
        with self._lock:
            known = self._assets.get(asset)
            if known is None:
                return None
            shares = {top.sensor: top.share for top in known.sample.top_sensors}
            wanted = list(sensors) or list(shares)[:TRACES]
            return known.ring.series(
                asset, since, until, [(name, shares.get(name, 0.0)) for name in wanted], list(self._events[asset])
            )

    def alarms(self, limit: int = 200) -> Sequence[AlarmView]:
        with self._lock:
            chosen = sorted(self._alarms.values(), key=_alarm_order)[:limit]
            entries: dict[str, AlarmEntry] = {
                entry.id: entry
                for asset in {alarm.asset for alarm in chosen}
                for entry in self._ledger.account(asset).alarms
            }
            return [self._alarm_view(alarm, entries.get(alarm.id)) for alarm in chosen]

    def _alarm_view(self, alarm: Alarm, entry: AlarmEntry | None) -> AlarmView:
        acknowledged = self._answers.acknowledgement(alarm)
        return AlarmView(
            alarm=alarm,
            acknowledged_by=None if acknowledged is None else acknowledged.who,
            acknowledged_at=None if acknowledged is None else acknowledged.at,
            judgement=self._answers.judgement(alarm.id),
            outcome="caught" if entry and entry.useful else "open" if alarm.state == "raised" else "none followed",
        )

    def has_alarm(self, asset: str, alarm_id: str) -> bool:
        with self._lock:
            known = self._alarms.get(alarm_id)
            return known is not None and known.asset == asset

    def set_aside(self) -> Sequence[SetAside]:
        with self._lock:
            return self._answers.all_set_aside()

    def ledger(self) -> LedgerView:
        with self._lock:
            if self._ledger_view is not None and self._ledger_view[0] == self._records_version:
                return self._ledger_view[1]
            found = report(self._ledger, self._ledger_begin())
            newest = sorted(found.events, key=lambda event: event.time, reverse=True)[:MAX_EVENTS]
            compared = self._challengers.compare()
            counted = [event.time for event in found.events] + [alarm.raised_at for alarm in found.alarms]
            view = LedgerView(
                since=min(counted, default=None),
                total=_tally(found.total),
                challenger=None if compared is None else _comparison(compared),
                by_asset=[{"asset": asset, **_tally(tally)} for asset, tally in found.by_asset.items()],
                events=[
                    {
                        "asset": event.asset,
                        "time": event.time,
                        "event": event.event,
                        "caught": event.caught_by is not None,
                        "lead_seconds": event.lead_seconds,
                        "state": event.until is not None,
                    }
                    for event in newest
                ],
            )
            self._ledger_view = (self._records_version, view)
            return view

    async def send(self, feedback: Feedback) -> None:
        await self._send(feedback)
        self.observe_feedback(feedback)


def _state(sample: Sample) -> str:
    if sample.alarm:
        return "alarm"
    if sample.warming_up or sample.score is None:
        return "warming-up"
    return "degraded" if sample.degraded else "normal"


def _columns(sample: Sample, known: Sequence[str] = ()) -> tuple[str, ...]:
    """All sensors where the sample names them, otherwise those it happens to speak of."""
    if sample.sensors:
        return sample.sensors
    return tuple(known) or tuple(top.sensor for top in sample.top_sensors)


def _alarm_order(alarm: Alarm) -> tuple[bool, float, str]:
    return alarm.state != "raised", -from_iso(alarm.raised_at), alarm.id


def _comparison(compared: Comparison) -> dict[str, Any]:
    return {
        "bundle": compared.bundle,
        "since": compared.since,
        "champion": _tally(compared.champion),
        "challenger": _tally(compared.challenger),
        "difference": asdict(compared.difference),
    }


def _tally(tally: Tally) -> dict[str, Any]:
    found = asdict(tally)
    leads, delays = found.pop("lead_minutes"), found.pop("delay_minutes")
    return {
        **found,
        "median_lead_minutes": leads[len(leads) // 2] if leads else None,
        "median_delay_minutes": delays[len(delays) // 2] if delays else None,
    }
