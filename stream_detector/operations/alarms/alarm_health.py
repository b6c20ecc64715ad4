"""Health figures of ISA-18.2 / IEC 62682 and EEMUA 191: can people cope with the alarms?"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from stream_detector.operations.alarms.alarm_states import AlarmBook, SetAside

RATE_SECONDS = 600.0

SET_ASIDE: tuple[SetAside, ...] = get_args(SetAside)


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Limits above which an alarm counts as standing and an asset as chattering."""

    standing_seconds: float = 3_600.0
    chattering_raises: int = 6
    chattering_seconds: float = 3_600.0


@dataclass(frozen=True, slots=True)
class HealthFigures:
    """Counts of alarms or assets at one moment; see `ForwarderMetrics` for what each means.

    `by_asset`: (asset, state) -> alarms of the asset, or 1 where the state is the asset's; none that is 0. An asset
    that is set aside may chatter there; `chattering` counts those that are not.
    """

    per_10_minutes: int
    chattering: int
    by_asset: Mapping[tuple[str, str], int]

    def total(self, state: str) -> int:
        """All of the plant in this state."""
        return sum(count for (_, of), count in self.by_asset.items() if of == state)


class AlarmHealth:
    """Counts raised alarms by the time at which they came (epoch seconds of the wall clock)."""

    def __init__(self, book: AlarmBook, limits: HealthLimits = HealthLimits()) -> None:
        self._book = book
        self._limits = limits
        self._raised: dict[str, deque[tuple[float, bool]]] = defaultdict(deque)
        self._up_since: dict[str, float] = {}

    def note_raised(
        self, asset: str, alarm_id: str, at: float, renewal_of: str | None = None, *, told: bool = True
    ) -> None:
        """An alarm came up for the first time. A renewal is the same alarm going on: no new burden, no chattering.

        `told`: to people; what is set aside or held back is a burden to nobody.
        """
        if renewal_of is None:
            self._raised[asset].append((at, told))
        self._up_since[alarm_id] = self._up_since.get(renewal_of or "", at)

    def figures(self, now: float) -> HealthFigures:
        """The figures at `now`."""
        self._forget(now)
        open_alarms = self._book.open_alarms()
        up = {alarm.id for alarm in open_alarms if alarm.up}
        kept = up | self._book.renewable()
        self._up_since = {alarm_id: since for alarm_id, since in self._up_since.items() if alarm_id in kept}
        limits = self._limits
        found: Counter[tuple[str, str]] = Counter()
        for alarm in open_alarms:
            if alarm.state in ("unacknowledged", "returned"):
                found[alarm.asset, "unacknowledged"] += 1
            if alarm.up and now - self._up_since.get(alarm.id, now) > limits.standing_seconds:
                found[alarm.asset, "standing"] += 1
        # Shelving acts on the asset: its alarm is shelved whether it is up at the moment or not.
        set_aside: set[str] = set()
        for state in SET_ASIDE:
            assets = self._book.suppressed_assets(state)
            set_aside.update(assets)
            found.update((asset, state) for asset in assets)
        chattering = 0
        for asset, raised in self._raised.items():
            if sum(now - limits.chattering_seconds < at <= now for at, _ in raised) >= limits.chattering_raises:
                found[asset, "chattering"] = 1
                chattering += asset not in set_aside
        rate = sum(told and now - RATE_SECONDS < at <= now for raised in self._raised.values() for at, told in raised)
        return HealthFigures(rate, chattering, found)

    def _forget(self, now: float) -> None:
        oldest = now - max(RATE_SECONDS, self._limits.chattering_seconds)
        for asset in list(self._raised):
            raised = self._raised[asset]
            while raised and raised[0][0] <= oldest:
                raised.popleft()
            if not raised:
                del self._raised[asset]
