"""Samples in blocks, which go the short way into the grid: against the twin, however they are cut, and restarted."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detection.config import EpisodeConfig, OperatingConfig
from stream_detector.detection.grid import intake, steady
from stream_detector.detection.grid.closed_steps import Closings, Stretches
from stream_detector.detection.grid.windows import gather
from stream_detector.detection.window_rows import WindowRows
from stream_detector.engine import decider
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Limits
from tests.engine.naive_engine import NaiveEngine
from tests.engine.test_engine import (
    BASE,
    LIMITS,
    STEP,
    WINDOWS,
    CountingHead,
    Record,
    batches,
    check_equal,
    check_low,
    check_restart,
    make_rules,
    quick,
)

SAMPLE = STEP / 4


def of_one_sensor(**changes: Any) -> DetectorSpec:
    grid = {"kind": "samples", "step_seconds": SAMPLE, "staleness_steps": 4} | changes.pop("grid", {})
    return make_rules(sensors=("x1",), grid=grid, threshold=changes.pop("threshold", 3.0), **changes)


GRIDS = {
    "plain": of_one_sensor(),
    "lateness and stride": of_one_sensor(
        grid={"lateness_seconds": 2 * SAMPLE, "max_gap_steps": 2}, window={"steps": 6, "stride": 4}
    ),
    "lateness between steps": of_one_sensor(
        grid={"lateness_seconds": 1.5 * SAMPLE, "max_gap_steps": 1}, window={"min_steps": 2}
    ),
    "steps of one sensor": of_one_sensor(grid={"kind": "time", "lateness_seconds": 1.5 * SAMPLE}),
    "head": of_one_sensor(head=CountingHead(), threshold=0.5, grid={"max_gap_steps": 3}),
    "rest": of_one_sensor(episode=EpisodeConfig(hold_steps=1, max_steps=2, rest_steps=3), threshold=1.0),
    "gaps": of_one_sensor(grid={"lateness_seconds": 2 * SAMPLE, "max_gap_steps": 8, "staleness_steps": 2}),
    "operating": of_one_sensor(operating=OperatingConfig(when="x1 > -3", hold_steps=2).rule(("x1",)), threshold=1.0),
    "watermark": of_one_sensor(grid={"close": "watermark"}),
}


def samples_log(seed: int, length: int, chaos: float) -> list[Record]:
    """Blocks of samples of three assets that go on where they ended; `chaos`: the part that does not."""
    rng = np.random.default_rng(seed)
    reached = np.zeros(3, int)
    log: list[Record] = []
    while len(log) < length:
        asset = int(rng.integers(3))
        count, odd = int(rng.integers(1, 14)), rng.random() < chaos
        begin = reached[asset] + (int(rng.choice([-20, -3, -1, 1, 2, 5, 30])) if odd else 0)
        reached[asset] = max(reached[asset], begin + count)
        message: dict[str, Any] = {"time": BASE + float(begin) * SAMPLE}
        samples = [None if rng.random() < 0.03 else round(float(rng.normal() * 3), 3) for _ in range(count)]
        kind = rng.random()
        if kind < chaos / 4:
            message["event"] = "break"
        elif kind < chaos / 2:
            message |= {"sensor": "x1", "value": samples[0]}
            reached[asset] = max(reached[asset] - count + 1, begin + 1)
        else:
            slower = 2 if rng.random() < chaos / 4 else 1
            message |= {"sensor": "x1", "step_seconds": SAMPLE * slower, "values": samples}
            reached[asset] += (slower - 1) * count
        log.append((f"m{asset}".encode(), orjson.dumps(message), int((BASE + 1e6) * 1000)))
    return log


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that blocks of a dozen samples go the short way too, and soon again after some that cannot."""
    monkeypatch.setattr(steady, "LEAST_READINGS", 2)
    monkeypatch.setattr(intake, "LOOK_AHEAD", 16)


logs = st.tuples(
    st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([0.0, 0.1, 0.4]), st.sampled_from(sorted(GRIDS))
)
ANY_LIMITS = st.sampled_from([LIMITS, WINDOWS, Limits(slack_steps=5), Limits(slack_steps=40, slack_cells=90)])
CUTS = st.lists(st.integers(0, 60), max_size=8)


@quick
@given(logs, CUTS, ANY_LIMITS)
def test_samples_agree_with_the_twin_however_the_log_is_cut(
    drawn: tuple[int, int, float, str], cuts: list[int], limits: Limits
) -> None:
    seed, length, chaos, name = drawn
    engine, twin = Engine(GRIDS[name], limits), NaiveEngine(GRIDS[name], limits)
    for batch in batches(samples_log(seed, length, chaos), cuts):
        check_equal(engine.process(batch, publish_scores=True), twin.process(batch), twin)
        check_low(engine.low(0), twin.low(), limits)


@quick
@given(logs, CUTS, st.integers(0, 20), st.integers(0, 2), ANY_LIMITS)
def test_a_restart_among_samples_changes_nothing(
    drawn: tuple[int, int, float, str], cuts: list[int], stop: int, beyond: int, limits: Limits
) -> None:
    seed, length, chaos, name = drawn
    check_restart(GRIDS[name], limits, samples_log(seed, length, chaos), cuts, stop, beyond)


@pytest.mark.parametrize("name", sorted(set(GRIDS) - {"operating", "watermark"}))
def test_samples_that_follow_each_other_go_the_short_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_blocks = as_readings = 0

    def blocks_counted(*arguments: Any) -> tuple[Closings | Stretches, Any]:
        nonlocal as_blocks
        closings, taken = steady.take_records(*arguments)
        assert isinstance(closings, Stretches)
        as_blocks += int(closings.count.sum())
        return closings, taken

    def readings_counted(*arguments: Any) -> Closings | None:
        nonlocal as_readings
        closings = steady.take_steady(*arguments)
        as_readings += 0 if closings is None else len(closings)
        return closings

    monkeypatch.setattr(intake, "take_records", blocks_counted)
    monkeypatch.setattr(intake, "take_steady", readings_counted)
    engine, windowed = Engine(GRIDS[name], Limits()), 0
    for batch in batches(samples_log(3, 200, 0.0), [50, 100]):
        windowed += engine.process(batch).counts.windowed
    assert as_blocks + as_readings > windowed // 2
    # On a grid of steps a block's samples may lie anywhere within them.
    assert (as_blocks == 0) == (GRIDS[name].grid.kind == "time")


def test_however_many_windows_a_batch_has_few_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, outcomes = [], []

    def measured(*arguments: Any) -> WindowRows:
        windows = gather(*arguments)
        sizes.append(windows.value_bytes)
        return windows

    log = samples_log(4, 90, 0.1)
    for most in (decider.GATHERED_BYTES, 300):
        with monkeypatch.context() as patch:
            patch.setattr(decider, "GATHERED_BYTES", most)
            patch.setattr(decider, "gather", measured)
            sizes.clear()
            engine = Engine(GRIDS["plain"], Limits())
            outcomes.append([engine.process(batch, publish_scores=True) for batch in batches(log, [30])])
            largest = max(sizes)
    assert largest <= 300
    told = [[(each.scores, each.alarms, each.counts) for each in found] for found in outcomes]
    assert told[0] == told[1]
