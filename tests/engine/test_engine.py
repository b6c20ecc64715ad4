"""The engine against its twin, against itself cut otherwise, and against itself restarted."""

from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_detector.detection.config import (
    CostConfig,
    EpisodeConfig,
    FleetConfig,
    GridConfig,
    LeadConfig,
    OperatingConfig,
    ScalerConfig,
    SuppressionConfig,
    TransformConfig,
    WindowConfig,
)
from stream_detector.detection.fleet.fleet import Fleet
from stream_detector.detection.head.head import HeadReach, HeadResult, StepInput
from stream_detector.detection.scaling import Scaler
from stream_detector.detection.scoring import ScoredWindows
from stream_detector.detection.window_rows import WindowRows
from stream_detector.engine.assets.snapshots import load
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Limits, Outcome, RecordBatch
from stream_detector.messages import Alarm
from tests.engine.naive_engine import Found, NaiveEngine
from tests.support.properties import examples, fast_first

SENSORS = ("x1", "x2", "x3")
STEP = 60.0
BASE = 28_333_333 * STEP  # some day in 2023


class DistanceScorer:
    """The newest step's distance from the window's mean; anything that every cell changes will do."""

    def score(self, windows: WindowRows, scaler: Scaler | None = None) -> ScoredWindows:
        values = windows.values if scaler is None else scaler.apply(windows.values)
        known = ~np.isnan(values)
        means = np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        newest = values[:, -1]
        errors = np.where(np.isnan(newest), 0.0, np.abs(newest - means) + 0.01 * np.abs(newest))
        return ScoredWindows(errors.sum(axis=1), errors, means)


class CountingHead:
    """Its probability depends on every step that it ever saw."""

    reach = HeadReach()

    def fresh(self) -> dict[str, float]:
        return {"seen": 0.0, "events": 0.0, "level": 0.0}

    def follow(self, state: dict[str, float], step: StepInput) -> None:
        """What others have decided does not matter to it."""

    def advance(self, state: dict[str, float], step: StepInput) -> HeadResult:
        state["seen"] += 1
        state["events"] += step.event
        attribution = np.nan_to_num(np.abs(step.values)) if step.scorable else np.zeros(len(step.values))
        news = float(attribution.sum() + 0.01 * np.nansum(step.values))
        state["level"] = 0.7 * state["level"] + min(max(news, -1e6), 1e6)
        level = state["level"] + 0.001 * state["seen"] + 0.1 * state["events"] + 0.01 * step.run_position
        return HeadResult(float(1 / (1 + np.exp(2 - level))), attribution)

    def dump(self, state: dict[str, float]) -> bytes:
        return orjson.dumps(state)

    def load(self, data: bytes) -> dict[str, float]:
        return dict(orjson.loads(data))


def make_rules(**changes: Any) -> DetectorSpec:
    grid = {"step_seconds": STEP, "staleness_steps": 3, "max_future_seconds": 20 * STEP} | changes.pop("grid", {})
    window = {"steps": 4} | changes.pop("window", {})
    return replace(
        DetectorSpec(
            bundle_id="0123456789abcdef", recipe="test", assets="*", sensors=SENSORS, grid=GridConfig(**grid),
            window=WindowConfig(**window), lead=LeadConfig(), episode=EpisodeConfig(hold_steps=2, max_steps=4),
            costs=CostConfig(), threshold=6.0, scorer=DistanceScorer(),
        ),
        **changes,
    )  # fmt: skip


def runs_when(condition: str, hold_steps: int = 0) -> Any:
    return OperatingConfig(when=condition, hold_steps=hold_steps).rule(SENSORS)


def make_fleet(
    known: tuple[str, ...] = ("m0",), provisional_steps: int = 9, least_steps: int = 3, **transform: Any
) -> Fleet:
    """Machines that training knows have a scale of their own; the others learn it from their first steps."""
    row = np.arange(len(known))[:, None]
    return Fleet(
        config=FleetConfig(provisional_steps=provisional_steps, least_steps=least_steps),
        scaler=ScalerConfig(kind="robust"), transform=TransformConfig(**transform),
        machines={name: place for place, name in enumerate(known)}, center=row + np.array([0.5, -1.0, np.nan]),
        scale=2.0 + row + np.zeros(3), common=Scaler(np.zeros(3), np.array([2.0, 3.0, 4.0])),
    )  # fmt: skip


