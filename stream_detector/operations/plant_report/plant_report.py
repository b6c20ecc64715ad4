"""What the plant's manager wants to know of some days: a collection of facts from the topics, and what follows.

Pure: it is given what was read, and says nothing that the ledger does not say.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from stream_detector.detection.block_bootstrap import why_no_interval
from stream_detector.messages import Alarm, RenewalDecision, from_iso, to_iso
from stream_detector.operations.ledger.challenger import Comparison
from stream_detector.operations.ledger.ledger import EventEntry
from stream_detector.operations.ledger.report import LedgerReport

MOST_SENSORS = 10
MOST_EVENTS = 50
STALE_DAYS = 30.0
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor that spoke in alarms: in how many it was named, and its mean part in those (0 to 1)."""

    name: str
    alarms: int
    share: float


@dataclass(frozen=True, slots=True)
class Miss:
    """An event that no alarm announced, and what is known of why."""

    event: EventEntry
    why: str


@dataclass(frozen=True, slots=True)
class PlantReport:
    """One report. Times are epoch seconds; `trained_until` None where the bundle is not known."""

    site: str
    since: float
    until: float
    ledger: LedgerReport
    comparison: Comparison | None
    sensors: Sequence[Sensor]
    misses: Sequence[Miss]
    decisions: Sequence[RenewalDecision]
    bundle: str | None
    trained_until: float | None
    advice: Sequence[str]

    @property
    def median_lead(self) -> float | None:
        """Minutes."""
        leads = self.ledger.total.lead_minutes
        return median(leads) if leads else None


def plant_report(
    site: str,
    since: float,
    until: float,
    ledger: LedgerReport,
    alarms: Sequence[Alarm],
    comparison: Comparison | None = None,
    decisions: Sequence[RenewalDecision] = (),
    trained_until: float | None = None,
) -> PlantReport:
    """The report of `since <= event time < until`.

    Args:
        ledger: of that time.
        alarms: as they came, repeats and all; those of other times are left out.
        decisions: of renewal, likewise.
        trained_until: end of the data that the bundle in service learnt from.
    """
    raised = {alarm.id: alarm for alarm in alarms if since <= from_iso(alarm.raised_at) < until}
    newest = max(raised.values(), key=lambda alarm: (alarm.raised_at, alarm.id), default=None)
    told = {decision.id: decision for decision in decisions if since <= from_iso(decision.round) <= until}
    rounds = sorted(told.values(), key=lambda decision: decision.round)
    return PlantReport(
        site=site,
        since=since,
        until=until,
        ledger=ledger,
        comparison=comparison,
        sensors=_sensors(raised.values()),
        misses=[Miss(event, _why_missed(event, ledger)) for event in ledger.events if event.caught_by is None],
        decisions=rounds,
        bundle=None if newest is None else newest.bundle,
        trained_until=trained_until,
        advice=_advice(ledger, comparison, rounds, trained_until, until),
    )


def _sensors(alarms: Iterable[Alarm]) -> list[Sensor]:
    shares: dict[str, list[float]] = defaultdict(list)
    for alarm in alarms:
        for top in alarm.top_sensors:
            shares[top.sensor].append(top.share)
    found = [Sensor(name, len(parts), sum(parts) / len(parts)) for name, parts in shares.items()]
    return sorted(found, key=lambda sensor: (-sensor.alarms * sensor.share, sensor.name))[:MOST_SENSORS]


def _why_missed(event: EventEntry, ledger: LedgerReport) -> str:
    """As far as alarms alone tell: one came too early or too late, or none came near."""
    mine = [alarm for alarm in ledger.alarms if alarm.asset == event.asset]
    before = [alarm for alarm in mine if 0 < event.time - alarm.raised_at <= 3_600]
    after = [alarm for alarm in mine if 0 <= alarm.raised_at - event.time <= 600]
    if before:
        return f"the last alarm came {(event.time - before[-1].raised_at) / 60:.0f} min before, outside its lead window"
    if after and after[0].raised_at - event.time < 60:
        return "an alarm came with the event itself, too late"
    if after:
        return f"an alarm came {(after[0].raised_at - event.time) / 60:.0f} min too late"
    return "no alarm within the hour before"


def _advice(
    ledger: LedgerReport,
    comparison: Comparison | None,
    rounds: Sequence[RenewalDecision],
    trained_until: float | None,
    until: float,
) -> list[str]:
    total, said = ledger.total, []
    if not total.events:
        said.append(
            "No event was logged, so nothing can be said about what the alarms were worth: log breaks to the topic of "
            "events."
        )
    elif total.saving_low is None:
        said.append(f"Nothing is shown yet: {why_no_interval(total.events, total.caught)}. Look at more days.")
    elif total.saving_low <= 0:
        said.append("The saving's interval reaches below zero: no saving is shown in this time. Look at more days.")
    if total.saving_high is not None and total.saving_high < 0:
        said.append("The alarms cost more than they saved: raise the threshold, or fit anew.")
    unjudged = total.false_alarms - total.judged_real - total.judged_false
    if unjudged > 0:
        said.append(
            f"{unjudged} alarms without an event were judged by nobody: an alarm that was heeded and so prevented its "
            "event looks like a false one until somebody says so."
        )
    if comparison is not None and comparison.difference.low is not None and comparison.difference.low > 0:
        said.append(
            f"The challenger {comparison.bundle} is shown to save more; to let it decide: "
            f"stream-detector promote {comparison.bundle}"
        )
    for newest in {decision.of: decision for decision in rounds}.values():
        line = f" --assets {newest.assets!r} --group {newest.group} --bootstrap ..." if newest.assets else ""
        about = f" for {newest.assets!r}" if newest.assets else ""
        if newest.outcome == "proposed":
            said.append(
                f"Renewal proposes bundle {newest.candidate}{about}: {newest.why}. "
                f"To accept it: stream-detector promote {newest.candidate}{line}"
            )
        if newest.outcome == "failed":
            said.append(f"The last round of renewal{about} failed: {newest.why}.")
    if trained_until is not None and until - trained_until > STALE_DAYS * SECONDS_PER_DAY:
        days = (until - trained_until) / SECONDS_PER_DAY
        said.append(f"The model learnt its last on {to_iso(trained_until)[:10]}, {days:.0f} days ago: fit it anew.")
    return said or ["Nothing: the alarms pay, and what is in service is as good as anything known."]
