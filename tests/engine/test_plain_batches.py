"""Batches of good records of one form, which are read as one: each outcome is as if its partition were alone."""

import random
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_detector.decoding.decoder import Decoder
from stream_detector.engine import partition
from stream_detector.engine.engine import Engine, Limits, RecordBatch
from stream_detector.engine.segment import Segment
from stream_detector.engine.table_engine import TableEngine
from tests.engine.test_engine import ANY_LIMITS, BASE, GRIDS, STEP, Record, batches
from tests.engine.test_steady_rows import rows_log, scans_log
from tests.engine.test_table_engine import table_of
from tests.engine.together import check_together
from tests.support.properties import examples

quick = settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
STAMP = int((BASE + 1e6) * 1000)


def blocks_log(seed: int, length: int, chaos: float, step: float = STEP) -> list[Record]:
    """Blocks of a few samples of one sensor or another, one after the other; `chaos`: the part that is otherwise."""
    rng = np.random.default_rng(seed)
    at = np.zeros(3, int)
    log: list[Record] = []
    while len(log) < length:
        asset, count = int(rng.integers(3)), int(rng.integers(1, 6))
        message: dict[str, Any] = {
            "sensor": "x1" if rng.random() < 0.7 else "x2",
            "time": BASE + float(at[asset]) * step,
        }
        if rng.random() < chaos:
            message |= {"time": message["time"] - 2 * step, "value": 7.0}
        else:
            at[asset] += count
            message |= {"step_seconds": step, "values": [round(float(rng.normal() * 3), 3) for _ in range(count)]}
        log.append((f"m{asset}".encode(), orjson.dumps(message), STAMP))
    return log


FORMS = {"rows": rows_log, "scans": scans_log, "blocks": blocks_log}
forms, seeds, names = st.sampled_from(sorted(FORMS)), st.integers(0, 10**6), st.sampled_from(sorted(GRIDS))
chaos = st.sampled_from([0.0, 0.02, 0.1])


def logs_of(form: str, seed: int, length: int, amount: float = 0.0, step: float = STEP) -> list[list[Record]]:
    """Three partitions whose assets have the same names."""
    return [FORMS[form](seed + number, length, amount, step) for number in range(3)]


@quick
@given(forms, seeds, st.integers(1, 200), chaos, names, ANY_LIMITS)
def test_partitions_of_one_form_decide_as_each_would_alone(
    form: str, seed: int, length: int, amount: float, name: str, limits: Limits
) -> None:
    logs = logs_of(form, seed, length, amount, GRIDS[name].grid.step_seconds)
    check_together(lambda: Engine(GRIDS[name], limits, keep_steps=True), logs, random.Random(seed))


@quick
@given(forms, seeds, st.integers(1, 200), chaos, names, names, ANY_LIMITS)
def test_so_does_every_bundle_of_a_table(
    form: str, seed: int, length: int, amount: float, one: str, other: str, limits: Limits
) -> None:
    logs = logs_of(form, seed, length, amount)
    check_together(lambda: TableEngine(table_of((one, other)), limits), logs, random.Random(seed))


def batch_of(number: int, log: list[Record], begin: int, end: int) -> RecordBatch:
    [batch] = batches(log[:end], [], begin)
    return replace(batch, partition=number)


def with_odd(record: Record, odd: str) -> Record:
    """The record, in one way or another out of the ordinary."""
    key, value, stamp = record
    message = orjson.loads(value or b"")
    far = GRIDS["plain"].grid.furthest_ahead_seconds + 5 * STEP
    if odd == "new asset":
        key = b"m9"
    elif odd == "later than its timestamp":
        stamp = int(1000 * (message["time"] - far))
    elif odd == "far ahead":
        message["time"] += far
    elif odd == "unknown sensor":
        message["sensor" if "sensor" in message else "values"] = "x9" if "sensor" in message else {"x9": 1.0}
    elif odd == "event":
        message = {"time": message["time"], "event": "break"}
    return key, None if odd == "no value" else orjson.dumps(message), stamp


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize(
    "odd", ["new asset", "later than its timestamp", "far ahead", "unknown sensor", "event", "no value"]
)
def test_an_odd_record_among_them_counts_for_its_own_partition(odd: str, form: str) -> None:
    logs = logs_of(form, 5, 240)
    for place in (100, 101, 160):
        logs[1][place] = with_odd(logs[1][place], odd)
    check_together(lambda: Engine(GRIDS["plain"], Limits()), logs, random.Random(3))


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_record_that_is_held_is_settled_by_a_batch_of_good_ones(form: str) -> None:
    engine, [_, log, _] = Engine(GRIDS["plain"], Limits()), logs_of(form, 5, 240)
    log[100] = with_odd(log[100], "far ahead")
    held, settled = (engine.process(batch) for batch in batches(log, [101])[:2])
    assert held.counts.held == settled.counts.dead_lettered > 0
    assert [letter.offset for letter in settled.dead_letters] == [100]


class CountedSegments:
    """How many segments there were while this was in place of their class."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *arguments: Any, **named: Any) -> Segment:
        self.count += 1
        return Segment(*arguments, **named)


@pytest.fixture
def segments(monkeypatch: pytest.MonkeyPatch) -> CountedSegments:
    counted = CountedSegments()
    monkeypatch.setattr(partition, "Segment", counted)
    return counted


@pytest.mark.parametrize("form", sorted(FORMS))
def test_one_asset_whose_clock_is_watched_does_not_hold_up_the_others(form: str, segments: CountedSegments) -> None:
    engine, [_, log, _] = Engine(GRIDS["plain"], Limits()), logs_of(form, 5, 240)
    log[100] = with_odd(log[100], "far ahead")
    watched = log[100][0]
    log = [*log[:101], *(record for record in log[101:] if record[0] != watched)]
    for batch in batches(log, [101, 130])[:2]:
        segments.count = 0
        engine.process(batch)
    assert segments.count == 0


@pytest.mark.parametrize("form", sorted(FORMS))
def test_they_are_parsed_at_once_and_go_through_no_segment(
    form: str, segments: CountedSegments, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    parse = Decoder.parse

    def counted(decoder: Decoder, values: Any) -> Any:
        parsed.append(len(values))
        return parse(decoder, values)

    monkeypatch.setattr(Decoder, "parse", counted)
    engine, logs = Engine(GRIDS["plain"], Limits()), logs_of(form, 5, 150)
    for begin, end in ((0, 90), (90, 120), (120, 150)):
        outcomes = engine.process_all([batch_of(number, log, begin, end) for number, log in enumerate(logs)])
    # In the first batches the assets are new.
    assert segments.count == 3
    assert parsed[-2:] == [90, 90]
    kinds = [(each.counts.row_records, each.counts.block_records, each.counts.reading_records) for each in outcomes]
    assert kinds == [tuple(30 * (form == kind) for kind in ("rows", "blocks", "scans"))] * 3