def raises_nothing(*rules: dict[str, Any], least_share: float = 0.45) -> Any:
    return SuppressionConfig(rules=rules, least_share=least_share).for_sensors(SENSORS)


GRIDS: dict[str, DetectorSpec] = {
    "plain": make_rules(),
    "lateness": make_rules(grid={"lateness_seconds": 90.0, "max_gap_steps": 2}),
    "gaps": make_rules(grid={"max_gap_steps": 5, "staleness_steps": 2}, window={"steps": 3, "min_steps": 2}),
    "watermark": make_rules(grid={"close": "watermark", "lateness_seconds": 60.0}),
    "stride": make_rules(window={"steps": 4, "stride": 3}, grid={"lateness_seconds": 60.0}),
    "samples": make_rules(
        grid={"kind": "samples", "step_seconds": STEP / 4, "lateness_seconds": STEP / 2, "staleness_steps": 4,
              "max_gap_steps": 1},
        window={"steps": 6, "stride": 2},
    ),
    "head": make_rules(head=CountingHead(), threshold=0.5, grid={"lateness_seconds": 60.0, "max_gap_steps": 1}),
    "rest": make_rules(
        threshold=1.0, episode=EpisodeConfig(hold_steps=1, max_steps=1, rest_steps=4),
        window={"steps": 3, "min_steps": 1}, grid={"lateness_seconds": 60.0},
    ),
    "rest with stride and gaps": make_rules(
        threshold=1.0, episode=EpisodeConfig(hold_steps=1, max_steps=2, rest_steps=2),
        window={"steps": 2, "min_steps": 1, "stride": 2}, grid={"lateness_seconds": 60.0, "max_gap_steps": 3},
    ),
    "operating": make_rules(
        operating=runs_when("x1 > -3 or x3 < 1", 2), threshold=2.0, window={"steps": 2},
        grid={"lateness_seconds": 60.0, "max_gap_steps": 2},
    ),
    "operating with a long start-up": make_rules(
        operating=runs_when("x1 > -6.5 or x2 > 5", 30), threshold=2.0, window={"steps": 2, "min_steps": 1},
        grid={"max_gap_steps": 3},
    ),
    "suppression": make_rules(
        suppression=raises_nothing({"sensors": "x1", "direction": "up"}, {"sensors": "x2", "least_deviation": 3.0}),
        threshold=1.0, grid={"lateness_seconds": 60.0, "max_gap_steps": 2}, window={"steps": 3, "min_steps": 2},
    ),
    "suppression with a head": make_rules(
        suppression=raises_nothing({"sensors": "x[12]"}), head=CountingHead(), threshold=0.5,
        grid={"max_gap_steps": 2}, window={"steps": 2},
    ),
    "fleet": make_rules(
        fleet=make_fleet(), threshold=3.0, grid={"lateness_seconds": 60.0, "max_gap_steps": 3}, window={"steps": 2},
    ),
    "fleet of strangers": make_rules(
        fleet=make_fleet((), 25, 2, kind="differences"), threshold=2.0, operating=runs_when("x1 > -3", 1),
        window={"steps": 3, "min_steps": 2, "stride": 2}, grid={"max_gap_steps": 2},
    ),
    "operating with a head": make_rules(
        operating=runs_when("not (x2 <= -2.5 or x1 < x3 < 0) and x1 != 7", 5), head=CountingHead(), threshold=0.5,
        window={"steps": 2}, grid={"close": "watermark", "max_gap_steps": 1},
    ),
}  # fmt: skip

Record = tuple[bytes | None, bytes | None, int]
"""Key, value, Kafka timestamp."""


def _number(rng: np.random.Generator) -> float | None:
    return None if rng.random() < 0.08 else round(float(rng.normal() * 3), 3)


