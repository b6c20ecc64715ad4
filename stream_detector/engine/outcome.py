"""The engine's input and output as plain values: record batches, outcomes, counts, statuses."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple, replace
from numpy.typing import NDArray

from stream_detector.decoding.unknown_names import NONE_UNKNOWN, UnknownNames
from stream_detector.messages import Alarm, DeadLetter, OperatingChange, Score


class RecordBatch(Struct, frozen=True):
    """Records of one partition, offsets ascending; all sequences have the same length."""

    topic: str
    partition: int
    offsets: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    timestamps_ms: Sequence[int]


@dataclass(slots=True, kw_only=True)
class ReadingCounts:
    """Readings by what became of them: received = windowed + late + duplicate + dead_lettered + ignored.

    A row or block is as many readings as it has values, a record that cannot be decoded is one, an event none. Readings
    held aside (rule 1) are counted when they are settled; `held` is how many are held after this batch. `ignored` are
    those of unknown sensors and assets, if the policies say so.
    """

    received: int = 0
    windowed: int = 0
    late: int = 0
    duplicate: int = 0
    dead_lettered: int = 0
    ignored: int = 0
    held: int = 0

    @property
    def parts(self) -> tuple[int, ...]:
        """Those received, and what became of them."""
        return self.received, self.windowed, self.late, self.duplicate, self.dead_lettered, self.ignored

    @property
    def settled(self) -> int:
        """Readings of which it is known what became of them."""
        return self.windowed + self.late + self.duplicate + self.dead_lettered + self.ignored


@dataclass(slots=True, kw_only=True)
class Counts(ReadingCounts):
    """Counts of one batch.

    `missing`: cells that hold no number although something stands in them, by reason; they are readings like the
    others.
    """

    reading_records: int = 0
    row_records: int = 0
    block_records: int = 0
    events: int = 0
    assets_refused: int = 0
    assets_evicted: int = 0
    missing: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Closed:
    """Steps that closed, by what became of them; empty steps are passed over.

    `late_events`: told after their step had closed. `not_running`: not judged, for the machine stands or begins again.
    `suppressed`: above the threshold, but a rule of the plant says that this raises nothing.
    `ratios`: of scored steps, probability (score, where there is no head) divided by its threshold. `expected_events`:
    the sum of the probabilities divided by the steps of the lead window.
    """

    scored: int = 0
    warming_up: int = 0
    off_stride: int = 0
    masked: int = 0
    event: int = 0
    late_events: int = 0
    not_running: int = 0
    suppressed: int = 0
    ratios: list[NDArray[np.float64]] = field(default_factory=list, compare=False, repr=False)
    expected_events: float = field(default=0.0, compare=False)


class ScoredSteps(Struct, frozen=True):
    """M scored steps in the order of the log.

    Attributes:
        slot: (M,) of the assets' grid. step: (M,) of the grid.
        score: (M,) higher = more anomalous. probability: (M,) NaN without a head.
        above: (M,) whether the score, or with a head the probability, exceeds the threshold, and no rule suppresses it.
        attribution: (M, F) what each sensor adds: its error, or with a head its part in the probability.
        expected: (M, F) what the model expected. newest: (M, F) newest step of the window. Sensor units, NaN = none.
        degraded: (M,) masked sensors.
        provisional: (M,) whether the machine's scale is not fixed yet.
        assets: names of the assets, where the steps are kept.
    """

    slot: NDArray[np.int64]
    step: NDArray[np.int64]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    above: NDArray[np.bool_]
    attribution: NDArray[np.float64]
    expected: NDArray[np.float64]
    newest: NDArray[np.float64]
    degraded: NDArray[np.int64]
    provisional: NDArray[np.bool_]
    assets: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.step)

    def select(self, places: Sequence[int]) -> "ScoredSteps":
        """The steps at these places, ascending."""
        if len(places) == len(self):
            return self
        arrays: dict[str, Any] = {name: getattr(self, name)[list(places)] for name in ARRAYS}
        return replace(self, **arrays, assets=[self.assets[place] for place in places])

    @classmethod
    def joined(cls, parts: Sequence["ScoredSteps"], sensors: int) -> "ScoredSteps":
        """All steps of the parts, in their order."""
        count, number, by_sensor = np.empty(0, np.int64), np.empty(0), np.empty((0, sensors))
        above = np.empty(0, np.bool_)
        none = cls(count, count, number, number, above, by_sensor, by_sensor, by_sensor, count, above)
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in (none, *parts)]) for name in ARRAYS
        }
        return replace(none, **arrays)


ARRAYS = tuple(name for name in ScoredSteps.__struct_fields__ if name != "assets")


@dataclass(slots=True)
class Outcome:
    """What came of one batch, in the order of the log. `snapshots`: (asset, bytes), None: an evicted one is forgotten.

    `alarm_timestamps_ms`: for each alarm the Kafka timestamp of the record that closed its step.
    `event_assets`: the asset of each event. `unknown`: the names that were ignored.
    `steps`: every scored step, where the engine was told to keep them. `operating`: which machines begin or cease to
    run, each in order; a restart says it again.
    """

    alarms: list[Alarm] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    snapshots: list[tuple[str, bytes | None]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    closed: Closed = field(default_factory=Closed)
    alarm_timestamps_ms: list[int] = field(default_factory=list)
    event_assets: list[str] = field(default_factory=list)
    unknown: UnknownNames = field(default=NONE_UNKNOWN, compare=False)
    operating: list[OperatingChange] = field(default_factory=list, compare=False)
    steps: list[ScoredSteps] = field(default_factory=list, compare=False, repr=False)


class AssetStatus(Struct, frozen=True, eq=False):
    """One asset as it stands now; `score`, `probability` and `scored_until` are NaN before the first scored step.

    `scored_until`, `closed_until`: end of the newest scored step, and of the newest closed one. `newest`, `expected`:
    (F,) values of the scored one and what the model expected, NaN where missing or not known. `not_running`: the
    machine stands or starts up, so that its steps are not judged. `provisional`: its scale is not fixed yet, but learnt
    from `scale_steps` of the `scale_steps_wanted` steps that fix it.
    """

    asset: str
    partition: int
    watermark: float
    score: float
    probability: float
    threshold: float
    alarm_open: bool
    degraded: int
    warming_up: bool
    top_shares: list[tuple[str, float]]
    scored_until: float
    newest: NDArray[np.float32]
    expected: NDArray[np.float32]
    not_running: bool = False
    closed_until: float = math.nan
    provisional: bool = False
    scale_steps: int = 0
    scale_steps_wanted: int = 0

    def __eq__(self, other: object) -> bool:
        """Of equal scores of a step the values of the sensors are equal too. NaN equals NaN."""
        return isinstance(other, AssetStatus) and all(map(_are_equal, self._numbers(), other._numbers()))

    def _numbers(self) -> tuple[object, ...]:
        found = astuple(self)
        return *found[:ARRAYS_AT], *found[ARRAYS_AT + 2 :]

    __hash__ = None  # type: ignore[assignment]


def _are_equal(one: object, other: object) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return one == other or both_nan


ARRAYS_AT = AssetStatus.__struct_fields__.index("newest")
