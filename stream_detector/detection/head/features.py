"""Causal features of one asset, step by step: how the sensors move, in units of how they usually move.

Levels of a drifting plant do not transfer from one week to the next; differences and volatility do. A difference over k
steps is divided by a slowly running mean |difference| of its sensor and by sqrt(k), as of a random walk. Differences
never cross a gap or an event. What a short run cannot say yet is NaN; the head puts the training mean there.
"""

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.head import event_clock
from stream_detector.detection.head.event_clock import ClockState, note_event, read_clock

Floats = NDArray[np.float64]

NO_SENSOR = -1


class FeatureConfig(Config):
    """`grade`: a sensor that holds a product code: it is a clock of its own and has no differences. `clock`: whether
    times of events and restarts are features; a rate that follows them outside of the features may be enough."""

    lags: tuple[int, ...] = Field(default=(1, 3, 10, 20), min_length=1)
    volatility_steps: tuple[int, ...] = Field(default=(5, 30), min_length=1)
    scale_half_life_steps: float = Field(default=1440.0, gt=0)
    largest: int = Field(
        default=6, ge=1, description="pooled features: mean over all sensors, and over so many largest"
    )
    jump_limit: float = Field(default=8.0, gt=1, description="a larger |difference| counts as this many usual ones")
    move_limit: float = Field(default=20.0, gt=0, description="volatility: no |difference| counts for more than this")
    grade: str | None = None
    clock: bool = True


class FeatureState(Struct):
    """One asset. `size`, `weight`: (F,) decayed sum of |difference| and of its weights, so size / weight is the scale.

    `recent`: (longest lag + 1, F) values of this run, newest last, NaN before it began. `moves`: (longest volatility,
    F) scaled |difference|, newest last. `position`: steps since the run began, -1 = there is no run.
    """

    size: Floats
    weight: Floats
    recent: Floats
    moves: Floats
    position: int = -1
    clock: ClockState = field(default_factory=ClockState)

    @property
    def scale(self) -> Floats:
        """(F,) running mean |difference| in sensor units; NaN where nothing, or nothing but rest, was seen."""
        known = (self.weight > 0) & (self.size > 0)
        scale: Floats = np.divide(self.size, self.weight, out=np.full(len(self.size), np.nan), where=known)
        return scale


