"""A fold of a backtest says what a bundle says that is fitted at its begin and takes over there, in mid-run.

So a plant that is renewed each day saves what the backtest says; `make renewal-mill` shows it on a real broker.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from stream_detector.detection.config import HeadConfig, ModelConfig
from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.engine import Engine
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import RecordBatch
from stream_detector.messages import Alarm, LoggedEvent, to_iso
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report
from trainer.backtesting.alarm_value import AlarmValue
from trainer.backtesting.backtest import run_backtest
from trainer.backtesting.folds import Fold, plan_folds
from trainer.backtesting.methods import method_of
from trainer.data.dataset import Dataset
from trainer.data.usage import usable
from trainer.fitting.fit import fit_recipe
from trainer.recipe import Recipe, load_recipe

STEP, ROWS_A_DAY, DAYS = 120.0, 120, 7
SENSORS = ("s0", "s1", "s2", "late")
READ_AGAIN = 40
"""Rows before a switch: more than the features look back."""

ASSET = "pm-1"


@dataclass(frozen=True)
class Day:
    """What a worker said of a fold, in steps, probabilities and alarms. `sensors`: how many its bundle reads."""

    sensors: int
    steps: NDArray[np.int64]
    probability: NDArray[np.float64]
    alarms: list[Alarm]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    head = HeadConfig(
        kind="calibrated",
        options={
            "features": {"lags": [1, 3], "volatility_steps": [5], "scale_half_life_steps": 50, "clock": False},
            "forests": [{"trees": 5, "keep": 0.5, "bags": 2, "tried_features": 0.5}],
            "first_day": 1,
        },
    )
    loaded = load_recipe("paper-mill-calibrated")
    return loaded.model_copy(update={"head": head, "model": ModelConfig(kind="mahalanobis")})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Four hours of each day, the last ones, then the first ones of the next day: a run goes through every midnight.

    The first sensor jumps in the row before an event; the last one first moves two days before the end.
    """
    rng = np.random.default_rng(3)
    rows = ROWS_A_DAY * DAYS
    values = rng.normal(scale=0.1, size=(rows, len(SENSORS))).cumsum(axis=0)
    values[: rows - ROWS_A_DAY - 90, 3] = 7.0
    labels = np.zeros(rows, bool)
    labels[20::29] = True
    values[19::29, 0] += 9
    day, row = np.divmod(np.arange(rows), ROWS_A_DAY)
    times = (10_000 + day) * 86_400.0 + (row - ROWS_A_DAY // 2) * STEP
    return Dataset("made.csv", "0" * 64, SENSORS, times, values, labels, labels_mark_events=True)


@pytest.mark.slow
def test_a_plant_that_is_renewed_each_day_saves_what_the_backtest_says(
    recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    folds = plan_folds(dataset, None, "1d")
    (judged,) = run_backtest([method_of(recipe)], dataset, folds, check=False)
    days = [renewed(recipe, dataset, fold, tmp_path) for fold in folds]
    said = dict(zip(judged.steps.tolist(), judged.scored.level.tolist(), strict=True))
    for day in days:
        assert len(day.steps) > ROWS_A_DAY // 3
        np.testing.assert_allclose(day.probability, [said[step] for step in day.steps.tolist()], rtol=1e-12)
    assert [day.sensors for day in days[-3:]] == [3, 4, 4]
    assert judged.useful_alarms
    assert_booked_as_judged(dataset, folds, days, judged)


def assert_booked_as_judged(dataset: Dataset, folds: list[Fold], days: list[Day], judged: AlarmValue) -> None:
    """The ledger's price of the alarms of these days is the backtest's, to the cent."""
    ledger = Ledger()
    for alarm in [alarm for day in days for alarm in day.alarms]:
        ledger.add_alarm(alarm)
    for time in dataset.times[dataset.events].tolist():
        ledger.add_event(ASSET, LoggedEvent(time=to_iso(time), event="break"))
    total = report(ledger, folds[0].begin, folds[-1].end).total
    booked = (total.cost, total.never_cost, total.events, total.caught, total.alarms)
    priced = judged.priced
    caught = int(priced.match.caught.sum())
    assert booked == (priced.cost, priced.never_cost, len(judged.event_steps), caught, len(judged.alarms))


def renewed(recipe: Recipe, dataset: Dataset, fold: Fold, folder: Path) -> Day:
    """The day by a bundle that was fitted on what lies before it, in a worker that has read some of that again.

    An alarm that is up at the end is cleared as where the next day's bundle takes over.
    """
    past, _ = usable(recipe, dataset.take(dataset.times < fold.begin))
    bundle = fit_recipe(recipe, past, folder / str(fold.begin)).bundle
    begin, end = np.searchsorted(dataset.times, [fold.begin, fold.end]).tolist()
    engine = Engine(bundle, Limits(), keep_steps=True)
    engine.restore(0, {}, 2 * begin, 1)
    engine.process(batch(dataset, max(begin - READ_AGAIN, 0), begin))
    found = engine.process(batch(dataset, begin, end))
    up = {alarm.id: alarm for alarm in found.alarms if alarm.state == "raised"}
    for alarm in found.alarms:
        if alarm.state == "cleared":
            del up[alarm.id]
    return Day(
        len(past.sensors),
        np.concatenate([part.step for part in found.steps]),
        np.concatenate([part.probability for part in found.steps]),
        [*found.alarms, *map(withdrawn, up.values())],
    )


def batch(dataset: Dataset, begin: int, end: int) -> RecordBatch:
    """Rows of a file as records, an event before its row; row r has the offsets 2 r and 2 r + 1."""
    offsets, values, stamps = [], [], []
    for row in range(begin, end):
        time = float(dataset.times[row])
        if dataset.events[row]:
            offsets.append(2 * row)
            values.append(orjson.dumps({"time": time, "event": "break"}))
            stamps.append(round(time * 1000))
        cells = dict(zip(dataset.sensors, dataset.values[row].tolist(), strict=True))
        offsets.append(2 * row + 1)
        values.append(orjson.dumps({"time": time, "values": cells}))
        stamps.append(round(time * 1000))
    return RecordBatch("readings", 0, offsets, [ASSET.encode()] * len(offsets), values, stamps)
