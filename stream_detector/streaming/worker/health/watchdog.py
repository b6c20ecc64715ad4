"""Tells a true stall from an outage of the broker and from an idle topic.

The verdict is a function of observations and a monotonic clock that is given; nothing is read here. A broker that does
not answer explains everything else, so during an outage only the outage's own clock runs. Clocks of the host may jump:
wall time decides nothing.
"""

from dataclasses import dataclass, field

from msgspec import Struct

from stream_detector.settings import Settings


class PartitionObservation(Struct, frozen=True):
    """One assigned partition. Offsets name the next record."""

    end: int
    """Next offset of the log, asked of the broker on a connection of its own."""
    position: int
    """Next offset of the fetches."""
    processed: int
    commit_waiting_seconds: float = 0.0
    answer_age_seconds: float = 0.0
    """Since the broker last answered a fetch; for people, not for the verdict (wall clock)."""
    windows_read: int = 0
    """Records that were read again for the windows of a bundle that is to take over."""


class Observation(Struct, frozen=True):
    """One observation of the worker. `partitions` is None while it is no member of its group or rebalances."""

    broker_answers: bool
    partitions: dict[int, PartitionObservation] | None


@dataclass(slots=True)
class _Mark:
    """The offsets and the time at which a partition last moved."""

    position: int
    processed: int
    windows_read: int
    at: float


@dataclass
class Watchdog:
    """Decides from observations whether the process should end; `look` takes one and gives the reason, or None."""

    settings: Settings
    started: float
    _silent_since: float | None = field(default=None, init=False)
    _homeless_since: float | None = field(default=None, init=False)
    _marks: dict[int, _Mark] = field(default_factory=dict, init=False)
    reason: str | None = field(default=None, init=False)
    """Why the worker is not ready now, in words; None while all is well."""

    def look(self, seen: Observation, now: float) -> str | None:
        """Judge one observation at monotonic time `now`; a text means: this process should end and start again."""
        settings = self.settings
        if not seen.broker_answers:
            self._forgive(now)
            self._silent_since = now if self._silent_since is None else self._silent_since
            away = now - self._silent_since
            self.reason = f"the broker has not answered for {away:.0f} s ({settings.bootstrap})"
            return self.reason if away > settings.outage_seconds else None
        self._silent_since = None
        if seen.partitions is None:
            self._marks.clear()
            self._homeless_since = now if self._homeless_since is None else self._homeless_since
            waiting = now - self._homeless_since
            self.reason = f"no assignment for {waiting:.0f} s while the broker answers"
            return self.reason if waiting > settings.rebalance_stall_seconds else None
        self._homeless_since = None
        self.reason = None
        for number in set(self._marks) - set(seen.partitions):
            del self._marks[number]
        for number, partition in seen.partitions.items():
            verdict = self._look_at(number, partition, now)
            if verdict is not None:
                self.reason = verdict
                return verdict
        return None

    def _look_at(self, number: int, seen: PartitionObservation, now: float) -> str | None:
        mark = self._marks.get(number)
        at = seen.position, seen.processed, seen.windows_read
        if mark is None or (mark.position, mark.processed, mark.windows_read) != at:
            mark = self._marks[number] = _Mark(*at, now)
        idle = seen.position >= seen.end and seen.processed >= seen.position
        if idle:
            mark.at = now
        still = now - mark.at
        if still > self.settings.stall_seconds:
            if seen.position < seen.end:
                return (
                    f"partition {number}: the log ends at {seen.end}, fetches stay at {seen.position} for {still:.0f} s"
                )
            return (
                f"partition {number}: fetched to {seen.position}, processed only to {seen.processed} for {still:.0f} s"
            )
        if seen.commit_waiting_seconds > self.settings.commit_stall_seconds:
            return f"partition {number}: a commit is pending for {seen.commit_waiting_seconds:.0f} s"
        return None

    def _forgive(self, now: float) -> None:
        """Nothing can move while the broker is away; the clocks start anew when it is back."""
        for mark in self._marks.values():
            mark.at = now
        if self._homeless_since is not None:
            self._homeless_since = now
