"""The event-time grid: ring buffers of cells (asset, step, sensor), and the closing of steps, for many assets at once.

The rules are numbered in docs/event-time.md. An asset has a *slot*; the cells of a step lie in row
`step % ring` of its slot. `intake` decides what is written; this module holds the cells and closes steps in order.
"""

from collections.abc import Collection
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig, WindowConfig
from stream_detector.detection.grid.closed_steps import (
    END,
    EVENT,
    NOT_RUNNING,
    STEP,
    STOP,
    Closings,
    concatenate,
    no_closings,
    select,
)
from stream_detector.detection.grid.groups import first_of_groups, group_ends, members_of
from stream_detector.detection.grid.positions import NO_STEP, NO_STEP_YET, Positions
from stream_detector.detection.grid.steps import Steps
from stream_detector.detection.operating import OperatingRule

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

SAMPLES_SLACK = 128
"""Factor on the slack in a grid of samples, which come in blocks of thousands, of few sensors."""

LEAST_SLACK = 8
"""Steps of slack that a ring keeps, however many assets there are."""


class Grid:
    """Cells and positions of many assets; arrays with one row a slot grow by doubling.

    Rings are longer than windows need by a *slack*: how far past its newest step an asset may go before its steps are
    closed. Few assets have long rings, so that many rows of each are taken at once; many have short ones.
    """

    def __init__(
        self,
        config: GridConfig,
        window: WindowConfig,
        sensors: int,
        slack_steps: int = 256,
        slack_cells: int = 2**21,
        operating: OperatingRule | None = None,
    ) -> None:
        """slack_steps: the most. slack_cells: of all rings together, as long as that leaves `LEAST_SLACK` steps.

        operating: rule 10; None: the machine always runs.
        """
        self.steps = Steps(config)
        self._operating = operating
        self.turned: set[int] = set()
        """Slots of whose machine a snapshot would say something else than the last one, since somebody emptied this."""
        self._told: dict[int, int] = {}
        """{slot: the newest step in which its machine stood, as was known before a restart}, until `let_tell`."""
        lateness = self.steps.lateness_steps
        self.sensors = sensors
        self.complete = config.close == "complete"
        self.max_gap_steps = config.max_gap_steps
        self.staleness_steps = config.staleness_steps
        self.silent_steps = max(config.staleness_steps, lateness)
        """Rule 5 looks at steps [r - silent_steps, r - L]; with fewer than L there would be none to look at."""
        self.history = window.steps + self.silent_steps
        """Steps before the next to close that a window, its filling or rule 5 may look at."""
        self.memory = self.history + 2 * (self.silent_steps + lateness) + config.max_gap_steps + 2
        """Steps before the next to close that a rebuild reads again: `history`, and enough for the run to be known."""
        self._most_slack = slack_steps * (SAMPLES_SLACK if config.kind == "samples" else 1)
        self._slack_cells = slack_cells
        self.slack = self.ring = self._opened_ring = 0
        self.capacity = 0
        self.positions = Positions()
        self.values: Floats = np.empty((0, 0, sensors))
        self.reported: Bools = np.empty((0, 0, sensors), np.bool_)
        self.cell_time: Floats = np.empty((0, 0, 0 if self.complete else sensors))
        self.event: Bools = np.empty((0, 0), np.bool_)
        self.opened_offset: Ints = np.empty((0, 0), np.int64)
        self._allocate(1)

    def _allocate(self, capacity: int) -> None:
        """Room for so many slots. Rings may become shorter: nothing that lies further back will be looked at."""
        self.capacity = capacity
        self.positions.make_room(capacity - 1)
        lateness = self.steps.lateness_steps
        slack = min(max(self._slack_cells // (capacity * self.sensors), LEAST_SLACK), self._most_slack)
        self.slack = max(slack, 2 * lateness)
        self.ring = self.history + lateness + self.slack + 2
        self._opened_ring = self.memory + lateness + self.slack + 2
        self.values = self._resized(self.values, self.ring)
        self.reported = self._resized(self.reported, self.ring)
        self.cell_time = self._resized(self.cell_time, 0 if self.complete else self.ring)
        self.event = self._resized(self.event, self.ring)
        self.opened_offset = self._resized(self.opened_offset, self._opened_ring)
        self._point_flat()

    @property
    def judges_operation(self) -> bool:
        """Whether rule 10 applies."""
        return self._operating is not None

    @property
    def slot_bytes(self) -> int:
        """Of the cells of one slot: value, whether it is reported, and where the grid closes by watermark its time."""
        return self.ring * (self.sensors * (9 if self.complete else 17) + 1)

    def _resized(self, rings: NDArray[T], length: int) -> NDArray[T]:
        """Rings of `length` rows for all slots, with the newest of what these held."""
        # Fresh pages are not touched until a slot is admitted, so doubling does not double the resident memory.
        resized = np.empty((self.capacity, length, *rings.shape[2:]), rings.dtype)
        held, was = rings.shape[:2]
        if was == length:
            resized[:held] = rings
        elif held:
            steps = self.positions.newest[:held, None] - np.arange(length)
            slots = np.arange(held)[:, None]
            resized[slots, steps % length] = rings[slots, steps % was]
        return resized

    def _point_flat(self) -> None:
        """Views of the same memory by cell and by row, for flat indices."""
        self.flat_values = self.values.reshape(-1)
        self.flat_reported = self.reported.reshape(-1)
        self.flat_time = self.cell_time.reshape(-1)
        self.value_rows = self.values.reshape(-1, self.sensors)
        self.reported_rows = self.reported.reshape(-1, self.sensors)
        self.event_rows = self.event.reshape(-1)

    def admit(self, slot: int, time: float, offset: int, floor: int | None = None) -> None:
        """An asset begins in `slot` with a record at `time` (epoch seconds) and `offset`.

        floor: steps before this one are past their lateness, whatever the time is.
        """
        while slot >= self.capacity:
            self._allocate(2 * self.capacity)
        times = np.array([time])
        horizon = int(self.steps.horizon_of(times, self.steps.step_of(times))[0])
        if floor is not None:
            horizon = max(horizon, floor)
        self.values[slot] = np.nan
        self.reported[slot] = False
        self.event[slot] = False
        self.opened_offset[slot] = offset
        self.positions.begin(slot, time, horizon)

    def release(self, slot: int) -> None:
        """The asset of the slot is gone."""
        self.turned.discard(slot)
        self._told.pop(slot, None)

    def rows(self, slots: Ints, steps: Ints) -> Ints:
        """Flat row of each (slot, step)."""
        return slots * self.ring + steps % self.ring

    def open_rows(self, slots: Ints, until: Ints) -> None:
        """Clear the rows of the steps after `opened` up to and with `until`."""
        count = np.minimum(until - self.positions.opened[slots], self.ring)
        ahead = count > 0
        slots, until, count = slots[ahead], until[ahead], count[ahead]
        if not len(slots):
            return
        owner, steps = _ranges(until - count + 1, until + 1)
        rows = self.rows(slots[owner], steps)
        self.value_rows[rows] = np.nan
        self.reported_rows[rows] = False
        self.event_rows[rows] = False
        self.positions.opened[slots] = until

    def note_offsets(self, slots: Ints, steps: Ints, offsets: Ints) -> None:
        """Remember the offset of the record that first reached each (slot, step); steps ascending for each slot."""
        self.opened_offset[slots, steps % self._opened_ring] = offsets

    @property
    def offset_memory(self) -> int:
        """Steps for which `note_offsets` is remembered."""
        return self._opened_ring

    def low(self, slots: Ints) -> Ints:
        """The oldest offset that each slot still needs: of the first record that reached `memory` steps back."""
        return self.opened_offset[slots, (self.positions.next_step[slots] - self.memory) % self._opened_ring]

    def dead(self, slots: Ints, steps: Ints, run_start: Ints) -> Bools:
        """(N, F) rule 5: the run has lasted, and the sensor reported nothing in [r - silent_steps, r - L]."""
        lasted = steps - run_start >= self.silent_steps
        dead = np.zeros((len(slots), self.sensors), np.bool_)
        if lasted.any():
            dead[lasted] = self._silent(slots[lasted], steps[lasted])
        return dead

    def _silent(self, slots: Ints, steps: Ints) -> Bools:
        """(N, F) whether the sensor reported nothing in [r - silent_steps, r - L].

        What such a one reports after that may be known when the step closes, or not: no step waits for it.
        """
        ages = np.arange(self.steps.lateness_steps, self.silent_steps + 1)
        reported = self.reported_rows[self.rows(slots[:, None], steps[:, None] - ages)]
        return np.asarray(~reported.any(axis=1))

    def close_by_watermark(self, slots: Ints) -> Closings:
        """Close the steps of these (different) slots that are past their lateness (rule 6)."""
        positions = self.positions
        begin = positions.next_step[slots]
        # Steps after the newest are empty however many they are.
        owner, steps = _ranges(begin, np.minimum(positions.horizon[slots], positions.newest[slots] + 1))
        closings = self._advance(slots[owner], steps)
        positions.next_step[slots] = np.maximum(begin, positions.horizon[slots])
        if self._operating is not None:
            self._note_left_behind(slots, begin)
        return self._with_ended_runs(closings, slots)

    def close_all(self, slots: Ints) -> Closings:
        """Close every step that has a reading: nothing more will come."""
        self.positions.horizon[slots] = self.positions.newest[slots] + 1
        return self.close_by_watermark(slots)

    def close_one_complete(self, slots: Ints) -> tuple[Ints, Closings]:
        """Close the next step of those slots that have reported it completely (rule 6); returns these slots."""
        steps = self.positions.next_step[slots]
        slots = slots[steps <= self.positions.newest[slots]]
        if not len(slots):
            return slots, no_closings()
        steps = self.positions.next_step[slots]
        reported = self.reported_rows[self.rows(slots, steps)]
        dead = self.dead(slots, steps, self._run_start_at(slots, steps))
        # A step that nobody has reported is not complete, though all sensors be dead.
        complete = (reported | dead) & reported.any(axis=1, keepdims=True)
        for back in range(1, self.steps.lateness_steps):
            # Steps up to this one that may still get a reading; those past their lateness are not asked for.
            earlier = steps - back
            asked = earlier >= self.positions.horizon[slots]
            if not asked.any():
                break
            reported = self.reported_rows[self.rows(slots, earlier)]
            complete &= reported | dead | ~asked[:, None]
        done = complete.all(axis=1)
        slots, steps = slots[done], steps[done]
        closings = self._advance(slots, steps)
        self.positions.next_step[slots] = steps + 1
        return slots, self._with_ended_runs(closings, slots)

    def end_runs(self, slots: Ints) -> None:
        """An event came after its step had closed: the next step begins a new run (rule 7)."""
        self.positions.last[slots] = NO_STEP

    def _run_start_at(self, slots: Ints, steps: Ints) -> Ints:
        """First step of the run that each step would belong to."""
        last = self.positions.last[slots]
        continues = (last != NO_STEP) & (steps - last - 1 <= self.max_gap_steps)
        return np.where(continues, self.positions.run_start[slots], steps)

    def _advance(self, slots: Ints, steps: Ints) -> Closings:
        """Rules 7 and 10 for steps that close now, (slot, step) ascending."""
        if not len(slots):
            return no_closings()
        rows = self.rows(slots, steps)
        event = self.event_rows[rows]
        kept = self.reported_rows[rows].any(axis=1) | event
        slots, steps, event = slots[kept], steps[kept], event[kept]
        if not len(slots):
            return no_closings()
        first = first_of_groups(slots)
        final = group_ends(np.flatnonzero(first), len(slots))
        idle = self._not_running(slots, steps, event, first, final)
        outside = event | idle
        previous = np.empty_like(steps)
        previous[1:] = np.where(outside[:-1], NO_STEP, steps[:-1])
        previous[first] = self.positions.last[slots[first]]
        gap = (previous != NO_STEP) & (steps - previous - 1 > self.max_gap_steps)
        begins = (previous == NO_STEP) | gap
        # The newest beginning at or before each closing; a slot whose run goes on carries its start from before.
        origin = np.maximum.accumulate(np.where(begins | first, np.arange(len(steps)), 0))
        run_start = np.where(begins[origin], steps[origin], self.positions.run_start[slots])
        self.positions.run_start[slots[final]] = run_start[final]
        self.positions.last[slots[final]] = np.where(outside[final], NO_STEP, steps[final])
        kind = np.where(event, EVENT, np.where(idle, np.where(begins, NOT_RUNNING, STOP), STEP)).astype(np.int8)
        closings = Closings(kind, slots, steps, run_start, np.zeros_like(steps))
        if gap.any():
            ended = (slots[gap], previous[gap] + self.max_gap_steps + 1)
            closings = _with_ends(closings, *ended)
        return closings

    def _not_running(self, slots: Ints, steps: Ints, event: Bools, first: Bools, final: Ints) -> Bools:
        """(N,) rule 10: the machine stands, or did so at most `hold_steps` before.

        first, final: (N,) and indices: the first and the last step of each slot.
        """
        rule, positions = self._operating, self.positions
        if rule is None:
            return np.zeros(len(steps), np.bool_)
        known = rule.known(self._latest_values(slots, steps, rule.columns))
        # An event's step says nothing of the machine; where nothing is known it goes on as before.
        tells = (known.true | known.false) & ~event & (steps >= positions.tells_from[slots])
        newest = _newest(tells, first)
        stands = np.where(tells[newest], known.false[newest], positions.stands[slots])
        before = np.append(False, stands[:-1])
        before[first] = positions.stands[slots[first]]
        self.turned.update(slots[stands != before].tolist())
        standing = stands & ~event
        newest = _newest(standing, first)
        stood = np.where(standing[newest], steps[newest], positions.stood[slots])
        idle: Bools = ~event & (steps - stood <= rule.hold_steps)
        positions.stands[slots[final]], positions.stood[slots[final]] = stands[final], stood[final]
        positions.not_running[slots[~event]] = idle[~event]
        return idle

    def remember_standing(self, slot: int, stands: bool, stood: int, tells_from: int | None) -> None:
        """After a restart: whether the machine stands, which no step before `tells_from` says anew.

        What is read again may begin with records that came too late when they were first read, and count now.
        `tells_from` None: as of `let_tell`; until then the machine stands, or runs, all the time.
        """
        if self._operating is None:
            return
        self.positions.stands[slot], self.positions.stood[slot] = stands, stood
        self.positions.tells_from[slot] = NO_STEP_YET if tells_from is None else tells_from
        if tells_from is None:
            self._told[slot] = stood

    def let_tell(self, slots: Collection[int]) -> None:
        """The log of these assets has been read again so far that every step within `history` is what it was.

        The next ones tell.
        """
        if not self._told:
            return
        positions = self.positions
        for slot in [slot for slot in self._told if slot in slots]:
            stood = self._told.pop(slot)
            begin = int(positions.next_step[slot])
            if positions.stands[slot]:
                steps = np.arange(begin - self.history, begin)
                rows = self.rows(np.full_like(steps, slot), steps)
                standing = steps[self.reported_rows[rows].any(axis=1) & ~self.event_rows[rows]]
                stood = max(stood, int(standing.max(initial=NO_STEP)))
            positions.stood[slot], positions.tells_from[slot] = stood, begin

    def _note_left_behind(self, slots: Ints, begin: Ints) -> None:
        """A restart finds the newest step in which the machine stood while it lies near the next one to close, which
        was `begin`; after that it has to be told."""
        positions = self.positions
        stood = positions.stood[slots]
        near, far = begin - stood <= self.history, positions.next_step[slots] - stood > self.history
        self.turned.update(slots[positions.stands[slots] & near & far].tolist())

    def _latest_values(self, slots: Ints, steps: Ints, sensors: Ints) -> Floats:
        """(N, S) the last value of each of these sensors, at most `staleness_steps` old, in whatever run."""
        values = self.value_rows[self.rows(slots, steps)[:, None], sensors]
        for age in range(1, self.staleness_steps + 1):
            which, column = np.nonzero(np.isnan(values))
            if not len(which):
                break
            values[which, column] = self.value_rows[self.rows(slots[which], steps[which] - age), sensors[column]]
        values[self._silent(slots, steps)[:, sensors]] = np.nan
        return values

    def _with_ended_runs(self, closings: Closings, slots: Ints) -> Closings:
        """Rule 7: a run ends as soon as one step too many has closed empty."""
        last = self.positions.last[slots]
        ended = (last != NO_STEP) & (self.positions.next_step[slots] - 1 - last > self.max_gap_steps)
        if not ended.any():
            return closings
        self.positions.last[slots[ended]] = NO_STEP
        return _with_ends(closings, slots[ended], last[ended] + self.max_gap_steps + 1)


def _newest(chosen: Bools, first: Bools) -> Ints:
    """(N,) for each step the newest chosen one of its slot, or the slot's first where there is none yet."""
    return np.maximum.accumulate(np.where(chosen | first, np.arange(len(chosen)), 0))


def _with_ends(closings: Closings, slots: Ints, steps: Ints) -> Closings:
    """Put the ends of runs among the closings, by slot and step."""
    ends = np.full(len(slots), END, np.int8)
    parts = Closings(ends, slots, steps, np.full_like(steps, NO_STEP), np.zeros_like(steps))
    joined = concatenate([closings, parts])
    return select(joined, np.lexsort((joined.step, joined.slot)))


def _ranges(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """The numbers of all ranges [begin, end), with the index of the range that each belongs to."""
    owner, place = members_of(np.maximum(end - begin, 0))
    return owner, place + begin[owner]
