"""VUS-PR (Paparrizos et al. 2022, "Volume under the surface"), the measure of the open leaderboard TSB-AD.

The area under precision against recall, where an event also counts, less and less, in the rows just before and after
it, and recall is weighed by the share of the events that are found; averaged over all lengths of that margin from 0 to
a window. As in the package TSB-AD 1.5 (`RangeAUC_volume_opt`, 250 thresholds), which needs torch, statsmodels and more
beside; a test holds this against it where it is installed.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.judge import Mask, Scores, stretches

THRESHOLDS = 250
LONGEST_LAG, FIRST_LAG, DEFAULT_WINDOW = 400, 3, 125
PERIOD_ROWS = 20_000

Segments = list[tuple[int, int]]
"""(first row, last row) of each."""


def period(values: Scores) -> int:
    """The leaderboard's window: the lag of the highest peak of the autocorrelation, 125 where there is none."""
    part = values[:PERIOD_ROWS] - values[:PERIOD_ROWS].mean()
    spectrum = np.fft.rfft(part, 2 * len(part))
    correlation = np.fft.irfft(spectrum * np.conj(spectrum))[FIRST_LAG : LONGEST_LAG + 1]
    peaks = [
        lag for lag in range(1, len(correlation) - 1) if correlation[lag - 1] < correlation[lag] > correlation[lag + 1]
    ]
    if not peaks:
        return DEFAULT_WINDOW
    best = max(peaks, key=lambda lag: float(correlation[lag]))
    return best + FIRST_LAG if 3 <= best <= 300 else DEFAULT_WINDOW


def vus_pr(scores: Scores, positive: Mask, window: int) -> float:
    """scores, positive: (N,), at least one row of each kind; window: rows. 1 = every event above everything else."""
    events: Segments = [(first, behind - 1) for first, behind in stretches(positive)]
    ranked = np.sort(scores)[::-1]
    limits = ranked[np.linspace(0, len(scores) - 1, THRESHOLDS).astype(int)]
    alarms = len(scores) - np.searchsorted(ranked[::-1], limits, side="left")
    # The first threshold at which a row is in alarm: limits descend.
    alarm_from = np.searchsorted(-limits, -scores, side="left")
    return float(
        np.mean(
            [
                _area(_weights(positive, events, margin), events, margin, alarm_from, alarms)
                for margin in range(window + 1)
            ]
        )
    )


def _area(
    weights: Scores, events: Segments, margin: int, alarm_from: NDArray[np.int64], alarms: NDArray[np.int64]
) -> float:
    """Under precision against recall at one margin, by steps from no recall on."""
    counted = np.flatnonzero(weights)
    right = np.cumsum(np.bincount(alarm_from[counted], weights[counted], THRESHOLDS)[:THRESHOLDS])
    inside = sum(last - first + 1 for first, last in events)
    whole = np.zeros(len(weights), bool)
    for first, last in events:
        whole[first : last + 1] = True
    around = np.flatnonzero((weights > 0) & ~whole)
    beside = np.cumsum(np.bincount(alarm_from[around], weights[around], THRESHOLDS)[:THRESHOLDS])
    found_from = [int(alarm_from[first : last + 1].min()) for first, last in _widened(events, margin, len(weights))]
    found = np.cumsum(np.bincount(found_from, minlength=THRESHOLDS)[:THRESHOLDS]) / len(found_from)
    recall = np.minimum(right / (inside + beside / 2), 1.0) * found
    return float(np.diff(recall, prepend=0.0) @ (right / alarms))


def _weights(positive: Mask, events: Segments, margin: int) -> Scores:
    """(N,) 1 in an event, falling to either side over half the margin."""
    weights = positive.astype(np.float64)
    for first, last in events:
        after = np.arange(last + 1, min(last + margin // 2 + 1, len(weights)))
        weights[after] += np.sqrt(1 - (after - last) / max(margin, 1))
        before = np.arange(max(first - margin // 2, 0), first)
        weights[before] += np.sqrt(1 - (first - before) / max(margin, 1))
    return np.minimum(weights, 1.0)


def _widened(events: Segments, margin: int, rows: int) -> Segments:
    """The events with half the margin to either side; those that meet are one."""
    half, widened = margin // 2, []
    start = max(events[0][0] - half, 0)
    for (_, last), (following, _) in pairwise(events):
        if last + half < following - half:
            widened.append((start, last + half))
            start = following - half
    return [*widened, (start, min(events[-1][1] + half, rows - 1))]
