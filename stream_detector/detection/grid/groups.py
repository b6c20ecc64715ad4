"""Groups of neighbours in arrays: where they begin and end, and the places within them."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def first_of_groups(values: Ints) -> Bools:
    """(N,) which are the first of their group, where equal values follow each other."""
    first = np.ones(len(values), np.bool_)
    first[1:] = values[1:] != values[:-1]
    return first


def heads_of_neighbours(slot: Ints, time: NDArray[np.float64]) -> Ints:
    """The first place of each group of neighbours with equal slots and equal times."""
    return np.append(0, np.flatnonzero((slot[1:] != slot[:-1]) | (time[1:] != time[:-1])) + 1)


def group_ends(starts: Ints, count: int) -> Ints:
    """The last place of each of the groups that begin at `starts`, which share `count` places."""
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:] - 1
    ends[-1:] = count - 1
    return ends


def members_of(count: Ints) -> tuple[Ints, Ints]:
    """Of groups of so many members (G,), one after the other: the group of each member, and its place within it."""
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
