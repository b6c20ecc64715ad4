"""A ledger that stays small: the newest alarms in detail, older ones added up, the totals as if it held them all.

An alarm's entry is final once every event of its lead window is known. So the oldest alarms are *folded*: their entries
are added to exact sums by asset, bundle and day, and of each event is remembered which folded alarm caught it and which
one was in service. People log few events; these are all kept.

What comes too late for that (an event, a correction or a judgement about a folded alarm) leaves the sums as they are
and sets `outdated`: whoever feeds the ledger then fills a new one, events and judgements first.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from stream_detector.messages import Alarm, Feedback, LoggedEvent, from_iso, to_epoch_seconds
from stream_detector.operations.ledger.ledger import AlarmSum, History, Ledger, Raised, in_order

MOST_ALARMS = 2_000
"""About 3 kB each."""


@dataclass(slots=True)
class _Folded:
    """What is left of the folded alarms of one asset."""

    sums: dict[tuple[str, date], AlarmSum] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)
    """By bundle: when its newest folded alarm was raised (epoch seconds)."""
    reach: float = -math.inf
    """Events up to here may concern a folded alarm."""
    landmarks: list[Raised] = field(default_factory=list)
    """The first alarm, the newest folded one, and those that were in service when an event happened."""
    catchers: dict[float, Raised] = field(default_factory=dict)
    """By the time of an event: the folded alarm that caught it."""
    forgotten: dict[str, tuple[AlarmSum, bool]] = field(default_factory=dict)
    """By id: alarms that were folded while up, and whether they were useful."""


class BoundedLedger(Ledger):
    """A `Ledger` of all events whose memory does not grow with the alarms.

    The alarms of one asset and bundle must come in order of time, as their topic holds them; repeats are recognised.

    Args:
        most_alarms: so many of all assets are kept in detail, and up to as many more until the next folding.
    """

    def __init__(self, most_alarms: int = MOST_ALARMS) -> None:
        super().__init__()
        self.outdated = False
        """Something came too late to be counted right."""
        self._most_alarms = most_alarms
        self.detailed = 0
        """Alarms that have an entry of their own now."""
        self._folded: dict[str, _Folded] = {}

    @property
    def assets(self) -> list[str]:
        return sorted({*super().assets, *self._folded})

    def sums(self, asset: str) -> Collection[AlarmSum]:
        return self._folded[asset].sums.values() if asset in self._folded else ()

    def add_alarm(self, alarm: Alarm) -> None:
        folded = self._folded.get(alarm.asset)
        if folded is not None and from_iso(alarm.raised_at) <= folded.until.get(alarm.bundle, -math.inf):
            if alarm.state == "cleared" and alarm.id in folded.forgotten:
                part, useful = folded.forgotten.pop(alarm.id)
                part.open_alarms -= 1
                part.false_alarms += not useful
            return
        known = len(self._alarms[alarm.asset])
        super().add_alarm(alarm)
        self.detailed += len(self._alarms[alarm.asset]) - known
        if self.detailed > 2 * self._most_alarms:
            self._fold()

    def add_event(self, asset: str, event: LoggedEvent) -> tuple[LoggedEvent, ...]:
        changed = super().add_event(asset, event)
        folded = self._folded.get(event.asset or asset)
        if folded is not None and any(to_epoch_seconds(version.time) <= folded.reach for version in changed):
            self.outdated = True
        return changed

    def add_feedback(self, feedback: Feedback) -> bool:
        news = super().add_feedback(feedback)
        if news and feedback.asset in self._folded and feedback.alarm not in self._alarms[feedback.asset]:
            self.outdated = True
        return news

    def forget_before(self, time: float) -> None:
        raise NotImplementedError("what was added up cannot be taken apart")

    def _history(self, asset: str) -> History:
        folded = self._folded.get(asset)
        return History(self._alarms[asset].values(), () if folded is None else folded.landmarks)

    def _catchers(self, asset: str) -> Mapping[float, Raised]:
        return self._folded[asset].catchers if asset in self._folded else {}

    def _fold(self) -> None:
        """Fold all but the newest. The last alarm of an asset stays while it is up."""
        ordered = sorted((raised for alarms in self._alarms.values() for raised in alarms.values()), key=in_order)
        old: dict[str, list[Raised]] = defaultdict(list)
        for raised in ordered[: -self._most_alarms]:
            old[raised.alarm.asset].append(raised)
        for asset, alarms in old.items():
            last = max(self._alarms[asset].values(), key=in_order)
            folding = [raised for raised in alarms if raised is not last or raised.alarm.state == "cleared"]
            if folding:
                self._fold_asset(asset, folding)

    def _fold_asset(self, asset: str, folding: Sequence[Raised]) -> None:
        account, history = self.account(asset), self._history(asset)
        folded = self._folded.setdefault(asset, _Folded())
        going = {raised.alarm.id: raised for raised in folding}
        for event in account.events:
            if event.caught_by in going:
                folded.catchers[event.time] = going[event.caught_by]
        in_service = [history.in_service(event.time) for event in account.events]
        wanted = {raised.alarm.id for raised in (history.in_service(-math.inf), *in_service) if raised is not None}
        gone = sorted([*folded.landmarks, *folding], key=in_order)
        folded.landmarks = [raised for raised in gone if raised.alarm.id in wanted or raised is gone[-1]]
        for entry in account.alarms:
            raised = going.get(entry.id)
            if raised is None:
                continue
            part = folded.sums.setdefault((entry.bundle, entry.day), AlarmSum(asset, entry.bundle, entry.day))
            part.add(entry)
            if entry.open:
                folded.forgotten[entry.id] = (part, entry.useful)
            folded.until[entry.bundle] = max(folded.until.get(entry.bundle, -math.inf), entry.raised_at)
            folded.reach = max(folded.reach, raised.reach)
            del self._alarms[asset][entry.id]
        self.detailed -= len(folding)
        self._accounts.pop(asset, None)
