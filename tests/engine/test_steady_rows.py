"""Whole rows and scans, which go the short way into the grid: against the twin, however they are cut, and restarted."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_detector.detection.config import EpisodeConfig
from stream_detector.detection.grid import cut_scans, intake, scans, steady
from stream_detector.detection.grid.closed_steps import Closings, Stretches
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.sorted_readings import Readings
from stream_detector.engine.engine import Engine, Limits
from tests.engine.naive_engine import NaiveEngine
from tests.engine.test_engine import (
    BASE,
    GRIDS,
    LIMITS,
    SENSORS,
    STEP,
    WINDOWS,
    Record,
    alarm_tuple,
    batches,
    check_equal,
    check_low,
    check_restart,
    quick,
)

SHORT = sorted(
    name for name, spec in GRIDS.items() if spec.operating is None and spec.grid.close == "complete"
)  # fmt: skip


def rows_log(seed: int, length: int, chaos: float, step: float = STEP) -> list[Record]:
    """Rows of all sensors of three assets, a step after the other; `chaos`: the part that is otherwise."""
    rng = np.random.default_rng(seed)
    reached = np.zeros(3, int)
    log: list[Record] = []
    while len(log) < length:
        asset = int(rng.integers(3))
        odd = rng.random() < chaos
        at = reached[asset] + (int(rng.choice([-20, -3, -1, 0, 2, 5, 30])) if odd else 1)
        reached[asset] = max(reached[asset], at)
        message: dict[str, Any] = {"time": BASE + float(at) * step + (step / 3 if rng.random() < chaos else 0.0)}
        cells = {name: None if rng.random() < 0.05 else round(float(rng.normal() * 3), 3) for name in SENSORS}
        kind = rng.random()
        if kind < chaos / 6:
            message["event"] = "break"
        elif kind < chaos / 3:
            message |= {"sensor": "x1", "value": cells["x1"]}
        elif kind < chaos / 2:
            message["values"] = {name: cell for name, cell in cells.items() if name != "x2"}
        else:
            message["values"] = cells
        log.append((f"m{asset}".encode(), orjson.dumps(message), int((BASE + 1e6) * 1000)))
    return log


def scans_log(seed: int, length: int, chaos: float, step: float = STEP) -> list[Record]:
    """The same with a reading for each cell, mostly of one row after the other; each asset has its order of sensors."""
    rng = np.random.default_rng(seed)
    order = {b"m%d" % asset: rng.permutation(len(SENSORS)) for asset in range(3)}
    log: list[Record] = []
    for key, value, stamp in rows_log(seed, length, chaos, step):
        message = orjson.loads(value or b"")
        cells = message.pop("values", None)
        if cells is None or len(cells) < len(SENSORS):
            log.append((key, value, stamp))
            continue
        names = [SENSORS[place] for place in order[key or b""]]
        if rng.random() < chaos / 2:
            names.pop() if rng.random() < 0.5 else names.append(names[0])
        for name in names:
            log.append((key, orjson.dumps({**message, "sensor": name, "value": cells[name]}), stamp))
            if len(log) > 1 and rng.random() < chaos / 4:
                log[-2:] = log[:-3:-1]
    return log


@pytest.fixture(autouse=True, params=[1, 512], ids=["as many", "as few"])
def few_readings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Among a dozen readings some may lie in scans, as among thousands, or all have to."""
    monkeypatch.setattr(scans, "FEW_READINGS", request.param)
    return int(request.param)


LOGS = {"rows": rows_log, "scans": scans_log}
logs = st.tuples(
    st.sampled_from(sorted(LOGS)),
    st.integers(0, 10**6),
    st.integers(1, 80),
    st.sampled_from([0.0, 0.02, 0.1, 0.4]),
    st.sampled_from(sorted(GRIDS)),
)
ANY_LIMITS = st.sampled_from([LIMITS, WINDOWS, Limits(slack_steps=5), Limits(slack_steps=40, slack_cells=90)])
CUTS = st.lists(st.integers(0, 240), max_size=8)


@quick
@given(logs, CUTS, ANY_LIMITS)
def test_rows_agree_with_the_twin_however_the_log_is_cut(
    drawn: tuple[str, int, int, float, str], cuts: list[int], limits: Limits
) -> None:
    form, seed, length, chaos, name = drawn
    engine, twin = Engine(GRIDS[name], limits), NaiveEngine(GRIDS[name], limits)
    for batch in batches(LOGS[form](seed, length, chaos, GRIDS[name].grid.step_seconds), cuts):
        check_equal(engine.process(batch, publish_scores=True), twin.process(batch), twin)
        check_low(engine.low(0), twin.low(), limits)


