"""The engine's obvious twin: one record, one reading, one step at a time, with dictionaries that never forget.

It follows the rules of docs/event-time.md word by word and is as slow as they sound. Only the messages that
`tests/engine/test_engine.py` sends are decoded here; `tests/decoding/test_decoding.py` is about the others.
"""

import ast
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import numpy as np

from stream_detector.decoding.event_times import EARLIEST, LATEST
from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.detection.fleet.own_scale import own_scale
from stream_detector.detection.head.head import StepInput
from stream_detector.detection.scaling import Scaler
from stream_detector.detection.window_rows import WindowRows
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import RecordBatch
from stream_detector.messages import to_epoch_seconds, to_iso

SWEEPS = 8
KEPT_STEPS = 256


@dataclass
class Found:
    """Everything as plain values, to be compared with an `Outcome`."""

    alarms: list[tuple[Any, ...]] = field(default_factory=list)
    scores: list[tuple[Any, ...]] = field(default_factory=list)
    dead_letters: list[tuple[int, str]] = field(default_factory=list)
    snapshots: dict[str, Any] = field(default_factory=dict)
    windowed: int = 0
    late: int = 0
    duplicate: int = 0
    dead_lettered: int = 0
    ignored: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    held: int = 0
    not_running: int = 0


@dataclass
class Asset:
    name: str
    since: int
    watermark: float
    horizon: int
    next_step: int
    newest: int
    reached: list[tuple[int, int]]  # (step, offset of the record that first reached it)
    last_offset: int
    cells: dict[tuple[int, int], tuple[float | None, float]] = field(default_factory=dict)
    events: set[int] = field(default_factory=set)
    run_start: int = 0
    last: int | None = None  # newest closed step of the run; None: no run
    held: list[dict[str, Any]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    alarm: dict[str, Any] | None = None
    ended: int | None = None  # step that cleared the last alarm
    head: Any = None
    floor: int | None = None  # first step that its life before an eviction left undecided
    stands: bool = False
    stood: int | None = None  # newest step in which the machine stood
    first_steps: list[np.ndarray] = field(default_factory=list)  # of a machine that training never saw
    changed: bool = True


def cell(found: Any, quality: str = "good") -> tuple[float | None, str | None]:
    if quality != "good":
        return None, "bad-quality"
    if isinstance(found, str):
        return None, "number-as-text" if found.replace(".", "").isdecimal() else "text"
    if isinstance(found, bool):
        return None, "boolean"
    if found is None or math.isfinite(found):
        return found, None
    return None, "not-finite"


class NaiveEngine:
    def __init__(self, rules: DetectorSpec, limits: Limits, policies: UnknownPolicies = IGNORING) -> None:
        self.policies = policies
        self.rules = rules
        self.limits = limits
        self.assets: dict[str, Asset] = {}
        # Evicted assets: the first step that was not decided, and their first steps.
        self.departed: dict[str, tuple[int, list[np.ndarray]]] = {}
        self.previous_offset: int | None = None
        grid = rules.grid
        self.step = grid.step_seconds
        self.late_steps = 1 + math.ceil(grid.lateness_seconds / self.step - 1e-9)
        self.silent = max(grid.staleness_steps, self.late_steps)
        self.history = rules.window.steps + self.silent
        self.memory = self.history + 2 * (self.silent + self.late_steps) + grid.max_gap_steps + 2
        self.furthest_ahead = max(grid.max_future_seconds, (grid.max_gap_steps + 3) * self.step)
        self.sensors = range(len(rules.sensors))
        self.out = Found()

    # --- time -------------------------------------------------------------------------------------------------------

    def step_of(self, time: float) -> int:
        if self.rules.grid.kind == "samples":
            return math.floor(time / self.step + 0.5)
        return math.floor((time + 1e-6) / self.step)

    def horizon_of(self, time: float) -> int:
        if self.rules.grid.kind == "samples":
            return self.step_of(time) - (self.late_steps - 1)
        return math.floor((time + 1e-6 - self.rules.grid.lateness_seconds) / self.step)

    # --- records ----------------------------------------------------------------------------------------------------

    def process(self, batch: RecordBatch) -> Found:
        self.out = Found()
        evicted: dict[str, Any] = {}
        for offset, key, value, timestamp in zip(
            batch.offsets, batch.keys, batch.values, batch.timestamps_ms, strict=True
        ):
            before = len(self.out.dead_letters)
            every = max(1, self.limits.evict_after_records // SWEEPS)
            if self.previous_offset is not None and offset // every > self.previous_offset // every:
                evicted.update(self.evict(offset // every * every))
            self.record(offset, key, value, timestamp)
            self.out.dead_letters[before:] = sorted(self.out.dead_letters[before:])
            self.previous_offset = offset
        self.out.snapshots = dict(evicted)
        for asset in self.assets.values():
            if asset.changed:
                self.out.snapshots[asset.name] = self.snapshot(asset)
                asset.changed = False
        self.out.held = sum(held["count"] for asset in self.assets.values() for held in asset.held)
        return self.out

    def snapshot(self, asset: Asset) -> dict[str, Any]:
        return {
            "since": asset.since,
            "refused": list(asset.refused),
            "held": [held["offset"] for held in asset.held],
            "alarm": None if asset.alarm is None else asset.alarm["step"],
            "ended": asset.ended,
            "head": None if self.rules.head is None else self.rules.head.dump(asset.head),
            "scale": self.scale_bytes(asset),
            "stands": asset.stands,
            "stood": asset.stood,
            "floor": asset.floor,
        }

    def low(self) -> int | None:
        needed = []
        for asset in self.assets.values():
            oldest = asset.next_step - self.memory
            needed += [min(offset for step, offset in asset.reached if step >= oldest)]
            needed += [held["offset"] for held in asset.held]
        return min(needed, default=None)

    def dead_letter(self, offset: int, reason: str, readings: int) -> None:
        self.out.dead_letters.append((offset, reason))
        self.out.dead_lettered += readings

    def unknown(self, offset: int, reason: str, readings: int) -> None:
        if (self.policies.sensors if reason == "unknown-sensor" else self.policies.assets) == "dead-letter":
            self.dead_letter(offset, reason, readings)
        else:
            self.out.ignored += readings

    def record(self, offset: int, key: bytes | None, value: bytes | None, timestamp: int) -> None:
        if value is None:
            return self.dead_letter(offset, "tombstone", 1)
        try:
            message = json.loads(value)
        except ValueError:
            return self.dead_letter(offset, "malformed", 1)
        if not isinstance(message, dict) or "time" not in message:
            return self.dead_letter(offset, "malformed", 1)
        key_name = message.get("asset") or (key or b"").decode()
        if "readings" in message:
            return self.several(offset, message, key_name, timestamp)
        readings: list[tuple[str | None, float, float | None]] = []
        time = message["time"]
        reasons: list[str | None] = []
        if "event" in message:
            readings.append((None, time, None))
        elif "value" in message:
            number, reason = cell(message["value"], message.get("quality", "good"))
            readings.append((message["sensor"], time, number))
            reasons.append(reason)
        elif "step_seconds" in message:
            for index, sample in enumerate(message["values"]):
                number, reason = cell(sample)
                readings.append((message["sensor"], time + index * message["step_seconds"], number))
                reasons.append(reason)
        else:
            for sensor, sample in message["values"].items():
                number, reason = cell(sample)
                readings.append((sensor, time, number))
                reasons.append(reason)
        count = 0 if "event" in message else len(readings)
        name, names = key_name, self.rules.sensors
        if name and not self.is_ours(name):
            return self.unknown(offset, "unknown-asset", count)
        unknown = [reading for reading in readings if reading[0] is not None and reading[0] not in names]
        if unknown and len(unknown) == len(readings):
            return self.unknown(offset, "unknown-sensor", count)
        if not readings:
            return None
        if not name:
            return self.dead_letter(offset, "bad-key", count)
        if not EARLIEST <= to_epoch_seconds(time) < LATEST:
            return self.dead_letter(offset, "bad-time", count)
        if unknown:
            self.unknown(offset, "unknown-sensor", len(unknown))
        known = [
            (None if sensor is None else names.index(sensor), at, number)
            for sensor, at, number in readings
            if sensor is None or sensor in names
        ]
        for (sensor, _, _), reason in zip(readings, reasons, strict=False):
            if sensor in names and reason is not None:
                self.out.missing[reason] += 1
        return self.take(offset, name, known, timestamp)

    def is_ours(self, name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in self.limits.allowed_assets)

    def several(self, offset: int, message: dict[str, Any], key_name: str, timestamp: int) -> None:
        """Several readings in one record: those of an asset are a record of it, in the order of their times."""
        by_asset: dict[str, list[tuple[int | None, float, float | None]]] = {}
        refused: Counter[str] = Counter()
        of_sensors = 0
        for item in message["readings"]:
            name, time = item.get("asset") or key_name, item.get("time", message["time"])
            number, reason = cell(item["value"], item.get("quality", "good"))
            if name and not self.is_ours(name):
                self.unknown(offset, "unknown-asset", 1)
            elif item["sensor"] not in self.rules.sensors:
                of_sensors += 1
            elif not EARLIEST <= to_epoch_seconds(time) < LATEST:
                refused["bad-time"] += 1
            elif not name:
                refused["bad-key"] += 1
            else:
                by_asset.setdefault(name, []).append((self.rules.sensors.index(item["sensor"]), time, number))
                if reason is not None:
                    self.out.missing[reason] += 1
        if of_sensors:
            self.unknown(offset, "unknown-sensor", of_sensors)
        for why, count in refused.items():
            self.dead_letter(offset, why, count)
        for name, known in sorted(by_asset.items()):
            self.take(offset, name, sorted(known, key=lambda reading: reading[1]), timestamp)

    def take(self, offset: int, name: str, known: list[tuple[int | None, float, float | None]], timestamp: int) -> None:
        count = sum(sensor is not None for sensor, _, _ in known)
        last = max(at for _, at, _ in known)
        if last > timestamp / 1000 + self.furthest_ahead:
            return self.dead_letter(offset, "future", count)
        if name not in self.assets:
            if len(self.assets) >= self.limits.max_assets:
                return self.dead_letter(offset, "too-many-assets", count)
            floor, first_steps = self.departed.pop(name, (None, []))
            horizon = self.horizon_of(known[0][1])
            if floor is not None:
                horizon = max(horizon, floor)
            self.assets[name] = Asset(
                name, offset, last, horizon, horizon, horizon - 1, [(horizon - 1, offset)], offset, floor=floor,
                first_steps=first_steps,
            )  # fmt: skip
            if self.rules.head is not None:
                self.assets[name].head = self.rules.head.fresh()
        self.judge(self.assets[name], {"offset": offset, "last": last, "readings": known, "count": count})
        return None

    # --- rule 1 -----------------------------------------------------------------------------------------------------

    def judge(self, asset: Asset, record: dict[str, Any]) -> None:
        future = self.furthest_ahead
        if record["last"] <= asset.watermark + future:
            self.refuse(asset, list(asset.held))
            self.accept(asset, record)
            return
        self.refuse(asset, [held for held in asset.held if held["last"] > record["last"] + future])
        asset.held.append(record)
        asset.changed = True
        newest = [held["last"] for held in asset.held[-3:]]
        if len(asset.held) == 6 or (len(newest) == 3 and max(newest) - min(newest) <= future):
            held, asset.held = asset.held, []
            for each in held:
                self.accept(asset, each)

    def refuse(self, asset: Asset, refused: list[dict[str, Any]]) -> None:
        for held in refused:
            self.dead_letter(held["offset"], "future", held["count"])
            asset.refused.append(held["offset"])
            asset.held = [each for each in asset.held if each is not held]
            asset.changed = True

    def accept(self, asset: Asset, record: dict[str, Any]) -> None:
        asset.last_offset = max(asset.last_offset, record["offset"])
        for sensor, time, value in record["readings"]:
            if sensor is None:
                self.event(asset, time, record["offset"])
            else:
                self.reading(asset, sensor, time, value, record["offset"])

    # --- rules 2, 3, 4, 7 -------------------------------------------------------------------------------------------

    def advance(self, asset: Asset, time: float, offset: int) -> None:
        step = self.step_of(time)
        asset.watermark = max(asset.watermark, time)
        asset.horizon = max(asset.horizon, self.horizon_of(time))
        if step > asset.newest:
            asset.newest = step
            asset.reached.append((step, offset))
        self.close(asset)

    def reading(self, asset: Asset, sensor: int, time: float, value: float | None, offset: int) -> None:
        step = self.step_of(time)
        late = step < asset.horizon
        in_ring = step >= asset.horizon - self.history
        filled = in_ring and (step, sensor) in asset.cells
        complete = self.rules.grid.close == "complete"
        if filled and (complete or late or time == asset.cells[step, sensor][1]):
            self.out.duplicate += 1
        elif late:
            self.out.late += 1
            if in_ring:
                asset.cells[step, sensor] = (value, time)
        else:
            self.out.windowed += 1
            if not filled or time > asset.cells[step, sensor][1]:
                asset.cells[step, sensor] = (value, time)
        self.advance(asset, time, offset)

    def event(self, asset: Asset, time: float, offset: int) -> None:
        step = self.step_of(time)
        if step < asset.next_step:
            asset.last = None
            self.clear(asset, asset.next_step)
            self.end_rest(asset)
            self.advance_head(asset, step, scorable=False, event=True)
        else:
            asset.events.add(step)
        self.advance(asset, time, offset)

    # --- rules 5, 6, 7, 8 -------------------------------------------------------------------------------------------

    def reported(self, asset: Asset, step: int, sensor: int) -> bool:
        return (step, sensor) in asset.cells

    def dead(self, asset: Asset, step: int, sensor: int, run_start: int) -> bool:
        return step - run_start >= self.silent and self.fell_silent(asset, step, sensor)

    def fell_silent(self, asset: Asset, step: int, sensor: int) -> bool:
        return not any(self.reported(asset, step - age, sensor) for age in range(self.late_steps, self.silent + 1))

    def complete(self, asset: Asset, step: int) -> bool:
        if self.rules.grid.close != "complete" or step > asset.newest:
            return False
        if not any(self.reported(asset, step, sensor) for sensor in self.sensors):
            return False
        run_start = step if asset.last is None else asset.run_start
        return all(
            self.dead(asset, step, sensor, run_start)
            or all(self.reported(asset, other, sensor) for other in range(min(asset.horizon, step), step + 1)
                   if other >= asset.horizon)
            for sensor in self.sensors
        )  # fmt: skip

    def close(self, asset: Asset) -> None:
        while asset.next_step < asset.horizon or self.complete(asset, asset.next_step):
            step = asset.next_step
            asset.next_step += 1
            self.closed(asset, step)

    def closed(self, asset: Asset, step: int) -> None:
        if step in asset.events:
            self.clear(asset, step)
            self.end_rest(asset)
            asset.last = None
            self.advance_head(asset, step, scorable=False, event=True)
        elif any(self.reported(asset, step, sensor) for sensor in self.sensors):
            if self.not_running(asset, step):
                self.out.not_running += 1
                asset.last = None
                self.clear(asset, step)
                self.end_rest(asset)
                return
            if asset.last is None:
                asset.run_start = step
            asset.last = step
            self.score(asset, step)
        elif asset.last is not None and step - asset.last > self.rules.grid.max_gap_steps:
            asset.last = None
            self.clear(asset, step)
            self.end_rest(asset)

    # --- rule 10 ----------------------------------------------------------------------------------------------------

    def not_running(self, asset: Asset, step: int) -> bool:
        rule = self.rules.operating
        if rule is None:
            return False
        runs = self.truth(ast.parse(rule.condition.text, mode="eval").body, asset, step)
        asset.changed = asset.changed or runs is asset.stands
        if runs is not None:
            asset.stands = not runs
        if asset.stands:
            asset.stood = step
        return asset.stood is not None and step - asset.stood <= rule.hold_steps

    def truth(self, node: ast.expr, asset: Asset, step: int) -> bool | None:
        """True, False, or None: what is known does not tell."""
        if isinstance(node, ast.UnaryOp):
            operand = self.truth(node.operand, asset, step)
            return None if operand is None else not operand
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(part, asset, step) for part in node.values]
            decisive = isinstance(node.op, ast.Or)
            return decisive if decisive in parts else None if None in parts else not decisive
        assert isinstance(node, ast.Compare)
        sides = [self.side(side, asset, step) for side in (node.left, *node.comparators)]
        found: list[bool | None] = []
        for operation, before, after in zip(node.ops, sides, sides[1:], strict=False):
            if before is None or after is None:
                found.append(None)
            else:
                found.append(
                    {
                        ast.Lt: before < after, ast.LtE: before <= after, ast.Gt: before > after,
                        ast.GtE: before >= after, ast.Eq: before == after, ast.NotEq: before != after,
                    }[type(operation)]
                )  # fmt: skip
        return False if False in found else None if None in found else True

    def side(self, node: ast.expr, asset: Asset, step: int) -> float | None:
        if isinstance(node, ast.Name):
            sensor = self.rules.sensors.index(node.id)
            if self.fell_silent(asset, step, sensor):
                return None
            for source in range(step, step - self.rules.grid.staleness_steps - 1, -1):
                value = asset.cells.get((source, sensor), (None, 0.0))[0]
                if value is not None:
                    return value
            return None
        return float(ast.literal_eval(node))

    def window(self, asset: Asset, step: int) -> np.ndarray:
        width, oldest = self.rules.window.steps, self.rules.grid.staleness_steps
        window = np.full((width, len(self.sensors)), np.nan)
        for sensor in self.sensors:
            if self.dead(asset, step, sensor, asset.run_start):
                continue
            for row in range(width):
                at = step - width + 1 + row
                if at < asset.run_start:
                    continue
                for source in range(at, max(asset.run_start, at - oldest) - 1, -1):
                    value = asset.cells.get((source, sensor), (None, 0.0))[0]
                    if value is not None:
                        window[row, sensor] = value
                        break
        return window

    def score(self, asset: Asset, step: int) -> None:
        config = self.rules.window
        wanted = step - asset.run_start + 1 >= config.shortest and (step + 1) % config.stride == 0
        window = self.window(asset, step)
        degraded = int(np.isnan(window[-1]).sum())
        if not wanted or degraded == len(self.sensors):
            self.advance_head(asset, step, scorable=False, event=False, newest=window[-1])
            if wanted:
                self.move(asset, step, None, False)
            return
        scaler = None if self.rules.fleet is None else self.scale_of(asset)
        provisional = self.learns(asset)
        if provisional:
            self.learn(asset, window)
        if self.rules.fleet is not None and scaler is None:
            self.advance_head(asset, step, scorable=False, event=False, newest=window[-1])
            self.move(asset, step, None, False)
            return
        scored = self.rules.scorer.score(WindowRows.apart(window[None]), scaler)
        score, level = float(scored.score[0]), float(scored.score[0])
        if self.rules.head is not None:
            level = self.advance_head(asset, step, scorable=True, event=False, newest=window[-1])
        attribution = scored.attribution if self.rules.head is None else self.attribution[None]
        above = level > self.rules.threshold_of(asset.name) and not self.suppressed(
            attribution[0], window[-1], scored.expected[0]
        )
        self.move(asset, step, score, above, provisional)
        self.out.scores.append((asset.name, to_iso(step * self.step), score, above, degraded))

    def advance_head(
        self, asset: Asset, step: int, scorable: bool, event: bool, newest: np.ndarray | None = None
    ) -> float:
        if self.rules.head is None:
            return math.nan
        if newest is None:
            newest = np.full(len(self.sensors), np.nan)
        position = 0 if event else min(step - asset.run_start, self.history)
        asset.changed = True
        answer = self.rules.head.advance(
            asset.head,
            StepInput(step, step * self.step, newest, position, event, scorable),
        )
        self.attribution = answer.attribution
        return math.nan if answer.probability is None else answer.probability

    def suppressed(self, attribution: np.ndarray, newest: np.ndarray, expected: np.ndarray) -> bool:
        rules = self.rules.suppression
        if rules is None:
            return False
        spoken = whole = 0.0
        for sensor in self.sensors:
            share, deviation = max(0.0, attribution[sensor]), newest[sensor] - expected[sensor]
            silent = (
                rules.never[sensor]
                or (rules.up[sensor] and deviation < 0)
                or (rules.down[sensor] and deviation > 0)
                or abs(deviation) < rules.least[sensor]
            )
            whole += share
            spoken += 0.0 if silent else share
        return bool(spoken < rules.least_share * whole)

    # --- fleets -----------------------------------------------------------------------------------------------------

    def learns(self, asset: Asset) -> bool:
        fleet = self.rules.fleet
        if fleet is None or asset.name in fleet.machines:
            return False
        return len(asset.first_steps) < fleet.config.provisional_steps

    def learn(self, asset: Asset, window: np.ndarray) -> None:
        assert self.rules.fleet is not None
        asset.first_steps.append(self.rules.fleet.newest(window[None])[0])
        asset.changed = True

    def own(self, asset: Asset) -> tuple[np.ndarray, np.ndarray] | None:
        """Centre and scale; of a machine that training never saw as of the newest moment at which they are learnt."""
        fleet = self.rules.fleet
        assert fleet is not None
        if asset.name in fleet.machines:
            return fleet.center[fleet.machines[asset.name]], fleet.scale[fleet.machines[asset.name]]
        seen, learnt_at, least = len(asset.first_steps), 0, fleet.config.least_steps
        while least <= seen:
            learnt_at, least = least, 2 * least
        if seen == fleet.config.provisional_steps:
            learnt_at = seen
        if not learnt_at:
            return None
        steps = np.array(asset.first_steps[: learnt_at : self.every(learnt_at)])
        return own_scale(fleet.scaler, steps, fleet.common.scale)

    def every(self, steps: int) -> int:
        """Only every so many of the first steps are looked at."""
        every = 1
        while math.ceil(steps / every) > KEPT_STEPS:
            every *= 2
        return every

    def scale_of(self, asset: Asset) -> Scaler | None:
        own = self.own(asset)
        return None if own is None else Scaler(own[0][None], own[1][None])

    def scale_bytes(self, asset: Asset) -> bytes | None:
        if self.rules.fleet is None or asset.name in self.rules.fleet.machines or not asset.first_steps:
            return None
        seen, own = len(asset.first_steps), self.own(asset)
        every = self.every(seen)
        kept = asset.first_steps[::every] if self.learns(asset) else []
        arrays = [b"", b""] if own is None else [part.tobytes() for part in own]
        return msgspec.msgpack.encode([seen, every, b"".join(step.tobytes() for step in kept), *arrays])

    # --- episodes ---------------------------------------------------------------------------------------------------

    def move(self, asset: Asset, step: int, score: float | None, above: bool, provisional: bool = False) -> None:
        episode = self.rules.episode
        if asset.alarm is not None:
            age = step - asset.alarm["step"]
            if age >= episode.max_steps or (not above and age >= episode.hold_steps):
                self.clear(asset, step)
        if asset.ended is not None and step >= asset.ended + episode.rest_steps:
            asset.ended = None
            asset.changed = True
        if asset.alarm is None and above and asset.ended is None:
            asset.alarm = {"step": step, "score": score, "provisional": provisional}
            asset.changed = True
            self.out.alarms.append((asset.name, "raised", to_iso(step * self.step), None, score, provisional))

    def end_rest(self, asset: Asset) -> None:
        asset.changed = asset.changed or asset.ended is not None
        asset.ended = None

    def clear(self, asset: Asset, step: int) -> None:
        if asset.alarm is None:
            return
        latest = asset.alarm["step"] + self.rules.episode.max_steps
        asset.ended = min(max(step, asset.alarm["step"] + 1), latest) if self.rules.episode.rest_steps else None
        raised, cleared = to_iso(asset.alarm["step"] * self.step), to_iso(step * self.step)
        provisional = asset.alarm["provisional"]
        self.out.alarms.append((asset.name, "cleared", raised, cleared, asset.alarm["score"], provisional))
        asset.alarm = None
        asset.changed = True

    # --- eviction ---------------------------------------------------------------------------------------------------

    def evict(self, offset: int) -> dict[str, Any]:
        newest = max((asset.watermark for asset in self.assets.values()), default=0.0)
        gone: dict[str, Any] = {}
        for asset in sorted(self.assets.values(), key=lambda each: each.name):
            lags = asset.watermark < newest - self.limits.evict_after_seconds
            if lags and asset.last_offset < offset - self.limits.evict_after_records:
                self.clear(asset, asset.next_step)
                self.refuse(asset, list(asset.held))
                del self.assets[asset.name]
                self.departed[asset.name] = asset.next_step, asset.first_steps
                if len(self.departed) > self.limits.max_assets:
                    forgotten = next(iter(self.departed))
                    del self.departed[forgotten]
                    gone[forgotten] = None
                gone[asset.name] = {
                    "since": asset.since, "evicted": offset, "floor": asset.next_step, "scale": self.scale_bytes(asset),
                }  # fmt: skip
        return gone
