"""With every registered kind of model, the alarms are those of the log however the log is cut."""

from typing import Any

import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from stream_detector.detection.config import EpisodeConfig
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine
from stream_detector.engine.offline import score_frame
from stream_detector.messages import to_bytes
from tests.engine.test_engine import BASE, STEP, Record, batches, make_rules
from tests.support.models import ALL_KINDS, some_scorer
from tests.support.properties import fast_first

SIZES = [(3, 2), (5, 5)]
"""Steps of a window, sensors."""
ASSETS, ROWS = 2, 40


def rows_of(sensors: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(ROWS, sensors), a few cells missing."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS, sensors))
    rows[rng.random(rows.shape) < 0.02] = np.nan
    return rows


def times_of() -> list[float]:
    return [BASE + row * STEP for row in range(ROWS)]


def log_of(rules: DetectorSpec, tables: list[np.ndarray[Any, np.dtype[np.float64]]]) -> list[Record]:
    """The rows of all assets, in order of time."""
    log: list[Record] = []
    for row, time in enumerate(times_of()):
        for asset, table in enumerate(tables):
            values = {s: None if np.isnan(v) else float(v) for s, v in zip(rules.sensors, table[row], strict=True)}
            log.append((f"m{asset}".encode(), orjson.dumps({"time": time, "values": values}), int(1e3 * (time + 1e6))))
    return log


def said(rules: DetectorSpec, log: list[Record], cuts: list[int]) -> list[list[bytes]]:
    """Alarms and scores, as bytes on the topics."""
    engine = Engine(rules)
    outcomes = [engine.process(batch, publish_scores=True) for batch in batches(log, cuts)]
    return [
        [to_bytes(alarm) for outcome in outcomes for alarm in outcome.alarms],
        [to_bytes(score) for outcome in outcomes for score in outcome.scores],
    ]


@pytest.mark.parametrize("kind", fast_first(ALL_KINDS, 3))
def test_alarms_and_scores_are_the_same_bytes_however_the_log_is_cut(kind: str) -> None:
    tried = 0
    for seed, (steps, sensors) in enumerate(SIZES):
        scorer = some_scorer(kind, steps, sensors, seed)
        if scorer is None:
            continue
        tables = [rows_of(sensors, 10 * seed + asset) for asset in range(ASSETS)]
        rules = make_rules(
            sensors=tuple(f"s{number}" for number in range(sensors)), scorer=scorer, window={"steps": steps},
            grid={"lateness_seconds": 60.0}, episode=EpisodeConfig(hold_steps=1, max_steps=3),
        )  # fmt: skip
        rules = replace(rules, threshold=float(np.median(score_frame(rules, times_of(), tables[0]).steps.score)))
        log = log_of(rules, tables)
        rng = np.random.default_rng(seed)
        whole = said(rules, log, [])
        assert whole[0], "a log without alarms proves little"
        assert said(rules, log, list(range(len(log)))) == whole
        for _ in range(2):
            assert said(rules, log, rng.integers(0, len(log), size=rng.integers(1, 12)).tolist()) == whole
        offline = [to_bytes(alarm) for alarm in score_frame(rules, times_of(), tables[0], asset="m0").alarms]
        of_asset = [alarm for alarm in whole[0] if orjson.loads(alarm)["asset"] == "m0"]
        assert offline[: len(of_asset)] == of_asset
        tried += 1
    assert tried, "no size fits this kind"