@quick
@given(logs, CUTS, st.integers(0, 20), st.integers(0, 2), ANY_LIMITS)
def test_a_restart_among_rows_changes_nothing(
    drawn: tuple[str, int, int, float, str], cuts: list[int], stop: int, beyond: int, limits: Limits
) -> None:
    form, seed, length, chaos, name = drawn
    log = LOGS[form](seed, length, chaos, GRIDS[name].grid.step_seconds)
    check_restart(GRIDS[name], limits, log, cuts, stop, beyond)


@pytest.mark.parametrize("name", SHORT)
def test_a_reading_that_comes_last_in_a_scan_closes_no_step_while_its_sensor_is_dead(name: str) -> None:
    step, stamp = GRIDS[name].grid.step_seconds, int((BASE + 1e6) * 1000)
    rows = [SENSORS if not 5 <= place < 13 else SENSORS[:-1] for place in range(18)]
    log = [
        (b"m0", orjson.dumps({"time": BASE + place * step, "sensor": sensor, "value": place % 7 + 0.5}), stamp + number)
        for place, row in enumerate(rows)
        for number, sensor in enumerate(row)
    ]
    episode = EpisodeConfig(hold_steps=1, max_steps=1)
    rules = replace(GRIDS[name], threshold=0.0, episode=episode, suppression=None)
    row_by_row = np.cumsum([len(row) for row in rows]).tolist()
    found = []
    for cuts in (row_by_row, list(range(len(log)))):
        engine = Engine(rules, Limits())
        outcomes = [engine.process(batch) for batch in batches(log, cuts)]
        stamps = [outcome.alarm_timestamps_ms for outcome in outcomes]
        found.append([(list(map(alarm_tuple, each.alarms)), told) for each, told in zip(outcomes, stamps, strict=True)])
    together = [[each for part in parts for each in zip(*part, strict=True)] for parts in found]
    assert len(together[0]) > 4
    assert together[0] == together[1]


@pytest.mark.parametrize("form", sorted(LOGS))
@pytest.mark.parametrize("name", SHORT)
def test_rows_that_follow_each_other_go_the_short_way(
    name: str, form: str, few_readings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = 0

    def counted(*arguments: Any) -> tuple[Closings | Stretches, Any]:
        nonlocal short
        closings, taken = steady.take_records(*arguments)
        short += int(taken.sum())
        return closings, taken

    monkeypatch.setattr(intake, "take_records", counted)
    engine = Engine(GRIDS[name], Limits())
    log = LOGS[form](3, 240, 0.0, GRIDS[name].grid.step_seconds)
    cut = 1 if few_readings == 1 else 0
    for batch in batches(log, [len(log) // 4 - cut, len(log) // 2 + cut]):
        engine.process(batch)
    # In the first batch of an asset its run begins; a batch may cut a scan where not all have to be whole.
    assert short >= 175


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", SHORT)
def test_pieces_of_scans_go_the_short_way(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = general = 0

    def counted(grid: Grid, readings: Readings, offsets: Any) -> Closings | None:
        nonlocal taken, general
        closings = cut_scans.take_cut_scans(grid, readings, offsets)
        if closings is None:
            general += len(readings)
        else:
            taken += len(readings)
        return closings

    monkeypatch.setattr(intake, "take_cut_scans", counted)
    engine = Engine(GRIDS[name], Limits())
    log = scans_log(3, 240, 0.0, GRIDS[name].grid.step_seconds)
    for batch in batches(log, list(range(size, len(log), size))):
        engine.process(batch)
    # The others are of runs that begin, and two of one asset, the last of a scan and the first of the next.
    assert taken > (0.9 if size == 1 else 0.4) * (taken + general)


def test_an_asset_that_is_out_of_step_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []

    def counted(*arguments: Any) -> tuple[Closings | Stretches, Any]:
        closings, taken = steady.take_records(*arguments)
        shares.append(float(taken.mean()))
        return closings, taken

    monkeypatch.setattr(intake, "take_records", counted)
    engine, log = Engine(GRIDS["plain"], Limits()), rows_log(3, 240, 0.0)
    key, value, stamp = log[150]
    log[150] = key, orjson.dumps({**orjson.loads(value or b""), "time": BASE - STEP}), stamp
    for batch in batches(log, [60, 120]):
        engine.process(batch)
    assert 0.6 < shares[-1] < 1.0
