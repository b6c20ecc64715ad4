"""The books of challengers beside the champion's, and what the newest of them would have saved more or less.

Both books price the same events, and the difference is taken day by day before days are drawn: what a hard day costs
both of them says nothing about which is better.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from stream_detector.detection.block_bootstrap import Interval, holding_interval
from stream_detector.messages import Alarm, LoggedEvent, to_iso
from stream_detector.operations.ledger.ledger import AlarmEntry, EventEntry, Ledger, Standing
from stream_detector.operations.ledger.report import Entries, Tally, entries_of, grouped, tally, tally_json
from stream_detector.operations.ledger.scope import Scope

SECONDS_PER_DAY = 86_400.0


class Difference(Struct, frozen=True):
    """The challenger's saving less the champion's, over the same days.

    `saved` is in the plant's currency units, above 0 where the challenger is better; `saving` is its part of what the
    events would have cost without any alarm, with its paired 90 % interval over days. None where there is no event; its
    ends None where there are too few events or days for one.
    """

    saved: float
    saving: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Plain values."""
        return {"saved": self.saved, "saving": self.saving, "saving_low": self.low, "saving_high": self.high}


Compared = tuple[Tally, Tally, Difference]
"""Champion, challenger, and their difference."""


class Comparison(Struct, frozen=True):
    """Champion and challenger over the time in which both were there: `since` (epoch seconds) on.

    `bundle`: the challenger's, or its table of bundles. `entries`: the champion's and its own.
    """

    bundle: str
    since: float
    until: float | None
    champion: Tally
    challenger: Tally
    difference: Difference
    entries: tuple[Entries, Entries]

    def by_asset(self) -> dict[str, Compared]:
        """Asset by asset; computed anew at each call."""
        return self._each(lambda entry: entry.asset)

    def by_day(self) -> dict[str, Compared]:
        """Day by day; computed anew at each call."""
        return self._each(lambda entry: entry.day.isoformat())

    def _each(self, key: Callable[[EventEntry | AlarmEntry], str]) -> dict[str, Compared]:
        mine, other = (grouped(entries, key) for entries in self.entries)
        nothing: Entries = ([], [])
        return {name: _compared(mine.get(name, nothing), other.get(name, nothing)) for name in sorted({*mine, *other})}

    def to_json(self) -> dict[str, Any]:
        """Plain values; the tallies as in the ledger's own report."""
        return {
            "bundle": self.bundle,
            "since": to_iso(self.since),
            "until": None if self.until is None else to_iso(self.until),
            **_in_json(self.champion, self.challenger, self.difference),
            "per_asset": [{"asset": asset, **_in_json(*books)} for asset, books in self.by_asset().items()],
            "per_day": [{"day": day, **_in_json(*books)} for day, books in self.by_day().items()],
        }


