"""Everything the console knows, kept in memory within bounds and rebuilt from the topics after a restart."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import asdict

from stream_detector.messages import (
    Alarm,
    AlarmStateChange,
    AssetGlance,
    Feedback,
    LoggedEvent,
    OperatingChange,
    from_iso,
    to_epoch_seconds,
)
from stream_detector.operations.alarms.precedents import Precedent, outcomes_of, precedents
from stream_detector.operations.alarms.priority import priority_of
from stream_detector.operations.console.answers import Answers, SetAside
from stream_detector.operations.console.assets import Asset, Assets
from stream_detector.operations.console.glances import Held
from stream_detector.operations.console.views import (
    AlarmView,
    AssetView,
    LedgerView,
    OpenCounts,
    Sample,
    Series,
    WorkerView,
)
from stream_detector.operations.downtime.planned import Planner
from stream_detector.operations.ledger.challenger import Challengers, Comparison
from stream_detector.operations.ledger.ledger import AlarmEntry, Ledger
from stream_detector.operations.ledger.report import Tally, report
from stream_detector.operations.ledger.scope import Scope

MAX_ASSETS = 20_000
MOST_PICTURES = 120
"""Of a plant with more assets only those that are not normal come with their newest points."""
FORGET_ASSETS_SECONDS = 604_800.0
MAX_CELLS = 1_800_000
"""Values kept of all sensors of all assets together, 8 bytes each; assets beyond it have a score but no traces."""
MAX_ALARMS = 1_000
LEDGER_ALARMS = 8_000
"""About 3 kB each; up to a quarter more between two cuts."""
FORGET_EVERY_SECONDS = 3_600.0
SECONDS_PER_DAY = 86_400.0
MAX_EVENTS = 200
SPARK_POINTS = 48
TRACES = 6

SendFeedback = Callable[[Feedback], Awaitable[None]]


class History:
    """A `ConsoleSource`. Observing and reading may happen in different threads.

    Args:
        worker: gives the figures of the detector itself.
        send: writes feedback to its topic.
        clock: wall clock in epoch seconds.
        max_assets: assets beyond this many are not shown.
        max_cells: bound of the memory for traces.
        ledger_days: how far back the ledger reaches (event time).
        forget_seconds: an asset of another worker that was silent for longer is not shown any more.
        planner: knows when assets are down by plan; None: there is no calendar.
    """

    def __init__(
        self,
        worker: Callable[[], WorkerView],
        send: SendFeedback,
        clock: Callable[[], float] = time.time,
        max_assets: int = MAX_ASSETS,
        max_cells: int = MAX_CELLS,
        ledger_days: float = 365.0,
        forget_seconds: float = FORGET_ASSETS_SECONDS,
        planner: Planner | None = None,
    ) -> None:
        self._worker = worker
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._version = 1
        self._records_version = 1
        self._assets = Assets(self._bump, clock, max_assets, max_cells, forget_seconds)
        self._alarms: dict[str, Alarm] = {}
        self._events: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MAX_EVENTS))
        self._answers = Answers(clock, planner)
        self._ledger_seconds = ledger_days * SECONDS_PER_DAY
        self._ledger = Ledger(planner=planner)
        self._challengers = Challengers(self._ledger)
        self._forget_at = 0.0
        self._alarms_added = 0
        self.advise: Callable[[Alarm], str] = lambda _alarm: ""
        """What to do about an alarm."""
        self._ledger_view: tuple[int, LedgerView] | None = None

    # -- observing ---------------------------------------------------------------------------------------------------

    def remember(self, sample: Sample) -> None:
        """Takes a step between two observations."""
        with self._lock:
            self._assets.remember(sample)

    def read_back(self, sample: Sample) -> None:
        """Takes a step of the past from its topic; all of them are shown after `past_is_read`."""
        with self._lock:
            self._assets.read_back(sample)

    def past_is_read(self) -> None:
        """Nothing of the past will come any more."""
        with self._lock:
            self._assets.past_is_read()

    def heard(self, assets: Iterable[str]) -> None:
        """Note that new data of these assets has come now; what is read back after a restart is not new."""
        with self._lock:
            self._assets.heard(assets)

    def observe(self, samples: Sequence[Sample]) -> None:
        """Takes the newest step of every asset of this worker; the same step again changes nothing."""
        for _ in self.observing(samples, max(len(samples), 1)):
            pass

    def observing(self, samples: Sequence[Sample], at_once: int) -> Iterator[None]:
        """As `observe`, in slices of so many assets; others may work in between."""
        with self._lock:
            self._assets.own_are({sample.asset for sample in samples})
        for first in range(0, len(samples), at_once):
            with self._lock:
                self._assets.observe(samples[first : first + at_once])
            yield
        with self._lock:
            self._assets.forget()
            if self._answers.some_shelving_ended():
                self._bump_records()

    def observe_glance(self, glance: AssetGlance, told_at: float) -> None:
        """Takes what another worker says of an asset. `told_at`: epoch seconds, by the broker's clock."""
        with self._lock:
            self._assets.take(glance, told_at)

    def own(self) -> list[Held]:
        """The assets of this worker as they stand, to be told to the others."""
        with self._lock:
            return self._assets.own()

    def observe_alarm(self, alarm: Alarm) -> None:
        """Takes an alarm, raised or cleared."""
        with self._lock:
            known = self._alarms.get(alarm.id)
            self._ledger.add_alarm(alarm)
            self._alarms_added += 1
            self._forget()
            # The ledger counts what is held back; people see nothing of it.
            if not alarm.held_back and (known is None or known.state == "raised"):
                self._alarms[alarm.id] = alarm
                self._bump_records()
            if len(self._alarms) > 2 * MAX_ALARMS:
                newest = sorted(self._alarms.values(), key=_alarm_order)[:MAX_ALARMS]
                self._alarms = {alarm.id: alarm for alarm in newest}

    def observe_challenger(self, alarm: Alarm, scope: Scope | None = None) -> None:
        """Takes an alarm of a challenger: it is entered in its book, and shown to nobody."""
        with self._lock:
            self._challengers.add_alarm(alarm, scope)
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

    def observe_operating(self, change: OperatingChange) -> None:
        """Takes when a machine begins or ceases to run: the ledger judges nobody while it stands."""
        with self._lock:
            self._ledger.add_operating(change)
            self._challengers.forget_account(change.asset)
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
        self._assets.touch(asset, self._bump_records())

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
            return None if self._assets.names_version <= since_version else self._assets.names()

    def worker(self) -> WorkerView:
        return self._worker()

    def assets(self, since_version: int = 0) -> Sequence[AssetView]:
        with self._lock:
            found = self._assets.changed(since_version)
            few = len(self._assets) <= MOST_PICTURES
            return [self._view(known, picture=few or _state(known.sample) not in CALM) for known in found]

    def asset(self, name: str) -> AssetView | None:
        with self._lock:
            known = self._assets.get(name)
            return None if known is None else self._view(known, picture=True)

    def _view(self, known: Asset, *, picture: bool) -> AssetView:
        sample = known.sample
        aside = self._answers.set_aside(sample.asset)
        # While windows fill, or the machine stands, there is no score; the last one is of another time.
        scored = not sample.warming_up and not sample.not_running
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
            sensors=known.sensors,
            bundle=sample.bundle,
            top_sensors=sample.top_sensors if picture else (),
            recent=known.ring.recent_ratios(SPARK_POINTS) if picture else (),
            shelved_until=aside.until if aside is not None and aside.state != "out-of-service" else None,
            out_of_service=aside.why if aside is not None and aside.state == "out-of-service" else None,
            worker=known.worker,
            again_within=known.again_within,
            scale_steps=sample.scale_steps,
            scale_steps_wanted=sample.scale_steps_wanted,
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
            chosen = sorted(self._alarms.values(), key=self._urgency)[:limit]
            entries: dict[str, AlarmEntry] = {
                entry.id: entry
                for asset in {alarm.asset for alarm in chosen}
                for entry in self._ledger.account(asset).alarms
            }
            return [self._alarm_view(alarm, entries.get(alarm.id)) for alarm in chosen]

    def _urgency(self, alarm: Alarm) -> tuple[bool, bool, bool, float, str]:
        """Open ones that nobody has answered come first: of too many they are what is shown."""
        up = alarm.state == "raised"
        aside = up and self._answers.set_aside(alarm.asset) is not None
        answered = up and self._answers.acknowledgement(alarm) is not None
        return not up, aside, answered, -from_iso(alarm.raised_at), alarm.id

    def open_counts(self) -> OpenCounts:
        with self._lock:
            up = [alarm for alarm in self._alarms.values() if alarm.state == "raised"]
            told = [alarm for alarm in up if self._answers.set_aside(alarm.asset) is None]
            unanswered = sum(self._answers.acknowledgement(alarm) is None for alarm in told)
            return OpenCounts(len(told), unanswered, len(up) - len(told))

    def _alarm_view(self, alarm: Alarm, entry: AlarmEntry | None) -> AlarmView:
        acknowledged = self._answers.acknowledgement(alarm)
        return AlarmView(
            alarm=alarm,
            acknowledged_by=None if acknowledged is None else acknowledged.who,
            acknowledged_at=None if acknowledged is None else acknowledged.at,
            judgement=self._answers.judgement(alarm.id),
            acted_at=self._answers.acted(alarm.id),
            priority=priority_of(alarm),
            action=self.advise(alarm) if alarm.state == "raised" else "",
            outcome="caught" if entry and entry.useful else "open" if alarm.state == "raised" else "none followed",
        )

    def precedents(self, alarm_id: str) -> Sequence[Precedent]:
        with self._lock:
            alarm = self._alarms.get(alarm_id)
            if alarm is None:
                return []
            assets = {known.asset for known in self._alarms.values()}
            return precedents(alarm, self._alarms.values(), outcomes_of(map(self._ledger.account, assets)))

    def has_alarm(self, asset: str, alarm_id: str) -> bool:
        with self._lock:
            known = self._alarms.get(alarm_id)
            return known is not None and known.asset == asset

    def set_aside(self) -> Sequence[SetAside]:
        with self._lock:
            return self._answers.all_set_aside(self._assets.names())

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


CALM = ("normal", "provisional", "not-running")
"""States in which nobody has to look."""


def _state(sample: Sample) -> str:
    if sample.alarm:
        return "alarm"
    if sample.silent:
        return "silent"
    if sample.not_running:
        return "not-running"
    if sample.warming_up or sample.score is None:
        return "warming-up"
    if sample.degraded:
        return "degraded"
    return "provisional" if sample.scale_steps_wanted else "normal"


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