def random_log(seed: int, length: int, chaos: float, assets: int = 3) -> list[Record]:
    """A log of several assets; `chaos` is the part of records that are late, far ahead, repeated or worthless."""
    rng = np.random.default_rng(seed)
    quarter = np.zeros(assets, int)
    log: list[Record] = []
    silent: dict[int, set[int]] = {asset: set() for asset in range(assets)}
    while len(log) < length:
        asset = int(rng.integers(assets))
        quarter[asset] += int(rng.choice([0, 0, 1, 1, 2, 4], p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]))
        if rng.random() < 0.01:
            quarter[asset] += int(rng.integers(4, 60))
        if rng.random() < 0.01:
            silent[asset] ^= {int(rng.integers(3))}
        lag = 0
        if rng.random() < chaos:
            lag = int(rng.choice([1, 2, 4, 8, 16, 40, -100, -400, -410]))
        time = BASE + float(quarter[asset] - lag) * STEP / 4
        stamp = BASE + quarter[asset] * STEP / 4 + (0 if rng.random() < 0.02 else 1e6)
        message: Any = {"time": time}
        kind = rng.random()
        sensors = [index for index in range(3) if index not in silent[asset]]
        if kind < 0.45 and sensors:
            message |= {"sensor": SENSORS[int(rng.choice(sensors))], "value": _number(rng)}
            if rng.random() < 0.03:
                message["quality"] = "bad"
        elif kind < 0.85:
            message["values"] = {SENSORS[index]: _number(rng) for index in sensors}
            if rng.random() < chaos / 3:
                message["values"]["nonsense"] = 1.0
        elif kind < 0.92:
            message |= {"sensor": "x2", "step_seconds": STEP / 4, "values": [_number(rng) for _ in range(5)]}
        elif kind < 0.94:
            message["event"] = "break"
        else:
            message |= {"sensor": "x1", "value": _number(rng)}
        key: bytes | None = f"m{asset}".encode()
        value: bytes | None = orjson.dumps(message)
        worthless = rng.random()
        if worthless < chaos / 8:
            value = None
        elif worthless < chaos / 4:
            value = b"{nonsense"
        elif worthless < chaos / 3:
            key = None
        elif worthless < chaos / 2 and log:
            key, value, _ = log[int(rng.integers(max(0, len(log) - 10), len(log)))]
        log.append((key, value, int(stamp * 1000)))
    return log


def batches(log: list[Record], cuts: list[int], begin: int = 0) -> list[RecordBatch]:
    """The log from offset `begin` on, cut before the offsets `cuts`."""
    edges = sorted({begin, len(log), *(cut for cut in cuts if begin < cut < len(log))})
    found = []
    for left, right in pairwise(edges):
        part = log[left:right]
        found.append(
            RecordBatch(
                "plant.readings", 0, list(range(left, right)), [key for key, _, _ in part],
                [value for _, value, _ in part], [stamp for _, _, stamp in part],
            )
        )  # fmt: skip
    return found


def alarm_tuple(alarm: Alarm) -> tuple[Any, ...]:
    return (alarm.asset, alarm.state, alarm.raised_at, alarm.cleared_at, alarm.score, alarm.provisional)


def check_snapshot(data: bytes | None, wanted: dict[str, Any] | None) -> None:
    """Against the twin's, which forgets no refused record: the engine may forget those from before `begin`."""
    if data is None or wanted is None:
        assert data is wanted
        return
    snapshot = load(data)
    assert snapshot is not None
    if snapshot.evicted is not None:
        assert {
            "since": snapshot.since, "evicted": snapshot.evicted, "floor": snapshot.floor, "scale": snapshot.scale,
        } == wanted  # fmt: skip
        return
    alarm = None if snapshot.alarm is None else snapshot.alarm_step
    assert {
        "since": snapshot.since, "held": snapshot.held, "alarm": alarm, "ended": snapshot.ended_step,
        "head": snapshot.head, "scale": snapshot.scale, "stands": snapshot.stands, "stood": snapshot.stood,
        "floor": snapshot.floor,
    } == {name: value for name, value in wanted.items() if name != "refused"}  # fmt: skip
    assert set(snapshot.refused) <= set(wanted["refused"])
    assert all(offset < snapshot.begin for offset in set(wanted["refused"]) - set(snapshot.refused))


