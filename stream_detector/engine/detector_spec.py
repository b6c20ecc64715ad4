"""A detector as plain values: the part of a bundle that the engine uses."""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct, field

from stream_detector.bundle.bundle import Bundle
from stream_detector.detection.config import CostConfig, EpisodeConfig, GridConfig, LeadConfig, WindowConfig
from stream_detector.detection.fleet.fleet import Fleet
from stream_detector.detection.head.head import Head
from stream_detector.detection.operating import OperatingRule
from stream_detector.detection.scaling import Scaler
from stream_detector.detection.scoring import ScoredWindows
from stream_detector.detection.suppression import SuppressionRules
from stream_detector.detection.window_rows import WindowRows


class WindowScorer(Protocol):
    """Scores windows, NaN = masked; the result of a window does not depend on the others.

    scaler: one row a window, in place of its own; asked of detectors of a fleet alone.
    """

    def score(self, windows: WindowRows, scaler: Scaler | None = None) -> ScoredWindows: ...


class DetectorSpec(Struct, frozen=True):
    """One detector. `threshold` applies to the score, or to the probability where there is a head. `own_thresholds`: by
    name, of machines of a fleet that have another one.

    `marks`: what its alarms are about: events that are to come, or states that last. `operating`: when the machine
    runs; None: always. `suppression`: what raises nothing though it is above the threshold. `fleet`: the scale of each
    machine; None: all have the scorer's.
    """

    bundle_id: str
    recipe: str
    assets: str
    sensors: tuple[str, ...]
    grid: GridConfig
    window: WindowConfig
    lead: LeadConfig
    episode: EpisodeConfig
    costs: CostConfig
    threshold: float
    scorer: WindowScorer
    head: Head | None = None
    marks: Literal["events", "states"] = "events"
    operating: OperatingRule | None = None
    suppression: SuppressionRules | None = None
    fleet: Fleet | None = None
    own_thresholds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, bundle: Bundle) -> "DetectorSpec":
        manifest = bundle.manifest
        return cls(
            bundle_id=manifest.bundle_id,
            recipe=manifest.recipe,
            assets=manifest.assets,
            sensors=tuple(manifest.sensors),
            grid=manifest.grid,
            window=manifest.window,
            lead=manifest.lead,
            episode=manifest.episode,
            costs=manifest.costs,
            threshold=manifest.alarm_threshold,
            scorer=bundle.scorer,
            head=bundle.head,
            marks="states" if manifest.marks_states else "events",
            operating=manifest.operating_rule,
            suppression=manifest.suppression_rules,
            fleet=bundle.fleet,
            own_thresholds=manifest.own_thresholds,
        )

    def threshold_of(self, asset: str) -> float:
        """What an alarm about this machine needs."""
        return self.own_thresholds.get(asset, self.threshold)
