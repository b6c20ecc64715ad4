"""Scans among single readings: all sensors of an asset at one time, one reading after the other.

Whoever reads a machine's sensors together sends them so. A scan goes into the grid like a whole row (`steady`).
"""

import numpy as np
from msgspec import Struct

from stream_detector.detection.grid.contents import Bools, Floats, Ints, WholeRows
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.groups import heads_of_neighbours
from stream_detector.detection.grid.sorted_readings import Readings, Records

FEW_READINGS = 512
"""Among fewer all must lie in scans: what a fetch has cut at either end costs as much as all of them together."""

LEAST_SHARE = 0.5
"""Of the readings that lie in scans; below it they are not worth to be told apart."""


class Scans(Struct, frozen=True):
    """S scans among N readings: of each asset all that follow each other, with nothing else of it in between.

    `rows`: the scans as rows. `head`: (S,) first reading of each. `before`: (N,) which readings of an asset come before
    its first scan.
    """

    rows: Records
    head: Ints
    before: Bools

    def __len__(self) -> int:
        return len(self.head)


def scans_of(grid: Grid, readings: Readings) -> Scans | None:
    """The scans among the readings; None where few of them lie in one, or there are few."""
    sensors, count = grid.sensors, len(readings)
    if sensors == 1 or count < sensors:
        return None
    least_share = LEAST_SHARE if count >= FEW_READINGS else 1.0
    head = heads_of_neighbours(readings.slot, readings.time)
    head = head[np.diff(head, append=count) == sensors]
    if len(head) * sensors < least_share * count:
        return None
    values, complete = _by_sensor(readings, head, sensors)
    if not complete.all():
        head, values = head[complete], values[complete]
    before = np.zeros(count, np.bool_)
    if len(head) * sensors < count:
        others = np.ones(count, np.bool_)
        others[head[:, None] + np.arange(sensors)] = False
        before, uncut = _parted(grid, readings.slot, head, np.flatnonzero(others))
        if not uncut.all():
            head, values = head[uncut], values[uncut]
    rows = Records(
        slot=readings.slot[head],
        place=readings.record[head + sensors - 1],
        contents=WholeRows(readings.time[head], values),
        begin=readings.record[head],
    )
    return Scans(rows, head, before)


def _by_sensor(readings: Readings, head: Ints, sensors: int) -> tuple[Floats, Bools]:
    """(S, F) values of as many readings from each head on, and (S,) whether each sensor is among them."""
    if len(head) * sensors == len(readings):
        sensor, value = readings.sensor.reshape(-1, sensors), readings.value.reshape(-1, sensors)
    else:
        among = head[:, None] + np.arange(sensors)
        sensor, value = readings.sensor[among], readings.value[among]
    if (sensor == np.arange(sensors)).all():
        return value, np.ones(len(head), np.bool_)
    # An event has no sensor: it goes into a column of its own.
    values, told = np.empty((len(head), sensors + 1)), np.zeros((len(head), sensors + 1), np.bool_)
    row = np.arange(len(head))[:, None]
    values[row, sensor], told[row, sensor] = value, True
    return values[:, :sensors], np.asarray(told[:, :sensors].all(axis=1))


def _parted(grid: Grid, slot: Ints, head: Ints, others: Ints) -> tuple[Bools, Bools]:
    """(N,) which readings come before the first scan of their slot; (S,) which scans come before any of the `others`
    that comes after it."""
    first, cut = np.full(grid.capacity, len(slot)), np.full(grid.capacity, len(slot))
    # Of several assignments the last one stays, hence from the back.
    first[slot[head][::-1]] = head[::-1]
    early = others < first[slot[others]]
    before = np.zeros(len(slot), np.bool_)
    before[others[early]] = True
    late = others[~early]
    cut[slot[late][::-1]] = late[::-1]
    return before, head < cut[slot[head]]