def check_equal(outcome: Outcome, found: Found, twin: NaiveEngine) -> None:
    counts = outcome.counts
    assert [(letter.offset, letter.reason) for letter in outcome.dead_letters] == found.dead_letters
    assert (counts.windowed, counts.late, counts.duplicate, counts.dead_lettered, counts.ignored, counts.held) == (
        found.windowed, found.late, found.duplicate, found.dead_lettered, found.ignored, found.held
    )  # fmt: skip
    assert counts.missing == found.missing
    assert outcome.closed.not_running == found.not_running
    fates = counts.windowed + counts.late + counts.duplicate + counts.dead_lettered + counts.ignored
    assert counts.received == fates
    assert [
        (score.asset, score.time, score.score, score.alarm, score.degraded) for score in outcome.scores
    ] == found.scores
    assert [alarm_tuple(alarm) for alarm in outcome.alarms] == found.alarms
    snapshots = dict(outcome.snapshots)
    assert set(found.snapshots) <= set(snapshots)
    for asset, data in snapshots.items():
        # When windows are put into a snapshot is up to the engine.
        check_snapshot(data, found.snapshots[asset] if asset in found.snapshots else twin.snapshot(twin.assets[asset]))


def check_low(low: int | None, needed: int | None, limits: Limits) -> None:
    """The twin's, who has no windows in its snapshots, or above it where they may be."""
    if low != needed:
        assert limits.window_lag_records < 1000
        assert needed is not None
        assert low is None or low > needed


LIMITS = Limits(max_assets=2, evict_after_seconds=40 * STEP, evict_after_records=80, slack_steps=5)
WINDOWS = Limits(
    max_assets=2, evict_after_seconds=40 * STEP, evict_after_records=80, slack_steps=5,
    window_lag_records=8, window_lag_spans=0.0, window_bytes_per_record=1e9,
)  # fmt: skip
"""Windows are put into a snapshot as soon as an asset lags a little."""
ANY_LIMITS = st.sampled_from([LIMITS, WINDOWS, Limits(slack_steps=5), Limits(slack_steps=40, slack_cells=90)])
"""The last one's rings become shorter when the second asset comes."""

logs = st.tuples(
    st.integers(0, 10**6), st.integers(1, 120), st.sampled_from([0.0, 0.05, 0.3]), st.sampled_from(sorted(GRIDS))
)
quick = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])


@quick
@given(logs, st.lists(st.integers(0, 120), max_size=12), ANY_LIMITS)
@example((0, 32, 0.0, "rest with stride and gaps"), [], LIMITS)  # an alarm is cleared after its rest is over
def test_it_agrees_with_its_twin_however_the_log_is_cut(
    drawn: tuple[int, int, float, str], cuts: list[int], limits: Limits
) -> None:
    seed, length, chaos, name = drawn
    log = random_log(seed, length, chaos)
    engine, twin = Engine(GRIDS[name], limits), NaiveEngine(GRIDS[name], limits)
    for batch in batches(log, cuts):
        check_equal(engine.process(batch, publish_scores=True), twin.process(batch), twin)
        check_low(engine.low(0), twin.low(), limits)


