"""The newest scored step of each asset, for gauges and the console."""

from dataclasses import dataclass

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.slot_arrays import SlotArrays
from stream_detector.engine.outcome import ScoredSteps

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class LatestScore(Struct, frozen=True):
    """One slot of `LatestScores`; the arrays are (F,)."""

    step: int
    score: float
    probability: float
    degraded: int
    attribution: NDArray[np.float32]
    newest: NDArray[np.float32]
    expected: NDArray[np.float32]


@dataclass(slots=True)
class LatestScores(SlotArrays):
    """The newest scored step of each slot; score, probability, newest and expected are NaN before the first.

    Attributes:
        busy: an alarm is up or rests; a step of any other slot below the threshold changes nothing.
        step: of the grid. degraded: masked sensors.
        attribution, newest, expected: (slots, F), as in `ScoredSteps`.
    """

    busy: NDArray[np.bool_]
    step: Ints
    score: Floats
    probability: Floats
    degraded: Ints
    attribution: NDArray[np.float32]
    newest: NDArray[np.float32]
    expected: NDArray[np.float32]

    @classmethod
    def of(cls, sensors: int) -> "LatestScores":
        """Arrays without a slot, for so many sensors."""
        none = np.zeros((0, sensors), np.float32)
        numbers, counts = np.zeros(0), np.zeros(0, np.int64)
        return cls(np.zeros(0, np.bool_), counts, numbers, numbers, counts, none, none, none)

    def begin(self, slot: int, *, busy: bool) -> None:
        """An asset begins in the slot."""
        self.make_room(slot)
        self.busy[slot] = busy
        self.score[slot] = self.probability[slot] = np.nan
        self.step[slot] = self.degraded[slot] = 0
        self.attribution[slot] = 0
        self.newest[slot] = self.expected[slot] = np.nan

    def note(self, found: ScoredSteps) -> None:
        """These steps are the newest; of several of a slot the last one stays."""
        slot = found.slot
        self.step[slot], self.score[slot], self.probability[slot] = found.step, found.score, found.probability
        self.degraded[slot] = found.degraded
        with np.errstate(over="ignore"):  # a plant may send numbers beyond float32
            self.attribution[slot] = found.attribution
            self.newest[slot], self.expected[slot] = found.newest, found.expected

    def read(self, slot: int) -> LatestScore:
        return LatestScore(
            int(self.step[slot]),
            float(self.score[slot]),
            float(self.probability[slot]),
            int(self.degraded[slot]),
            self.attribution[slot].copy(),
            self.newest[slot].copy(),
            self.expected[slot].copy(),
        )

    def write(self, slot: int, latest: LatestScore) -> None:
        self.step[slot], self.score[slot], self.probability[slot] = latest.step, latest.score, latest.probability
        self.degraded[slot], self.attribution[slot] = latest.degraded, latest.attribution
        self.newest[slot], self.expected[slot] = latest.newest, latest.expected
