"""Closed steps: with readings, by an event, while the machine does not run, or at the end of a run."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.grid.groups import members_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

STEP, EVENT, END, LATE_EVENT, STOP, NOT_RUNNING = KINDS = range(6)
"""Kinds of closing: a step with readings, the step of an event, a run that ended in a gap, an event after its step, and
steps with readings in which the machine does not run (rule 10): the first one, which ends the run, and the others."""


class Closings(Struct, frozen=True):
    """N closings: steps that closed and ends of runs, in order for each slot. Empty steps are left out.

    `run_start`: first step of the run. `record`: index of the record that closed it. The step of END is the first one
    too many in the gap; the `run_start` of LATE_EVENT is the step before which the run has ended.
    """

    kind: NDArray[np.int8]
    slot: Ints
    step: Ints
    run_start: Ints
    record: Ints

    def __len__(self) -> int:
        return len(self.slot)


class Stretches(Struct, frozen=True):
    """K stretches of consecutive steps of kind STEP, each closed as a whole by one record; in order for each slot.

    `first`: step that each begins with. `count`: its steps, at least one. Else as `Closings`.
    """

    slot: Ints
    first: Ints
    count: Ints
    run_start: Ints
    record: Ints

    def __len__(self) -> int:
        return len(self.slot)

    def select(self, index: Ints | Bools) -> "Stretches":
        """The stretches at an index or mask."""
        return Stretches(
            self.slot[index], self.first[index], self.count[index], self.run_start[index], self.record[index]
        )  # fmt: skip

    def every(self, first: Ints, stride: int = 1) -> Closings:
        """Of each stretch the closing of step `first` (K,), which it may or may not reach, and of each stride after."""
        count = np.maximum(-(-(self.first + self.count - first) // stride), 0)
        owner, place = members_of(count)
        return Closings(
            np.full(len(owner), STEP, np.int8),
            self.slot[owner],
            first[owner] + place * stride,
            self.run_start[owner],
            self.record[owner],
        )

    def apart(self) -> Closings:
        """The closings of all steps."""
        return self.every(self.first)


def concatenate(parts: list[Closings]) -> Closings:
    """All closings of the parts, in their order."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return no_closings()
    if len(parts) == 1:
        return parts[0]
    names = ("kind", "slot", "step", "run_start", "record")
    return Closings(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def select(closings: Closings, index: Ints | Bools | slice) -> Closings:
    """The closings at an index, mask or slice."""
    return Closings(
        closings.kind[index],
        closings.slot[index],
        closings.step[index],
        closings.run_start[index],
        closings.record[index],
    )


def no_closings() -> Closings:
    none = np.empty(0, np.int64)
    return Closings(np.empty(0, np.int8), none, none, none, none)
