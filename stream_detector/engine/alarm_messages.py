"""Writes decisions as messages: alarms and scores."""

import hashlib
import math

import numpy as np

from stream_detector.detection.attribution import shares, top
from stream_detector.detection.grid.steps import Steps
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.outcome import ScoredSteps
from stream_detector.messages import Alarm, Costs, OperatingChange, Score, TopSensor, from_iso, to_iso

ALARM_ID_DIGITS = 24


class AlarmMessages:
    """Writes alarms and scores; the same decision is always the same message."""

    def __init__(self, spec: DetectorSpec, steps: Steps) -> None:
        self._spec = spec
        self._steps = steps
        self._costs = Costs(**spec.costs.model_dump())

    def raised(
        self, asset: str, id_term: int, step: int, found: ScoredSteps, place: int, renewed_from: Alarm | None = None
    ) -> Alarm:
        """The alarm that result `place` raises at `step`; its id is a function of asset, step, bundle, term.

        id_term: counts the changes of bundle in the asset's partition. What a bundle said and could not commit before
        another one took over was withdrawn; should it come back and decide anew on the same steps, those are other
        alarms.

        One that goes on from another is held back where that was: what prevents an event is told or not told as one.
        """
        spec = self._spec
        term = f"\0{id_term}" if id_term else ""
        name = f"{asset}\0{step}\0{spec.bundle_id}{term}".encode()
        alarm_id = hashlib.sha256(name).hexdigest()[:ALARM_ID_DIGITS]
        drawn = is_held_back(alarm_id, spec.episode.held_back_share)
        return Alarm(
            id=alarm_id,
            asset=asset,
            state="raised",
            raised_at=self._start_of(step),
            expected_from=self._start_of(step + spec.lead.from_steps),
            expected_until=self._start_of(step + spec.lead.until_steps),
            probability=self._probability(found, place),
            score=float(found.score[place]),
            threshold=spec.threshold_of(asset),
            top_sensors=self._top_sensors(found, place),
            bundle=spec.bundle_id,
            recipe=spec.recipe,
            costs=self._costs,
            step_seconds=spec.grid.step_seconds,
            marks=spec.marks,
            held_back=drawn if renewed_from is None else renewed_from.held_back,
            provisional=bool(found.provisional[place]),
        )

    def operating(self, asset: str, step: int, *, running: bool) -> OperatingChange:
        """From this step on the machine runs, or does not."""
        spec = self._spec
        return OperatingChange(
            asset=asset,
            time=self._start_of(step),
            running=running,
            step_seconds=spec.grid.step_seconds,
            lead_from_steps=spec.lead.from_steps,
            lead_until_steps=spec.lead.until_steps,
            bundle=spec.bundle_id,
        )

    def cleared(self, alarm: Alarm, step: int) -> Alarm:
        """The same alarm, cleared at `step`."""
        return alarm.model_copy(update={"state": "cleared", "cleared_at": self._start_of(step)})

    def score(self, asset: str, step: int, found: ScoredSteps, place: int) -> Score:
        """Result `place`, of `step`."""
        threshold = self._spec.threshold_of(asset)
        return Score(
            asset=asset,
            time=self._start_of(step),
            score=float(found.score[place]),
            threshold=threshold if math.isfinite(threshold) else None,
            probability=self._probability(found, place),
            alarm=bool(found.above[place]),
            degraded=int(found.degraded[place]),
            top_sensors=self._top_sensors(found, place),
            bundle=self._spec.bundle_id,
        )

    def _start_of(self, step: int) -> str:
        return to_iso(self._steps.start_of(step))

    def _probability(self, found: ScoredSteps, place: int) -> float | None:
        return _or_none(found.probability[place])

    def _top_sensors(self, found: ScoredSteps, place: int) -> list[TopSensor]:
        parts = shares(found.attribution[place])
        return [
            TopSensor(
                sensor=self._spec.sensors[sensor],
                share=min(1.0, float(parts[sensor])),
                value=_or_none(found.newest[place, sensor]),
                expected=_or_none(found.expected[place, sensor]),
            )
            for sensor in top(parts)
        ]


def is_held_back(alarm_id: str, share: float) -> bool:
    """Whether the lot falls on this alarm; the same wherever and whenever it is drawn.

    >>> [is_held_back("7b1c", share) for share in (0.0, 0.1, 0.9)]
    [False, False, True]
    """
    lot = int.from_bytes(hashlib.sha256(f"held back\0{alarm_id}".encode()).digest()[:8], "big")
    return lot < share * 2.0**64


def withdrawn(alarm: Alarm) -> Alarm:
    """The raised alarm, cleared because nobody decides on it any longer: another bundle does, or the asset has moved.

    It ends with its lead window, at least a step after it was raised: a function of the raised alarm alone, so that
    whoever says it says the same.
    """
    ended = max(from_iso(alarm.expected_until), from_iso(alarm.raised_at) + alarm.step_seconds)
    return alarm.model_copy(update={"state": "cleared", "cleared_at": to_iso(ended)})


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
