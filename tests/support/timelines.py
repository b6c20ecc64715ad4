"""Timelines of docs/event-time.md: records drawn as text, and what the engine says of each."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from stream_detector.detection.config import (
    CostConfig,
    EpisodeConfig,
    FleetConfig,
    GridConfig,
    LeadConfig,
    OperatingConfig,
    ScalerConfig,
    SuppressionConfig,
    SuppressionRule,
    TransformConfig,
    WindowConfig,
)
from stream_detector.detection.fleet.fleet import Fleet
from stream_detector.detection.scaling import Scaler
from stream_detector.detection.scoring import ScoredWindows
from stream_detector.detection.window_rows import WindowRows
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Outcome, RecordBatch

DAY = datetime(2026, 5, 1, tzinfo=UTC).timestamp()
THRESHOLD = 5.0
COLUMNS = re.compile(r"^(\S+)\s\s+(.*?)(?:\s\s+(.*))?$")


class LargestValue:
    """The score is the largest (scaled) value of the newest step; 0 where every sensor is masked."""

    def score(self, windows: WindowRows, scaler: Scaler | None = None) -> ScoredWindows:
        newest = windows.newest if scaler is None else scaler.apply(windows.values)[:, -1]
        errors = np.where(np.isnan(newest), 0.0, newest)
        return ScoredWindows(errors.max(axis=1), errors, np.full_like(errors, np.nan))


@dataclass(frozen=True)
class Timeline:
    """`settings` as the first line draws them; `records`: (time of day, what is sent, what the page says of it)."""

    title: str
    settings: dict[str, str]
    records: list[tuple[str, str, str]]


def timelines(page: str) -> list[Timeline]:
    """The fenced blocks called `timeline`, titled by the heading above."""
    found = []
    for block in re.finditer(r"```timeline\n(.*?)```", page, re.DOTALL):
        title = re.findall(r"^#+ (.*)$", page[: block.start()], re.MULTILINE)[-1]
        first, *lines = block.group(1).strip().splitlines()
        settings = dict(part.strip().split(" ", 1) for part in first.split(","))
        records = []
        for line in lines:
            columns = COLUMNS.match(line)
            assert columns is not None, f"a line of {title!r} has no two columns: {line!r}"
            records.append((columns.group(1), columns.group(2), columns.group(3) or ""))
        found.append(Timeline(title, settings, records))
    return found


def spec_of(settings: dict[str, str]) -> DetectorSpec:
    given = dict(settings)

    def number(name: str, default: float) -> float:
        return float(given.pop(name, str(default)).removesuffix(" s"))

    sensors = tuple(given.pop("sensors").split())
    grid: dict[str, Any] = {
        "kind": given.pop("kind", "time"),
        "close": given.pop("close", "complete"),
        "step_seconds": number("step", 60.0),
        "lateness_seconds": number("lateness", 0.0),
        "staleness_steps": int(number("staleness", 2)),
        "max_gap_steps": int(number("gap", 0)),
        "max_future_seconds": number("future", 21_600.0),
    }
    window: dict[str, Any] = {"steps": int(number("window", 1)), "stride": int(number("stride", 1))}
    if "shortest" in given:
        window["min_steps"] = int(number("shortest", 1))
    episode = EpisodeConfig(
        hold_steps=int(number("hold", 1)), max_steps=int(number("max", 30)), rest_steps=int(number("rest", 0))
    )
    when, start_up = given.pop("runs", None), int(number("start-up", 0))
    operating = None if when is None else OperatingConfig(when=when, hold_steps=start_up).rule(sensors)
    fleet = fleet_of(given.pop("fleet"), len(sensors)) if "fleet" in given else None
    silent = given.pop("silent", None)
    rules = None if silent is None else SuppressionConfig(rules=(SuppressionRule(sensors=silent),)).for_sensors(sensors)
    assert not given, f"a timeline has settings that nobody reads: {given}"
    return DetectorSpec(
        bundle_id="0123456789abcdef", recipe="timeline", assets="*", sensors=sensors, grid=GridConfig(**grid),
        window=WindowConfig(**window), lead=LeadConfig(), episode=episode, costs=CostConfig(), threshold=THRESHOLD,
        scorer=LargestValue(), operating=operating, suppression=rules, fleet=fleet,
    )  # fmt: skip


def fleet_of(text: str, sensors: int) -> Fleet:
    """ "2 of 4": a scale after 2 steps, fixed after 4. No machine is known."""
    least, provisional = map(int, text.split(" of "))
    none = np.empty((0, sensors))
    config = FleetConfig(provisional_steps=provisional, least_steps=least)
    usual = Scaler(np.zeros(sensors), np.ones(sensors))
    return Fleet(config, ScalerConfig(), TransformConfig(), {}, none, none, usual)


def played(timeline: Timeline) -> list[tuple[str, str, str]]:
    """The same records, with what the engine says of each."""
    spec = spec_of(timeline.settings)
    engine = Engine(spec, keep_steps=True)
    found, held = [], 0
    for offset, (clock, what, _) in enumerate(timeline.records):
        value = orjson.dumps(_message(clock, what))
        outcome = engine.process(RecordBatch("plant.readings", 0, [offset], [b"m"], [value], [-1]))
        found.append((clock, what, said_of(outcome, spec, held)))
        held = outcome.counts.held
    return found


def _message(clock: str, what: str) -> dict[str, Any]:
    hours, minutes, seconds = clock.split(":")
    message: dict[str, Any] = {"time": DAY + int(hours) * 3600 + int(minutes) * 60 + float(seconds)}
    if what == "event":
        return message | {"event": "break"}
    values: dict[str, float | None] = {}
    for word in what.split():
        sensor, _, value = word.partition("=")
        values[sensor] = None if value == "null" else float(value or 1)
    return message | {"values": values}


def said_of(outcome: Outcome, spec: DetectorSpec, held_before: int) -> str:
    """One record's outcome in the words of the page."""
    counts, closed, words = outcome.counts, outcome.closed, []
    # Those that became dead letters with this record are held no more.
    held = counts.held - held_before + (counts.dead_lettered if held_before else 0)
    for count, word in (
        (held, "held"),
        (counts.windowed, "windowed"),
        (counts.late, "late"),
        (counts.duplicate, "duplicate"),
        (counts.dead_lettered, "dead letter"),
    ):
        if count > 0:
            words.append(word if count == 1 else f"{count} {word}")
    words += ["warming up"] * closed.warming_up + ["event step"] * closed.event + ["off stride"] * closed.off_stride
    words += ["all masked"] * closed.masked + ["not running"] * closed.not_running
    for steps in outcome.steps:
        for step, masked in zip(steps.step.tolist(), steps.degraded.tolist(), strict=True):
            clock = _clock(step * spec.grid.step_seconds)
            words.append(f"{clock} scored" + (f" without {masked}" if masked else ""))
    for alarm in outcome.alarms:
        at = alarm.raised_at if alarm.state == "raised" else alarm.cleared_at
        assert at is not None
        provisional = " provisional" if alarm.provisional and alarm.state == "raised" else ""
        words.append(f"{alarm.state} {_clock(datetime.fromisoformat(at).timestamp())}{provisional}")
    return ", ".join(words)


def _clock(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def drawn(records: list[tuple[str, str, str]]) -> str:
    """Records as the page draws them."""
    width = max(len(what) for _, what, _ in records)
    return "\n".join(f"{clock}  {what:{width}}  {said}".rstrip() for clock, what, said in records)
