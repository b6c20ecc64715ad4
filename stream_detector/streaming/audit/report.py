"""What an audit expects of the topics, and what it found there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.outcome import Outcome, ReadingCounts
from stream_detector.messages import Alarm, to_bytes
from stream_detector.streaming.audit.rounding import Verdict, best, compare_contents

AlarmKey = tuple[str, str]
"""(id, state)."""


@dataclass
class PartitionAudit(ReadingCounts):
    """One partition of the readings, and the counts of all its batches. Offsets name the next record."""

    partition: int
    begin: int
    committed: int | None
    end: int

    def add(self, counts: ReadingCounts) -> None:
        self.received += counts.received
        self.windowed += counts.windowed
        self.late += counts.late
        self.duplicate += counts.duplicate
        self.dead_lettered += counts.dead_lettered
        self.ignored += counts.ignored
        self.held = counts.held

    @property
    def balanced(self) -> bool:
        return self.received == self.settled


@dataclass(frozen=True)
class NotJudged:
    """A range of offsets that another bundle decided."""

    partition: int
    begin: int
    end: int
    bundle: str

    def holds(self, partition: int, offset: int) -> bool:
        return self.partition == partition and self.begin <= offset < self.end


@dataclass(frozen=True)
class OnTheWay:
    """Readings that were there when the audit began and that the group has not committed yet."""

    partition: int
    begin: int
    end: int


@dataclass
class Audit:
    """`lost`: the log gives it, the topic lacks it. `different`: in content. `invented`: the log does not give it.

    `rounding`: in the last digits of computed numbers alone, as of another processor; no error.
    """

    partitions: list[PartitionAudit] = field(default_factory=list)
    alarms: int = 0
    alarms_lost: list[str] = field(default_factory=list)
    alarms_different: list[str] = field(default_factory=list)
    alarms_rounding: list[str] = field(default_factory=list)
    alarms_invented: list[str] = field(default_factory=list)
    dead_letters: int = 0
    dead_letters_lost: int = 0
    dead_letters_invented: int = 0
    incomplete: list[int] = field(default_factory=list)
    """Partitions whose first records retention removed: their alarms cannot be given again and are not compared."""
    not_judged: list[NotJudged] = field(default_factory=list)
    """What other bundles decided than those that were given."""
    on_the_way: list[OnTheWay] = field(default_factory=list)
    """What cannot be judged yet, though it was waited for."""

    @property
    def good(self) -> bool:
        wrong = [*self.alarms_lost, *self.alarms_different, *self.alarms_invented]
        letters = self.dead_letters_lost + self.dead_letters_invented
        return not wrong and not letters and all(partition.balanced for partition in self.partitions)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "good": self.good}


@dataclass
class Expected:
    """What the log gives: up to the committed offset (must be there), and up to the end (may be there).

    `also`: another content that is as good. `open`: the alarms that are up in the partition that is being read, by id.
    """

    alarms: dict[AlarmKey, bytes] = field(default_factory=dict)
    alarms_possible: dict[AlarmKey, bytes] = field(default_factory=dict)
    also: dict[AlarmKey, bytes] = field(default_factory=dict)
    letters: set[tuple[int, int]] = field(default_factory=set)
    letters_possible: set[tuple[int, int]] = field(default_factory=set)
    open: dict[str, Alarm] = field(default_factory=dict)

    def add(self, outcome: Outcome, *, must: bool) -> None:
        alarms: dict[AlarmKey, bytes] = {(alarm.id, alarm.state): to_bytes(alarm) for alarm in outcome.alarms}
        letters = {(letter.partition, letter.offset) for letter in outcome.dead_letters}
        self.alarms_possible |= alarms
        self.letters_possible |= letters
        for alarm in outcome.alarms:
            if alarm.state == "raised":
                self.open[alarm.id] = alarm
            else:
                self.open.pop(alarm.id, None)
        if must:
            self.alarms |= alarms
            self.letters |= letters

    def withdraw(self, alarms: Iterable[Alarm], *, must: bool) -> None:
        """Nobody decides on these any longer."""
        for alarm in alarms:
            self.open.pop(alarm.id, None)
            body = to_bytes(withdrawn(alarm))
            self.alarms_possible[alarm.id, "cleared"] = body
            if must:
                self.alarms[alarm.id, "cleared"] = body

    def unknown(self, published: Mapping[str, Any]) -> bool:
        """Whether nothing that was read so far explains the alarm."""
        key, raw = (published["id"], published["state"]), published["_raw"]
        return self.verdict(key, raw) == "different"

    def verdict(self, key: AlarmKey, raw: bytes) -> Verdict:
        """How an alarm's content stands to what the log gives; "different" where it gives nothing."""
        given = [body for body in (self.alarms_possible.get(key), self.also.get(key)) if body is not None]
        return best([compare_contents(raw, body) for body in given])

    def beyond(self, outcome: Outcome) -> None:
        """What a bundle may have said without being able to commit it; the next one clears what it leaves open."""
        self.letters_possible |= {(letter.partition, letter.offset) for letter in outcome.dead_letters}
        for alarm in outcome.alarms:
            key, body = (alarm.id, alarm.state), to_bytes(alarm)
            if self.alarms_possible.setdefault(key, body) != body:
                self.also[key] = body
            if alarm.state == "raised":
                self.alarms_possible.setdefault((alarm.id, "cleared"), to_bytes(withdrawn(alarm)))


def compare_alarms(published: Sequence[Mapping[str, Any]], audit: Audit, expected: Expected) -> None:
    """Enter what is wrong with the alarms that were published (bodies, and their bytes as `_raw`)."""
    found: dict[AlarmKey, bytes] = {}
    for body in published:
        key, raw = (body["id"], body["state"]), body["_raw"]
        given = not audit.incomplete and key in expected.alarms_possible
        verdict = expected.verdict(key, raw) if given else "same"
        verdicts = {verdict, compare_contents(found.setdefault(key, raw), raw)}
        if "different" in verdicts:
            audit.alarms_different.append("/".join(key))
        elif "rounding" in verdicts:
            audit.alarms_rounding.append("/".join(key))
    audit.alarms = len(found)
    audit.alarms_lost = ["/".join(key) for key in expected.alarms if key not in found]
    if not audit.incomplete:
        audit.alarms_invented = ["/".join(key) for key in found if key not in expected.alarms_possible]


def compare_dead_letters(published: Sequence[Mapping[str, Any]], audit: Audit, expected: Expected) -> None:
    """The same for the dead letters of the topic of readings."""
    found = {(body["partition"], body["offset"]) for body in published}
    found -= {
        letter for letter in found if any(span.holds(*letter) for span in audit.not_judged)
    } - expected.letters_possible
    audit.dead_letters = len(found)
    audit.dead_letters_lost = len(expected.letters - found)
    if not audit.incomplete:
        audit.dead_letters_invented = len(found - expected.letters_possible)