@quick
@given(logs)
@example((108, 61, 0.3, "lateness"))  # all sensors are dead when the step's first reading closes it
def test_the_record_that_closes_a_step_is_the_same_as_one_record_at_a_time(drawn: tuple[int, int, float, str]) -> None:
    seed, length, chaos, name = drawn
    log = random_log(seed, length, chaos)
    log = [(key, value, stamp + 10**9 + place) for place, (key, value, stamp) in enumerate(log)]
    rules = replace(GRIDS[name], threshold=0.0, episode=EpisodeConfig(hold_steps=1, max_steps=1))
    found = []
    for cuts in ([], list(range(length))):
        engine = Engine(rules, Limits(slack_steps=5))
        outcomes = [engine.process(batch) for batch in batches(log, cuts)]
        found.append(
            [
                (alarm_tuple(alarm), stamp)
                for outcome in outcomes
                for alarm, stamp in zip(outcome.alarms, outcome.alarm_timestamps_ms, strict=True)
            ]
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("name", fast_first(sorted(GRIDS), 5))
@pytest.mark.parametrize("chaos", fast_first([0.02, 0.0, 0.3], 1))
def test_it_agrees_with_its_twin_on_a_long_log(name: str, chaos: float) -> None:
    log = random_log(7, 1500, chaos)
    engine, twin = Engine(GRIDS[name], LIMITS), NaiveEngine(GRIDS[name], LIMITS)
    alarms = 0
    for batch in batches(log, [5, 6, 7, 300, 303, 800, 1100]):
        found = twin.process(batch)
        check_equal(engine.process(batch, publish_scores=True), found, twin)
        assert engine.low(0) == twin.low()
        alarms += len(found.alarms)
    assert alarms > 3, "a log without alarms proves little"


def acknowledged(log: list[Record], outcomes: list[tuple[RecordBatch, Outcome]]) -> dict[str, bytes]:
    """What the compacted topic of state holds after these outcomes."""
    kept: dict[str, bytes] = {}
    for _, outcome in outcomes:
        for asset, data in outcome.snapshots:
            kept.pop(asset, None)
            if data is not None:
                kept[asset] = data
    return kept


def check_restart(
    rules: DetectorSpec, limits: Limits, log: list[Record], cuts: list[int], stop: int, beyond: int
) -> None:
    """Stops after batch `stop` is committed and the snapshots of `beyond` more are acknowledged; nothing may differ."""
    undisturbed = Engine(rules, limits)
    outcomes, lows = [], []
    for batch in batches(log, cuts):
        outcomes.append((batch, undisturbed.process(batch, publish_scores=True)))
        lows.append(undisturbed.low(0))
    stop %= len(outcomes)
    committed = outcomes[stop][0].offsets[-1] + 1
    low = committed if lows[stop] is None else lows[stop]
    engine = Engine(rules, limits)
    engine.restore(0, acknowledged(log, outcomes[: stop + 1 + beyond]), silent_until=committed)
    again = [
        (batch, engine.process(batch, publish_scores=True)) for batch in batches(log, [*cuts, committed, 37, 64], low)
    ]
    wanted, found = outcomes[stop + 1 :], [pair for pair in again if pair[0].offsets[0] >= committed]
    assert not any(
        outcome.alarms or outcome.scores or outcome.dead_letters or outcome.counts.received
        for batch, outcome in again
        if batch.offsets[-1] < committed
    )

    def together(pairs: list[tuple[RecordBatch, Outcome]], what: str) -> list[Any]:
        return [each for _, outcome in pairs for each in getattr(outcome, what)]

    if beyond == 0:
        for count in ("received", "windowed", "late", "duplicate", "dead_lettered", "ignored"):
            totals = [sum(getattr(outcome.counts, count) for _, outcome in pairs) for pairs in (found, wanted)]
            assert totals[0] == totals[1], count
    # What the snapshots cover was acknowledged before they were, and need not be said again.
    kinds = ("alarms", "scores", "dead_letters")
    sent = {repr(each) for what in kinds for each in together(outcomes[stop + 1 : stop + 1 + beyond], what)}
    for what in kinds:
        expected, repeated = together(wanted, what), together(found, what)
        assert [each for each in expected if repr(each) not in sent] == [
            each for each in repeated if repr(each) not in sent
        ]
        assert {repr(each) for each in repeated} <= {repr(each) for each in expected}
    if limits.window_lag_records >= 1000:  # else it hangs on when it was looked at
        assert engine.low(0) == undisturbed.low(0)


@quick
@given(logs, st.lists(st.integers(0, 120), max_size=12), st.integers(0, 20), st.integers(0, 2), ANY_LIMITS)
def test_a_restart_changes_nothing(
    drawn: tuple[int, int, float, str], cuts: list[int], stop: int, beyond: int, limits: Limits
) -> None:
    seed, length, chaos, name = drawn
    check_restart(GRIDS[name], limits, random_log(seed, length, chaos), cuts, stop, beyond)


@pytest.mark.parametrize("stop", range(0, 12, 3))
def test_a_restart_while_alarms_rest_changes_nothing(stop: int) -> None:
    for seed in range(5):
        check_restart(GRIDS["rest"], LIMITS, random_log(seed, 100, 0.05), list(range(8, 100, 8)), stop, 0)
