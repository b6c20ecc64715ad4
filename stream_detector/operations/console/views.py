"""The console's content as plain values, and the protocol of whoever serves it.

All times are epoch seconds. Event times are the plant's; `received_at` is the wall clock of the detector when the
newest step of an asset closed, or the step's own time where it closed before this detector saw it, so that a page can
tell old data from fresh also after a restart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from stream_detector.messages import Alarm, Feedback, Priority
from stream_detector.operations.alarms.precedents import Precedent
from stream_detector.operations.console.answers import SetAside

Floats = npt.NDArray[np.float32]
RecordsState = Literal["reading", "live", "lost"]


class SensorShare(Struct, frozen=True):
    """One sensor's part in the newest evidence; `value` and `expected` in the sensor's units, None = not known."""

    sensor: str
    share: float
    value: float | None
    expected: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """An asset after its newest closed step, as the detector sees it.

    `time` is the end of that step. `values` and `expected` hold one number a sensor, in the order of `sensors`, NaN =
    missing; they may be empty where only the top sensors are known. `score` is None while there is nothing to score.
    `not_running`: the machine stands or starts up, and its steps are not judged. `scale_steps_wanted`: not 0 where its
    scale is still learnt from its own steps, `scale_steps` so far; it is provisional until then. `silent`: nothing of
    it has come since another bundle decided, and `time` is that of its last reading.
    """

    asset: str
    time: float
    step_seconds: float
    score: float | None
    threshold: float
    probability: float | None
    alarm: bool
    degraded: int
    warming_up: bool
    bundle: str
    top_sensors: tuple[SensorShare, ...] = ()
    sensors: tuple[str, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty(0, dtype=np.float32), compare=False)
    expected: Floats = field(default_factory=lambda: np.empty(0, dtype=np.float32), compare=False)
    not_running: bool = False
    scale_steps: int = 0
    scale_steps_wanted: int = 0
    silent: bool = False

    @property
    def ratio(self) -> float | None:
        """Probability (or score, where there is none) divided by its threshold: an alarm is up above 1.

        None also where no threshold pays.
        """
        value = self.score if self.probability is None else self.probability
        return value / self.threshold if value is not None and 0 < self.threshold < math.inf else None


class AssetView(Struct, frozen=True):
    """One asset at a glance. `recent` are the newest ratios, oldest first. `shelved_until`: None = not shelved.

    `worker` None = this one holds it; empty = it was this one's and no other has told anything of it. Another worker
    tells of it every `again_within` seconds. `scale_steps`, `scale_steps_wanted`: as in `Sample`.
    """

    asset: str
    state: str
    time: float
    received_at: float
    step_seconds: float
    ratio: float | None
    score: float | None
    threshold: float
    probability: float | None
    degraded: int
    sensors: int
    bundle: str
    top_sensors: Sequence[SensorShare]
    recent: Sequence[float | None]
    shelved_until: float | None
    out_of_service: str | None
    worker: str | None = None
    again_within: float = 0.0
    scale_steps: int = 0
    scale_steps_wanted: int = 0


class OpenCounts(Struct, frozen=True):
    """How many alarms are up: `told` to people, `unanswered` of them by nobody answered; those `aside` are quiet."""

    told: int
    unanswered: int
    aside: int


class Tag(Struct, frozen=True):
    """What a sensor or an asset is, by the plant's list; empty = the list does not say."""

    description: str = ""
    unit: str = ""
    area: str = ""


class PlantView(Struct, frozen=True):
    """What does not change while the detector runs."""

    site: str = ""
    currency: str = ""
    tags: Mapping[str, Tag] = {}


class SensorTrace(Struct, frozen=True):
    """A sensor's values against what the model expected, at the times of the series; None = missing."""

    sensor: str
    share: float
    value: Sequence[float | None]
    expected: Sequence[float | None]


class Series(Struct, frozen=True):
    """The history of one asset, oldest first; all sequences have the length of `time`."""

    asset: str
    step_seconds: float
    time: Sequence[float]
    ratio: Sequence[float | None]
    probability: Sequence[float | None]
    alarm: Sequence[bool]
    events: Sequence[float]
    traces: Sequence[SensorTrace]