class Challengers:
    """A book for each bundle that raised alarms as a challenger. `champion` knows the events of all of them."""

    def __init__(self, champion: Ledger) -> None:
        self._champion = champion
        self._books: dict[str, Ledger] = {}
        self._scopes: dict[str, tuple[str, Scope]] = {}
        """{bundle: (when its alarm was raised, what was decided about then)}, by the newest alarm that says it."""

    def add_alarm(self, alarm: Alarm, scope: Scope | None = None) -> None:
        """Takes a challenger's alarm; ValueError as `Ledger.add_alarm`.

        scope: what its group decides about, as the alarm's record says; None = it does not.
        """
        book = self._books.get(alarm.bundle) or self._champion.without_alarms()
        book.add_alarm(alarm)
        self._books[alarm.bundle] = book
        if scope is None:
            return
        known = self._scopes.get(alarm.bundle)
        if known is None or (alarm.raised_at, scope.detector) >= (known[0], known[1].detector):
            self._scopes[alarm.bundle] = alarm.raised_at, scope

    def add_event(self, asset: str, event: LoggedEvent) -> None:
        """Takes an event that the champion's ledger is given too."""
        for book in self._books.values():
            book.add_event(asset, event)

    def forget_account(self, asset: str) -> None:
        """Something that its entries depend on has changed: when its machine stood, which the champion knows."""
        for book in self._books.values():
            book.forget_account(asset)

    def leave_out_standing(self, standing: Standing) -> None:
        """As the ledger's."""
        for book in self._books.values():
            book.leave_out_standing(standing)

    def forget_before(self, time: float) -> None:
        """Drops what is older than `time` (epoch seconds), and books without an alarm since."""
        for bundle, book in list(self._books.items()):
            book.forget_before(time)
            if not _raised(book):
                del self._books[bundle]
                self._scopes.pop(bundle, None)

    def compare(
        self,
        since: float | None = None,
        until: float | None = None,
        asset: str | None = None,
        bundle: str | None = None,
        watched: Callable[[str], bool] | None = None,
    ) -> Comparison | None:
        """A challenger against the champion, about the assets that it decides about; None where it raised no alarm.

        One with a table of bundles has one book for all of them, each for its assets.

        Args:
            since: event time, epoch seconds. None: `both_decide_since`.
            until: event time, not included.
            asset: this one only.
            bundle: the challenger's. None: the one whose newest alarm is the newest.
            watched: assets that count, of those that it decides about; None = all.
        """
        if bundle is None:
            raised = {name: _raised(book) for name, book in self._books.items()}
            bundle = max(raised, key=lambda name: (max(raised[name]), name), default=None)
        if bundle is None or bundle not in self._books:
            return None
        scope = self._scopes[bundle][1] if bundle in self._scopes else None
        book = self._books[bundle] if scope is None else self._together(scope.bundles)
        if since is None:
            since = self._first_day(book)
        about = [each for each in (None if scope is None else scope.watches, watched) if each is not None]
        mine = _about(about, entries_of(self._champion, since, until, asset))
        other = _about(about, entries_of(book, since, until, asset))
        champion, challenger, difference = _compared(mine, other)
        return Comparison(
            bundle=bundle if scope is None else scope.detector,
            since=since,
            until=until,
            champion=champion,
            challenger=challenger,
            difference=difference,
            entries=(mine, other),
        )

    def both_decide_since(self, bundle: str) -> float | None:
        """The first midnight (UTC, epoch seconds) after this challenger and the champion have raised an alarm.

        Nothing else says since when both decide. None: the challenger raised none.
        """
        return self._first_day(self._books[bundle]) if bundle in self._books else None

    def _together(self, bundles: Iterable[str]) -> Ledger:
        books = [self._books[bundle] for bundle in bundles if bundle in self._books]
        if len(books) == 1:
            return books[0]
        found = self._champion.without_alarms()
        for alarm in (alarm for book in books for alarm in book.alarms()):
            found.add_alarm(alarm)
        return found

    def _first_day(self, book: Ledger) -> float:
        both = max(min(_raised(book)), min(_raised(self._champion), default=-math.inf))
        return (both // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY


def _about(about: Sequence[Callable[[str], bool]], entries: Entries) -> Entries:
    events, alarms = entries
    return [event for event in events if all(fits(event.asset) for fits in about)], [
        alarm for alarm in alarms if all(fits(alarm.asset) for fits in about)
    ]


def _raised(book: Ledger) -> list[float]:
    return [alarm.raised_at for asset in book.assets for alarm in book.account(asset).alarms]


def _compared(mine: Entries, other: Entries) -> Compared:
    never: dict[date, float] = defaultdict(float)
    for event in mine[0]:
        never[event.day] += event.never_cost
    saved = _saved_by_day(other)
    for day, amount in _saved_by_day(mine).items():
        saved[day] -= amount
    total, days = math.fsum(never.values()), sorted(saved)
    interval = Interval(None, None)
    if total > 0:
        quiet = (days[-1] - days[0]).days + 1 - len(days)
        interval = holding_interval(
            [never[day] - saved[day] for day in days],
            [never[day] for day in days],
            events=len(mine[0]),
            caught=sum(event.caught_by is not None for event in (*mine[0], *other[0])),
            quiet_days=quiet,
        )
    money = math.fsum(saved.values())
    difference = Difference(money, money / total if total > 0 else None, interval.low, interval.high)
    return tally(*mine), tally(*other), difference


def _saved_by_day(entries: Entries) -> dict[date, float]:
    saved: dict[date, float] = defaultdict(float)
    for event in entries[0]:
        saved[event.day] += event.never_cost - event.cost
    for alarm in entries[1]:
        saved[alarm.day] -= alarm.cost
    return saved


def _in_json(champion: Tally, challenger: Tally, difference: Difference) -> dict[str, Any]:
    return {
        "champion": tally_json(champion),
        "challenger": tally_json(challenger),
        "difference": difference.to_json(),
    }
