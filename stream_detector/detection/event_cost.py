"""Prices a set of alarms event by event: the one rule that the backtest and the ledger share.

An alarm raised at step r and cleared at step c is up on the steps [r, c). An event in step e is caught if an alarm is
up on one of the steps [e - until_steps, e - from_steps]; a state that begins in step e and lasts to step l is found if
one is up on [e - until_steps, l], for an alarm within it is what a detector of states is for. Every missed event costs
`fn`; every alarm is paid for once, however long it is up: `tp` if it caught an event, else `fp`. Never alarming costs
`fn` an event. True negatives are free here: only events and alarms count.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from stream_detector.detection.config import CostConfig, LeadConfig

NOT_CAUGHT = -1


class EventMatch(Struct, frozen=True):
    """How N alarms and M events of one asset belong together.

    Attributes:
        caught_by: (M,) index of the earliest alarm that caught the event, -1 where it was missed.
        lead_steps: (M,) steps from that alarm's raising to the event, -1 where it was missed; below 0 within a state.
        useful: (N,) whether the alarm caught an event.
    """

    caught_by: NDArray[np.int64]
    lead_steps: NDArray[np.int64]
    useful: NDArray[np.bool_]

    @property
    def caught(self) -> NDArray[np.bool_]:
        """(M,) whether the event was caught."""
        caught: NDArray[np.bool_] = self.caught_by != NOT_CAUGHT
        return caught


class EventCost(Struct, frozen=True):
    """`event_costs`: (M,) 0 or fn; `alarm_costs`: (N,) tp or fp; both in currency units, in the order given."""

    match: EventMatch
    event_costs: NDArray[np.float64]
    alarm_costs: NDArray[np.float64]
    never_cost: float

    @property
    def cost(self) -> float:
        return float(self.event_costs.sum() + self.alarm_costs.sum())


def match_events(
    alarm_intervals: ArrayLike, event_steps: ArrayLike, lead: LeadConfig, last_steps: ArrayLike | None = None
) -> EventMatch:
    """Matches alarms with events in O((N + M) log(N + M)); the input may have any order and alarms may overlap.

    Args:
        alarm_intervals: (N, 2) steps, raised (inclusive) and cleared (exclusive); an alarm is up for at least one step.
        event_steps: (M,) the steps that the events lie in.
        lead: how far ahead an alarm speaks.
        last_steps: (M,) the last steps of states; the step of the event itself where it is none. None: there is none.

    Raises:
        ValueError: an alarm is cleared at or before the step that raised it.
    """
    intervals = np.asarray(alarm_intervals, dtype=np.int64).reshape(-1, 2)
    events = np.asarray(event_steps, dtype=np.int64).reshape(-1)
    if (intervals[:, 1] <= intervals[:, 0]).any():
        at = int(np.argmax(intervals[:, 1] <= intervals[:, 0]))
        raised, cleared = intervals[at].tolist()
        raise ValueError(
            f"alarm {at} is raised at step {raised} and cleared at {cleared}; it must be up for at least one step"
        )

    # By raise step, equal ones in the order given. The running maximum of the clear steps makes overlapping alarms
    # searchable: the first place where it passes a step belongs to the earliest-raised alarm that is still up there.
    order = np.argsort(intervals[:, 0], kind="stable")
    raised, still_up_until = intervals[order, 0], np.maximum.accumulate(intervals[order, 1])
    place = np.searchsorted(still_up_until, events - lead.until_steps, side="right")
    found = place < len(order)
    last = events - lead.from_steps
    if last_steps is not None:
        ends = np.asarray(last_steps, dtype=np.int64).reshape(-1)
        last = np.where(ends > events, np.maximum(ends, last), last)
    found[found] = raised[place[found]] <= last[found]
    caught_by = np.full(len(events), NOT_CAUGHT, dtype=np.int64)
    caught_by[found] = order[place[found]]
    lead_steps = np.full(len(events), NOT_CAUGHT, dtype=np.int64)
    lead_steps[found] = events[found] - raised[place[found]]

    # Of the events that begin early enough for an alarm, the one that lasts longest decides.
    by_begin = np.argsort(events, kind="stable")
    lasting = np.maximum.accumulate(last[by_begin])
    early_enough = np.searchsorted(events[by_begin], intervals[:, 1] - 1 + lead.until_steps, side="right")
    useful = early_enough > 0
    useful[useful] = lasting[early_enough[useful] - 1] >= intervals[useful, 0]
    return EventMatch(caught_by, lead_steps, useful=useful)


def while_running(event_steps: ArrayLike, idle_steps: ArrayLike, lead: LeadConfig) -> NDArray[np.bool_]:
    """(M,) whether the machine ran in a step of the event's lead window.

    Where it stood in all of them nothing is judged, so that no alarm could have been up, and the event does not count.
    event_steps: (M,). idle_steps: (K,) the steps in which it does not run.
    """
    window = np.asarray(event_steps, np.int64)[:, None] - np.arange(lead.from_steps, lead.until_steps + 1)
    return np.asarray(~np.isin(window, np.asarray(idle_steps, np.int64)).all(axis=1))


def event_cost(alarm_intervals: ArrayLike, event_steps: ArrayLike, lead: LeadConfig, costs: CostConfig) -> EventCost:
    """Prices the alarms and events of one asset (arguments as in `match_events`)."""
    match = match_events(alarm_intervals, event_steps, lead)
    return EventCost(
        match=match,
        event_costs=np.where(match.caught, 0.0, costs.fn),
        alarm_costs=np.where(match.useful, costs.tp, costs.fp),
        never_cost=costs.fn * len(match.caught_by),
    )


def with_least_warning(priced: EventCost, steps: int, costs: CostConfig) -> EventCost:
    """The same alarms where a warning of fewer than so many steps is none: such events are missed.

    An alarm that came too late for its event is priced as one without an event.
    """
    match = priced.match
    in_time = match.caught & (match.lead_steps >= steps)
    useful = match.useful.copy()
    useful[match.caught_by[match.caught]] = False
    useful[match.caught_by[in_time]] = True
    return EventCost(
        match=EventMatch(
            np.where(in_time, match.caught_by, NOT_CAUGHT), np.where(in_time, match.lead_steps, NOT_CAUGHT), useful
        ),
        event_costs=np.where(in_time, 0.0, costs.fn),
        alarm_costs=np.where(useful, costs.tp, costs.fp),
        never_cost=priced.never_cost,
    )


def warning_minutes(steps: int, step_seconds: float) -> tuple[float, float]:
    """Least and most minutes from the end of the step that raised an alarm to an event so many steps later."""
    return max(steps - 1, 0) * step_seconds / 60, max(steps, 0) * step_seconds / 60
