"""Interval of a saving: bootstrap over whole days, because the hours of one day depend on each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval; both ends are None where there is nothing to resample."""

    low: float | None
    high: float | None


def saving_interval(
    cost_by_day: ArrayLike,
    never_cost_by_day: ArrayLike,
    *,
    quiet_days: int = 0,
    level: float = 0.95,
    replicates: int = 2_000,
    seed: int = 0,
) -> Interval:
    """Interval of the relative saving `1 - cost / never_cost` when days are drawn with replacement.

    The days are the blocks of the block bootstrap (Künsch 1989, "The jackknife and the bootstrap for general stationary
    observations"); draws in which no event would have cost anything have no relative saving and are left out.

    Args:
        cost_by_day: (D,) realised cost of each day, currency units.
        never_cost_by_day: (D,) cost of the same days without any alarm.
        quiet_days: further days on which nothing happened; they need no memory, however many they are.
        level: part of the draws that lie inside the interval.
        replicates: number of draws.
        seed: the same seed gives the same interval.
    """
    cost = np.asarray(cost_by_day, dtype=np.float64)
    never = np.asarray(never_cost_by_day, dtype=np.float64)
    if cost.shape != never.shape or cost.ndim != 1:
        raise ValueError(f"cost_by_day has shape {cost.shape}, never_cost_by_day {never.shape}; both must be (days,)")
    days = len(cost) + quiet_days
    if days < 2 or never.sum() <= 0:
        return Interval(None, None)
    # How often each day is drawn; the last column stands for all the quiet days together.
    chances = np.append(np.full(len(cost), 1.0 / days), quiet_days / days)
    times_drawn = np.random.default_rng(seed).multinomial(days, chances, size=replicates)[:, :-1]
    never_sums = times_drawn @ never
    usable = never_sums > 0
    savings = 1.0 - (times_drawn @ cost)[usable] / never_sums[usable]
    low, high = np.quantile(savings, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
