"""Health figures of ISA-18.2 / IEC 62682 and EEMUA 191: can people cope with the alarms?"""

from collections import defaultdict, deque
from dataclasses import dataclass

from stream_detector.operations.alarms.alarm_states import AlarmBook

RATE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Limits above which an alarm counts as standing and an asset as chattering."""

    standing_seconds: float = 3_600.0
    chattering_raises: int = 6
    chattering_seconds: float = 3_600.0


@dataclass(frozen=True, slots=True)
class HealthFigures:
    """Counts of alarms or assets at one moment; see `ForwarderMetrics` for what each means."""

    per_10_minutes: int
    standing: int
    shelved: int
    out_of_service: int
    chattering: int
    unacknowledged: int


class AlarmHealth:
    """Counts raised alarms by the time at which they came (epoch seconds of the wall clock)."""

    def __init__(self, book: AlarmBook, limits: HealthLimits = HealthLimits()) -> None:
        self._book = book
        self._limits = limits
        self._raised: dict[str, deque[float]] = defaultdict(deque)
        self._up_since: dict[str, float] = {}

    def note_raised(self, asset: str, alarm_id: str, at: float, renewal_of: str | None = None) -> None:
        """An alarm came up for the first time. A renewal is the same alarm going on: no new burden, no chattering."""
        if renewal_of is None:
            self._raised[asset].append(at)
        self._up_since[alarm_id] = self._up_since.get(renewal_of or "", at)

    def figures(self, now: float) -> HealthFigures:
        """The figures at `now`."""
        self._forget(now)
        open_alarms = self._book.open_alarms()
        up = {alarm.id for alarm in open_alarms if alarm.up}
        kept = up | self._book.renewable()
        self._up_since = {alarm_id: since for alarm_id, since in self._up_since.items() if alarm_id in kept}
        limits = self._limits
        shelved = set(self._book.suppressed_assets("shelved"))
        return HealthFigures(
            per_10_minutes=sum(now - RATE_SECONDS < at <= now for times in self._raised.values() for at in times),
            standing=sum(
                now - since > limits.standing_seconds for alarm_id, since in self._up_since.items() if alarm_id in up
            ),
            # Shelving acts on the asset: its alarm is shelved whether it is up at the moment or not.
            shelved=len(shelved),
            out_of_service=len(self._book.suppressed_assets("out-of-service")),
            chattering=sum(
                sum(now - limits.chattering_seconds < at <= now for at in times) >= limits.chattering_raises
                for times in self._raised.values()
            ),
            unacknowledged=sum(alarm.state in ("unacknowledged", "returned") for alarm in open_alarms),
        )

    def _forget(self, now: float) -> None:
        oldest = now - max(RATE_SECONDS, self._limits.chattering_seconds)
        for asset in list(self._raised):
            times = self._raised[asset]
            while times and times[0] <= oldest:
                times.popleft()
            if not times:
                del self._raised[asset]
