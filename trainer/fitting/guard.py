"""The guard: whether a threshold is shown to pay, on the part of the data that chose it.

Two things must hold. Stretches of the part are drawn with replacement, and the lower end of the interval of the saving
lies above zero: it is more than a few lucky alarms. And each stretch is decided once with a threshold that the others
chose (Stone 1974, "Cross-validatory choice and assessment of statistical predictions"), and these decisions save
something too: it is more than the luck of the choice.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.manifest import ThresholdRecord
from stream_detector.detection.block_bootstrap import LEVEL, saving_interval
from stream_detector.detection.config import CostConfig, EpisodeConfig, LeadConfig
from stream_detector.detection.episodes import episodes
from stream_detector.detection.event_cost import event_cost, while_running
from trainer.data.dataset import Dataset
from trainer.data.examples import Examples, not_running, row_steps, run_numbers
from trainer.fitting.thresholds import SECONDS_PER_DAY, cost_optimal
from trainer.recipe import Recipe

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

STRETCHES = 8
"""A part of fewer days is cut into so many stretches of equally many rows."""

LEAST_EVENTS = 3
"""With two events, both caught, no draw of stretches could ever lose."""

REPLICATES = 4_000

Choose = Callable[[Bools], float]
"""The threshold chosen on the rows of a mask (B,); infinite where all or none of them call for an alarm."""


@dataclass(frozen=True)
class Prices:
    """What D stretches cost with and without alarms, (D,) each, and how many events, or states, there are."""

    cost: Floats
    never: Floats
    events: int


Price = Callable[[Bools], Prices]
"""The price of decisions (B,), True = above the threshold."""


@dataclass(frozen=True)
class Guard:
    """The saving with its interval; `held_out`: that of thresholds which other stretches chose.

    None where there is nothing to save.
    """

    saving: float | None
    low: float | None
    high: float | None
    held_out: float | None
    events: int

    @property
    def pays(self) -> bool:
        if self.low is None or self.held_out is None or self.events < LEAST_EVENTS:
            return False
        return self.low > 0 and self.held_out > 0

    def in_words(self) -> str:
        """A clause."""
        if self.saving is None or self.low is None or self.high is None or self.held_out is None:
            return "there is nothing to save there"
        found = (
            f"it saves {self.saving:.1%} there, {LEVEL:.0%} interval {self.low:.1%} to {self.high:.1%}, and "
            f"{self.held_out:.1%} on stretches that did not choose it"
        )
        return f"{found}; fewer than {LEAST_EVENTS} events show nothing" if self.events < LEAST_EVENTS else found


def guarded(
    found: ThresholdRecord, recipe: Recipe, scores: Floats, chosen_on: Examples, source: Dataset
) -> ThresholdRecord:
    """The threshold `found` on labelled windows of the file `source`, taken back where it is not shown to pay.

    scores: (B,) of the windows.
    """
    assert chosen_on.positive is not None
    positives = chosen_on.positive
    stretch = stretches(source.times[chosen_on.rows])

    def choose(rows: Bools) -> float:
        if not positives[rows].any() or positives[rows].all():
            return np.inf
        return cost_optimal(recipe.threshold, recipe.costs, scores[rows], positives[rows]).limit

    steps = row_steps(source, recipe.grid)
    own = steps[chosen_on.rows]
    # Files of several assets overlap in time: there every row stands for itself.
    if source.labels_mark_events and (np.diff(own) > 0).all():
        idle = not_running(source, recipe.grid, recipe.operating_rule(source.sensors))
        runs = run_numbers(source, steps, recipe.grid.max_gap_steps, idle)
        events = steps[source.events]
        within = np.zeros(len(events), dtype=bool)
        for _, rows in source.by_asset():
            of_asset = own[(chosen_on.rows >= rows.start) & (chosen_on.rows < rows.stop)]
            if len(of_asset):
                within |= (events > of_asset[0]) & (events <= of_asset[-1] + recipe.lead.until_steps)
        within &= while_running(events, steps[idle], recipe.lead)
        price = price_events(
            own, runs[chosen_on.rows], stretch, events[within], recipe.lead, recipe.episode, recipe.costs
        )
    else:
        price = price_rows(positives, stretch, recipe.costs)
    guard = judge(scores, found.limit, stretch, choose, price)
    return found.model_copy(update={"pays": guard.pays, "how": f"{found.how}; {guard.in_words()}"})


def judge(scores: Floats, threshold: float, stretch: Ints, choose: Choose, price: Price) -> Guard:
    """Price a threshold on the part that chose it, and those that the rest of the part would choose.

    scores, stretch: (B,).
    """
    prices = price(scores > threshold)
    never = float(prices.never.sum())
    if never <= 0:
        return Guard(None, None, None, None, prices.events)
    found = saving_interval(prices.cost, prices.never, replicates=REPLICATES)
    above = np.zeros(len(scores), dtype=bool)
    for number in np.unique(stretch):
        own = stretch == number
        above[own] = scores[own] > choose(~own)
    savings = [1 - float(each.cost.sum()) / never for each in (prices, price(above))]
    return Guard(savings[0], found.low, found.high, savings[1], prices.events)


def stretches(times: Floats) -> Ints:
    """(B,) the stretch of each row: its day, or an eighth of the rows where there are fewer days. times: (B,)."""
    _, day = np.unique(np.floor(times / SECONDS_PER_DAY), return_inverse=True)
    if len(times) and int(day.max()) + 1 >= STRETCHES:
        return day.astype(np.int64)
    stretch: Ints = np.arange(len(times)) * STRETCHES // max(len(times), 1)
    return stretch


def price_rows(positives: Bools, stretch: Ints, costs: CostConfig) -> Price:
    """Every row on its own, as where labels mark states. positives, stretch: (B,)."""
    count = int(stretch.max()) + 1

    def price(above: Bools) -> Prices:
        cost = np.where(above, np.where(positives, costs.tp, costs.fp), np.where(positives, costs.fn, costs.tn))
        never = np.where(positives, costs.fn, costs.tn)
        states = int((np.diff(positives.astype(np.int64), prepend=0) > 0).sum())
        return Prices(_sums(stretch, cost, count), _sums(stretch, never, count), states)

    return price


def price_events(
    steps: Ints, runs: Ints, stretch: Ints, events: Ints, lead: LeadConfig, episode: EpisodeConfig, costs: CostConfig
) -> Price:
    """Alarms and events, as backtest and ledger price them.

    steps, runs, stretch: (B,) of the scored rows, steps ascending; events: (M,) steps of the events, each counted in
    the stretch of the last scored row before it.
    """
    count = int(stretch.max()) + 1
    of_event = stretch[np.maximum(np.searchsorted(steps, events) - 1, 0)]

    def price(above: Bools) -> Prices:
        alarms = episodes(steps, above, runs, episode)
        priced = event_cost(alarms, events, lead, costs)
        of_alarm = stretch[np.searchsorted(steps, alarms[:, 0])]
        cost = _sums(of_event, priced.event_costs, count) + _sums(of_alarm, priced.alarm_costs, count)
        return Prices(cost, _sums(of_event, np.full(len(events), costs.fn), count), len(events))

    return price


def _sums(stretch: Ints, amounts: Floats, count: int) -> Floats:
    """(count,) what falls into each stretch."""
    return np.bincount(stretch, amounts, count).astype(np.float64)
