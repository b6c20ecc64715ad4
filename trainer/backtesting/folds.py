"""The folds of a rolling origin: what is known at each origin, and the stretch of time that is judged with it.

Tashman 2000, "Out-of-sample tests of forecasting accuracy": the origin moves forward, the method is fitted anew on
everything before it, and only what comes after it counts.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from stream_detector.errors import UsageError
from trainer.data.dataset import Dataset

SECONDS_PER_DAY = 86_400.0
UNITS = {"h": 3_600.0, "d": SECONDS_PER_DAY, "w": 7 * SECONDS_PER_DAY}
LEARN_FIRST = 1 / 3
"""Without a start, judging begins at the first midnight after this part of the rows."""


@dataclass(frozen=True)
class Fold:
    """Judged: rows with begin <= time < end (epoch seconds); learnt from: rows before `begin`."""

    begin: float
    end: float


def plan_folds(dataset: Dataset, start: str | None, retrain: str) -> list[Fold]:
    """Folds from `start` to the end of the file, each as long as `retrain`; those without rows are left out."""
    seconds = retrain_seconds(retrain)
    first = start_time(dataset, start)
    last = float(dataset.times.max())
    if not dataset.times.min() < first <= last:
        raise UsageError(
            f"--start {start}: judging has to begin after the first row of {dataset.name} and not after its last one"
        )
    folds = []
    begin = first
    while begin <= last:
        # Fits fall on whole multiples of the interval, so that a later start judges with the same fits.
        end = (np.floor(begin / seconds) + 1) * seconds
        fold = Fold(begin, float(end))
        if ((dataset.times >= fold.begin) & (dataset.times < fold.end)).any():
            folds.append(fold)
        begin = fold.end
    return folds


def retrain_seconds(text: str, option: str = "--retrain") -> float:
    """ "1d", "12h" or "1w" in seconds; UsageError, which names the option, for anything else."""
    unit = UNITS.get(text[-1:])
    try:
        count = float(text[:-1])
    except ValueError:
        count = 0.0
    if unit is None or not np.isfinite(count) or count <= 0:
        raise UsageError(f"{option} {text!r} should be a number of hours, days or weeks, like 12h, 1d or 1w")
    return count * unit


def start_time(dataset: Dataset, start: str | None) -> float:
    """Epoch seconds of a row number or an ISO 8601 time (without a zone: UTC)."""
    if start is None:
        after = np.sort(dataset.times)[int(len(dataset) * LEARN_FIRST)]
        return float((after // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY)
    if start.isdigit():
        row = int(start)
        if row >= len(dataset):
            raise UsageError(f"--start {row}: {dataset.name} has the rows 0 to {len(dataset) - 1}")
        return float(dataset.times[row])
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise UsageError(f"--start {start!r} is neither a row number nor an ISO 8601 time ({error})") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