class AlarmView(Struct, frozen=True):
    """An alarm with what people have said about it. `judgement` is `real`, `false-alarm` or None.

    `acted_at`: when somebody acted on it, ISO 8601; None: nobody said so.
    """

    alarm: Alarm
    acknowledged_by: str | None
    acknowledged_at: str | None
    judgement: str | None
    priority: Priority
    action: str
    """What to do, in the words of the notifications; empty where nobody gives them."""
    outcome: str
    """`open`, `caught` (an event followed in its lead window) or `none followed`."""
    acted_at: str | None = None


class LedgerView(Struct, frozen=True):
    """What was caught, missed and saved: totals, and the same by asset, as `ledger.report.Tally` counts them.

    `since`: event time (epoch seconds) of the oldest alarm or event that is counted; None where there is none.
    """

    since: float | None
    total: dict[str, Any]
    by_asset: Sequence[dict[str, Any]]
    events: Sequence[dict[str, Any]]
    challenger: dict[str, Any] | None = None
    """Bundle, since, and both tallies with their difference; None where nothing decides beside the champion."""


class UnknownView(Struct, frozen=True):
    """Readings on the bus that are about other things than the bundle, and the newest of their names."""

    readings: int = 0
    sensors: Sequence[str] = ()
    assets: Sequence[str] = ()


class WorkerView(Struct, frozen=True):
    """The detector itself. `notice` says what an operator must know, e.g. that history is being read back.

    `records` says what is known of alarms and answers: `reading` = their topics have not been read to the end yet, so
    one may be missing; `live`; `lost` = the brokers do not answer, so newer ones cannot be seen.
    `unknown`: what the policies for unknown names passed over. `partitions` of `all_partitions` are this worker's;
    `others`: the other workers' assets are told to this one. `expects_changes`: the bundles that read differences, so
    that what they expect of a step follows from the value before, and is wild itself where that was.
    """

    instance: str
    version: str
    started_at: float
    bundle: str
    recipe: str
    ready: bool
    notice: str | None = None
    records: RecordsState = "live"
    unknown: UnknownView = UnknownView()
    partitions: int = 0
    all_partitions: int = 0
    others: bool = True
    expects_changes: tuple[str, ...] = ()


class ConsoleSource(Protocol):
    """The source of the page. Calls are quick and come from the thread of the web server."""

    def version(self) -> int:
        """A number that grows whenever something changed."""

    def records_version(self) -> int:
        """The same, for alarms, events and feedback alone: the part that is not sent with every step."""

    def names(self, since_version: int = 0) -> Sequence[str] | None:
        """All assets, if that changed after `since_version`; None = it did not."""

    def worker(self) -> WorkerView:
        """The detector itself."""

    def assets(self, since_version: int = 0) -> Sequence[AssetView]:
        """Assets that changed after `since_version`, by name."""

    def asset(self, name: str) -> AssetView | None:
        """One asset; None = unknown."""

    def series(self, asset: str, since: float, until: float | None, sensors: Sequence[str]) -> Series | None:
        """History of one asset with the traces of these sensors (none named: its top sensors); None = unknown asset."""

    def alarms(self, limit: int = 200) -> Sequence[AlarmView]:
        """Open alarms first, of them those that nobody has answered, then the newest ones."""

    def open_counts(self) -> OpenCounts:
        """How many alarms are up, however many `alarms` returns."""

    def precedents(self, alarm_id: str) -> Sequence[Precedent]:
        """The past alarms that most resemble one, with what became of them."""

    def ledger(self) -> LedgerView:
        """The ledger as it stands."""

    def has_alarm(self, asset: str, alarm_id: str) -> bool:
        """Whether the asset had this alarm, as far as is remembered."""

    def set_aside(self) -> Sequence[SetAside]:
        """The assets whose alarms nobody is told of, by name."""

    async def send(self, feedback: Feedback) -> None:
        """Writes to the topic of feedback; returns when the broker has acknowledged it.

        Raises:
            StreamDetectorError: it could not be written.
        """
