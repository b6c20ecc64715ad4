"""What workers tell each other's consoles: how each asset stands, in turns, so that a large plant costs no more."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stream_detector.messages import AssetGlance, TopSensor, from_iso, to_iso
from stream_detector.operations.console.views import Sample, SensorShare

SHORTEST_SECONDS = 5.0
MOST_A_SECOND = 500
"""Glances of one worker: every console of the group reads those of all workers."""

TOP_SENSORS = 3


class Held(NamedTuple):
    """An asset of this worker; `received_at` is epoch seconds of the wall clock."""

    sample: Sample
    received_at: float


class Turns:
    """Says whose turn it is: what changed in its alarm at once, everything else that is new every few seconds.

    Args:
        worker: the name of this worker.
        clock: wall clock in epoch seconds.
    """

    def __init__(self, worker: str, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._clock = clock
        self._told: dict[str, tuple[float, Sample]] = {}

    def due(self, held: Iterable[Held]) -> list[AssetGlance]:
        """Glances to be sent now, at most `MOST_A_SECOND`; those that were returned count as sent."""
        now = self._clock()
        assets = {one.sample.asset: one for one in held}
        self._told = {name: told for name, told in self._told.items() if name in assets}
        every = max(SHORTEST_SECONDS, len(assets) / MOST_A_SECOND)
        found = []
        for name, one in assets.items():
            at, told = self._told.get(name, (-1e18, None))
            if told is None or told.alarm != one.sample.alarm:
                found.append((0, at, one))
            elif told != one.sample and now - at >= every:
                found.append((1, at, one))
        found.sort(key=lambda entry: (entry[0], not entry[2].sample.alarm, entry[1]))
        chosen = [one for _, _, one in found[:MOST_A_SECOND]]
        self._told |= {one.sample.asset: (now, one.sample) for one in chosen}
        return [self._glance(one, every) for one in chosen]

    def forget(self, glances: Sequence[AssetGlance]) -> None:
        """These could not be sent."""
        for glance in glances:
            self._told.pop(glance.asset, None)

    def _glance(self, held: Held, every: float) -> AssetGlance:
        sample = held.sample
        return AssetGlance(
            asset=sample.asset,
            worker=self._worker,
            time=to_iso(sample.time),
            received_at=to_iso(held.received_at),
            step_seconds=sample.step_seconds,
            score=sample.score,
            threshold=sample.threshold if math.isfinite(sample.threshold) else None,
            probability=sample.probability,
            alarm=sample.alarm,
            degraded=sample.degraded,
            warming_up=sample.warming_up,
            sensors=len(sample.sensors),
            bundle=sample.bundle,
            top_sensors=[
                TopSensor(
                    sensor=top.sensor, share=min(1.0, max(0.0, top.share)), value=top.value, expected=top.expected
                )
                for top in sample.top_sensors[:TOP_SENSORS]
            ],
            again_within=every,
            not_running=sample.not_running,
            scale_steps=sample.scale_steps,
            scale_steps_wanted=sample.scale_steps_wanted,
            silent=sample.silent,
        )


def sample_of(glance: AssetGlance) -> Sample:
    """The asset as the console keeps it; it has no values but those of its top sensors."""
    return Sample(
        asset=glance.asset,
        time=from_iso(glance.time),
        step_seconds=glance.step_seconds,
        score=glance.score,
        threshold=math.inf if glance.threshold is None else glance.threshold,
        probability=glance.probability,
        alarm=glance.alarm,
        degraded=glance.degraded,
        warming_up=glance.warming_up,
        bundle=glance.bundle,
        top_sensors=tuple(SensorShare(top.sensor, top.share, top.value, top.expected) for top in glance.top_sensors),
        not_running=glance.not_running,
        scale_steps=glance.scale_steps,
        scale_steps_wanted=glance.scale_steps_wanted,
        silent=glance.silent,
    )
