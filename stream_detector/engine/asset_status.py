"""The live assets of partitions as they stand, for gauges and the console."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from stream_detector.detection.attribution import shares, top_of_each
from stream_detector.engine.outcome import AssetStatus
from stream_detector.engine.partition import Partition


def statuses(partitions: Iterable[tuple[int, Partition]], detailed: int | None = None) -> list[AssetStatus]:
    """Every live asset; those with an alarm up come first. `partitions`: with their numbers.

    detailed: so many of the first have `top_shares`, `newest` and `expected`, which cost most of the time; the others
    have none. None: all.
    """
    found = [(partition, *pair) for number, partition in partitions for pair in _status(number, partition)]
    found.sort(key=lambda each: not each[2].alarm_open)
    told = found if detailed is None else found[:detailed]
    # Of a whole partition at once: asset by asset it takes ten times as long.
    slots: dict[Partition, list[int]] = {}
    for partition, slot, _ in told:
        slots.setdefault(partition, []).append(slot)
    details = {partition: iter(_details(partition, mine)) for partition, mine in slots.items()}
    return [
        *(replace(status, **next(details[partition])) for partition, _, status in told),
        *(status for _, _, status in found[len(told) :]),
    ]


_NONE_KNOWN = np.empty(0, np.float32)


def _status(number: int, partition: Partition) -> list[tuple[int, AssetStatus]]:
    """(slot, status without details) of every asset; columns at once, since there may be 100,000 rows."""
    grid, latest, spec, assets = partition.grid, partition.decider.latest, partition.spec, partition.assets.by_slot
    slots = np.fromiter(assets, np.int64, len(assets))
    warming_up = grid.positions.last[slots] - grid.positions.run_start[slots] + 1 < spec.window.shortest
    provisional, steps_wanted = np.zeros(len(slots), np.bool_), 0
    scales = partition.decider.scales
    if scales is not None:
        warming_up |= ~scales.is_ready(slots)
        provisional = scales.is_learning(slots)
        steps_wanted = scales.fleet.config.provisional_steps
    columns = (
        grid.positions.watermark[slots].tolist(),
        latest.score[slots].tolist(),
        latest.probability[slots].tolist(),
        latest.degraded[slots].tolist(),
        warming_up.tolist(),
        grid.positions.not_running[slots].tolist(),
        (grid.positions.next_step[slots] * grid.steps.step_seconds).tolist(),
        np.where(np.isnan(latest.score[slots]), np.nan, (latest.step[slots] + 1) * grid.steps.step_seconds).tolist(),
        provisional.tolist(),
    )
    return [
        (
            slot,
            AssetStatus(
                asset=assets[slot].name,
                partition=number,
                watermark=watermark,
                score=score,
                probability=probability,
                threshold=spec.threshold_of(assets[slot].name),
                alarm_open=partition.decider.states[slot].alarm is not None,
                degraded=degraded,
                warming_up=is_warming_up and not not_running,
                top_shares=[],
                scored_until=scored_until,
                newest=_NONE_KNOWN,
                expected=_NONE_KNOWN,
                not_running=not_running,
                closed_until=closed_until,
                provisional=is_provisional,
                scale_steps=scales.steps_seen(slot) if scales is not None and is_provisional else 0,
                scale_steps_wanted=steps_wanted if is_provisional else 0,
            ),
        )
        for (
            slot,
            watermark,
            score,
            probability,
            degraded,
            is_warming_up,
            not_running,
            closed_until,
            scored_until,
            is_provisional,
        ) in zip(assets, *columns, strict=True)
    ]


def _details(partition: Partition, slots: list[int]) -> Iterator[dict[str, Any]]:
    """Of each of these slots what the newest score says of its sensors."""
    latest, sensors = partition.decider.latest, partition.spec.sensors
    parts = shares(latest.attribution[slots].astype(np.float64))
    for slot, row, leading in zip(slots, parts, top_of_each(parts), strict=True):
        yield {
            "top_shares": [(sensors[sensor], float(row[sensor])) for sensor in leading],
            "newest": latest.newest[slot].copy(),
            "expected": latest.expected[slot].copy(),
        }