class Features:
    """Reads steps of the given sensors in order.

    `names`: (D,); `sensor_of`: (D,) index of a sensor, -1 = of none; `movement`: (D,) whether it says how much moves.
    """

    def __init__(self, config: FeatureConfig, sensors: tuple[str, ...]) -> None:
        if config.grade is not None and config.grade not in sensors:
            raise ValueError(f"the grade sensor {config.grade!r} is not one of the {len(sensors)} sensors")
        self.config = config
        self._moving = np.array([i for i, name in enumerate(sensors) if name != config.grade], dtype=np.int64)
        self._grade = None if config.grade is None else sensors.index(config.grade)
        self._sensors = len(sensors)
        self._decay = 0.5 ** (1.0 / config.scale_half_life_steps)
        moving = [sensors[i] for i in self._moving]
        names: list[str] = []
        sensor_of: list[int] = []
        movement: list[bool] = []
        for kind in (
            *(f"{kind} {lag}" for lag in config.lags for kind in ("signed", "size")),
            *(f"volatility {steps}" for steps in config.volatility_steps),
        ):
            signed = kind.startswith("signed")
            pooled = [] if signed else ["mean", "largest"]
            names += [f"{kind} {of}" for of in (*moving, *pooled)]
            sensor_of += [*self._moving.tolist(), *[NO_SENSOR] * len(pooled)]
            movement += [not signed] * (len(moving) + len(pooled))
        clock = event_clock.NAMES if config.clock else ()
        self.names = (*names, *clock)
        self.sensor_of = np.array([*sensor_of, *[NO_SENSOR] * len(clock)], dtype=np.int64)
        self.movement = np.array([*movement, *[False] * len(clock)])

    def fresh(self) -> FeatureState:
        """The state of a new asset."""
        count = len(self._moving)
        return FeatureState(
            size=np.zeros(count),
            weight=np.zeros(count),
            recent=np.full((max(self.config.lags) + 1, count), np.nan),
            moves=np.full((max(self.config.volatility_steps), count), np.nan),
        )

    def by_sensor(self, parts: Floats) -> Floats:
        """(D,) -> (F,): the parts of each sensor's features added up; pooled ones and the clock belong to none."""
        owned = self.sensor_of != NO_SENSOR
        return np.bincount(self.sensor_of[owned], parts[owned], self._sensors).astype(np.float64)

    def advance(
        self, state: FeatureState, time: float, values: Floats, run_position: int, event: bool
    ) -> NDArray[np.float32]:
        """The features (D,) float32 of one step, NaN = not known; moves `state` on.

        time: epoch seconds; values: (F,) NaN = missing; run_position: 0 starts a run. An event step belongs to the run
        that it ends, does not move the scales, and counts in the clock only after its own features were read.
        """
        newest, scale = self._enter(state, values, run_position, event), state.scale
        parts = self._moves(state, scale)
        if self.config.clock:
            # What a sensor says in the very step of an event is not always there when a stream closes that step.
            grade = np.nan if self._grade is None or event else float(values[self._grade])
            parts.append(read_clock(state.clock, time, state.position, grade))
        if event:
            note_event(state.clock, time)
            state.position = -1
        else:
            self._learn_scale(state, np.abs(newest - state.recent[-2]))
        return np.concatenate(parts).astype(np.float32)

    def follow(self, state: FeatureState, values: Floats, run_position: int, event: bool) -> None:
        """Move on what looks back `memory_steps` at most (arguments as in `advance`); scales and clock stay."""
        self._enter(state, values, run_position, event)
        self._note_move(state, state.scale)
        if event:
            state.position = -1

    @property
    def memory_steps(self) -> int:
        """How far the features look back, the scales and the clock aside."""
        return max(max(self.config.lags) + 1, *self.config.volatility_steps)

    def _enter(self, state: FeatureState, values: Floats, run_position: int, event: bool) -> Floats:
        """The step is the newest one; returns the values (F,) of the sensors that move."""
        if state.position < 0 or (run_position == 0 and not event):
            self._start_run(state)
        state.position += 1
        newest = values[self._moving]
        state.recent[:-1] = state.recent[1:]
        state.recent[-1] = newest
        return newest

    def _note_move(self, state: FeatureState, scale: Floats) -> None:
        step = np.abs(state.recent[-1] - state.recent[-2]) / scale
        state.moves[:-1] = state.moves[1:]
        state.moves[-1] = np.minimum(step, self.config.move_limit)

    def _start_run(self, state: FeatureState) -> None:
        state.position = -1
        state.recent[:] = np.nan
        state.moves[:] = np.nan

    def _moves(self, state: FeatureState, scale: Floats) -> list[Floats]:
        """Signed and absolute differences for every lag, then the volatilities, each with its pooled values."""
        parts = []
        for lag in self.config.lags:
            moved = (state.recent[-1] - state.recent[-1 - lag]) / (scale * np.sqrt(lag))
            size = np.log1p(np.abs(moved))
            parts += [np.tanh(moved / 2.0), size, self._pooled(size)]
        self._note_move(state, scale)
        for steps in self.config.volatility_steps:
            volatility = np.log1p(_mean_of_known(state.moves[-steps:]))
            parts += [volatility, self._pooled(volatility)]
        return parts

    def _pooled(self, values: Floats) -> Floats:
        """(2,) mean over the known sensors, and over the largest of them."""
        known = values[~np.isnan(values)]
        if not len(known):
            return np.full(2, np.nan)
        return np.array([known.mean(), np.sort(known)[-self.config.largest :].mean()])

    def _learn_scale(self, state: FeatureState, step: Floats) -> None:
        """One more |difference| (F,) of every sensor that has one; a wild jump counts as a limited one."""
        known = ~np.isnan(step)
        settled = state.weight * (1.0 - self._decay) > 1.0 - self._decay**30
        limit = np.where(settled, self.config.jump_limit * state.size / np.maximum(state.weight, 1e-300), np.inf)
        step = np.minimum(step, limit + 1e-12)
        state.size[known] = self._decay * state.size[known] + step[known]
        state.weight[known] = self._decay * state.weight[known] + 1.0


def _mean_of_known(moves: Floats) -> Floats:
    """(steps, F) -> (F,), NaN where nothing is known."""
    known = ~np.isnan(moves)
    count = known.sum(axis=0)
    total = np.where(known, moves, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, count, out=np.full(moves.shape[1], np.nan), where=count > 0)
    return mean
