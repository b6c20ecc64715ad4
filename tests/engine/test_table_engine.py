"""Several bundles on one log: each decides as it would alone, however the log is cut and whatever is restarted."""

from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_detector.decoding.asset_table import AssetTable
from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Limits, Outcome, RecordBatch
from stream_detector.engine.table_engine import TableEngine, TableSpec
from stream_detector.messages import to_bytes
from tests.engine.naive_engine import NaiveEngine
from tests.engine.test_engine import (
    ANY_LIMITS,
    BASE,
    GRIDS,
    LIMITS,
    SENSORS,
    STEP,
    Record,
    alarm_tuple,
    batches,
    random_log,
)
from tests.engine.test_restarts import check_restarts
from tests.support.properties import examples

quick = settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
COUNTS = ("windowed", "late", "duplicate", "held")
MINE = {"a": "m[02]", "b": "m1*"}
"""Globs of the assets that each bundle has in the end, as one that is alone would say it."""
TABLE = [("m*", "a"), ("m1", "b"), ("m1?", "b"), ("n0", "a")]


def spec_of(bundle: str, name: str) -> DetectorSpec:
    """The second bundle knows other sensors than the first, where no rule speaks of them by their places."""
    spec = replace(GRIDS[name], bundle_id=bundle, assets="m*")
    others = bundle == "b" and spec.operating is None and spec.suppression is None
    return replace(spec, sensors=("x2", "nonsense", "x1")) if others else spec


def table_of(names: tuple[str, str]) -> TableSpec:
    return TableSpec(AssetTable(TABLE), [spec_of(bundle, name) for bundle, name in zip("ba", names, strict=True)])


def alone(bundle: str, name: str, limits: Limits, unknown: UnknownPolicies = IGNORING) -> Engine:
    return Engine(replace(spec_of(bundle, name), assets=MINE[bundle]), limits, unknown=unknown)


def mixed_log(seed: int, length: int, chaos: float) -> list[Record]:
    """Assets of both bundles and of none, named by key or in the record, alone or several in one."""
    rng = np.random.default_rng(seed)
    log: list[Record] = []
    for key, value, stamp in random_log(seed, length, chaos):
        draw = rng.random()
        if draw < 0.05:
            key = rng.choice([b"n0", b"other", b"", b"\xff"])
        message: Any = None
        if value is not None and value.startswith(b'{"'):
            message = orjson.loads(value)
        if message is not None and draw > 0.8:
            # The key names another asset than the record, or none.
            message["asset"] = rng.choice(["m0", "m1", "m2", "m12", "n0", "stranger", ""])
            value = orjson.dumps(message)
            if draw > 0.9:
                value = value.replace(b'"asset"', b'"\\u0061sset"')
            if draw > 0.95:
                items = [
                    {"sensor": str(rng.choice([*SENSORS, "nonsense"])), "value": float(rng.integers(9)),
                     "asset": str(rng.choice(["m0", "m1", "m2", "stranger", ""])),
                     "time": "tomorrow" if rng.random() < chaos else message["time"] + float(rng.integers(3))}
                    for _ in range(rng.integers(5))
                ]  # fmt: skip
                value = orjson.dumps({"time": message["time"], "readings": items})
                if rng.random() < chaos:
                    value = value.replace(b'"sensor":', b'"sensors":', 1)
        log.append((key, value, stamp))
    return log


def bodies(outcomes: list[Outcome], kind: str) -> list[bytes]:
    return [to_bytes(each) for outcome in outcomes for each in getattr(outcome, kind)]


def letters(outcomes: list[Outcome]) -> set[bytes]:
    """Without those of a record that names no asset: whether its sensor is unknown is asked of all bundles together."""
    return {
        to_bytes(letter)
        for outcome in outcomes
        for letter in outcome.dead_letters
        if letter.reason not in ("unknown-sensor", "bad-key")
    }


def totals(outcomes: list[Outcome]) -> Counter[str]:
    found: Counter[str] = Counter()
    for outcome in outcomes:
        for name in ("received", "windowed", "late", "duplicate", "dead_lettered", "ignored", "events", "row_records"):
            found[name] += getattr(outcome.counts, name)
        found.update({f"missing {reason}": count for reason, count in outcome.counts.missing.items()})
        found["scored"] += outcome.closed.scored
    return found


mixed = st.tuples(
    st.integers(0, 10**6), st.integers(1, 120), st.sampled_from([0.0, 0.05, 0.3]),
    st.tuples(st.sampled_from(sorted(GRIDS)), st.sampled_from(sorted(GRIDS))),
)  # fmt: skip


@quick
@given(mixed, st.lists(st.integers(0, 120), max_size=8), ANY_LIMITS, st.sampled_from(["ignore", "dead-letter"]))
def test_each_bundle_decides_as_it_would_alone(
    drawn: tuple[int, int, float, tuple[str, str]], cuts: list[int], limits: Limits, policy: Any
) -> None:
    seed, length, chaos, names = drawn
    log, policies = mixed_log(seed, length, chaos), UnknownPolicies(sensors=policy)
    table = TableEngine(table_of(names), limits, unknown=policies)
    each = [alone(bundle, name, limits, policies) for bundle, name in zip("ba", names, strict=True)]
    for batch in batches(log, cuts):
        found = table.process(batch, publish_scores=True)
        wanted = [engine.process(batch, publish_scores=True) for engine in each]
        for kind in ("alarms", "scores"):
            assert sorted(bodies([found], kind)) == sorted(bodies(wanted, kind)), kind
        # What is worthless whoever looks at it is a dead letter for each of them.
        assert letters([found]) == letters(wanted)
        assert sorted(found.snapshots, key=repr) == sorted((s for one in wanted for s in one.snapshots), key=repr)
        for count in COUNTS:
            assert getattr(found.counts, count) == sum(getattr(one.counts, count) for one in wanted), count
        assert found.counts.missing == sum((one.counts.missing for one in wanted), Counter())
        assert found.counts.received == found.counts.settled
        lows = [low for engine in each if (low := engine.low(0)) is not None]
        assert table.low(0) == min(lows, default=None)
    assert sorted(table.snapshots(0)) == sorted(pair for engine in each for pair in engine.snapshots(0))
    assert {status.asset for status in table.status()} == {s.asset for engine in each for s in engine.status()}


@quick
@given(mixed, st.lists(st.integers(0, 120), max_size=12), ANY_LIMITS)
def test_what_is_said_and_its_order_do_not_hang_on_the_cuts(
    drawn: tuple[int, int, float, tuple[str, str]], cuts: list[int], limits: Limits
) -> None:
    seed, length, chaos, names = drawn
    log = mixed_log(seed, length, chaos)
    one, other = TableEngine(table_of(names), limits), TableEngine(table_of(names), limits)
    whole = [one.process(batch, publish_scores=True) for batch in batches(log, [])]
    pieces = [other.process(batch, publish_scores=True) for batch in batches(log, cuts)]
    for kind in ("alarms", "scores", "dead_letters"):
        assert bodies(whole, kind) == bodies(pieces, kind), kind
    assert [stamp for outcome in whole for stamp in outcome.alarm_timestamps_ms] == [
        stamp for outcome in pieces for stamp in outcome.alarm_timestamps_ms
    ]
    assert totals(whole) == totals(pieces)
    assert whole[-1].counts.held == pieces[-1].counts.held
    # Every reading is one bundle's or nobody's: as many as for a bundle that knows all assets and sensors.
    knowing_all = replace(GRIDS[names[0]], sensors=(*SENSORS, "nonsense"), operating=None, suppression=None, fleet=None)
    of_all = Engine(knowing_all, limits)
    reads_all = [of_all.process(batch) for batch in batches(log, [])]
    readings = [totals(found)["received"] + found[-1].counts.held for found in (whole, reads_all)]
    assert readings[0] == readings[1]


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.too_slow])
@given(mixed, ANY_LIMITS, st.integers(0, 10**6))
def test_a_chain_of_restarts_changes_nothing(
    drawn: tuple[int, int, float, tuple[str, str]], limits: Limits, restarts: int
) -> None:
    seed, length, chaos, names = drawn
    check_restarts(lambda: TableEngine(table_of(names), limits), mixed_log(seed, length, chaos), restarts)


@pytest.mark.parametrize("names", [("plain", "watermark"), ("samples", "lateness"), ("head", "gaps")])
def test_it_agrees_with_the_twin_of_each_bundle_on_a_long_log(names: tuple[str, str]) -> None:
    log = random_log(7, 900, 0.05)
    table = TableEngine(table_of(names), LIMITS)
    twins = {
        bundle: NaiveEngine(spec_of(bundle, name), replace(LIMITS, allowed_assets=(MINE[bundle],)))
        for bundle, name in zip("ba", names, strict=True)
    }
    alarms: Counter[str] = Counter()
    for batch in batches(log, [5, 6, 300, 303, 800]):
        found = table.process(batch, publish_scores=True)
        for bundle, twin in twins.items():
            wanted = twin.process(batch)
            mine = [alarm for alarm in found.alarms if alarm.bundle == bundle]
            assert [alarm_tuple(alarm) for alarm in mine] == wanted.alarms
            scores = [score for score in found.scores if score.bundle == bundle]
            assert [(s.asset, s.time, s.score, s.alarm, s.degraded) for s in scores] == wanted.scores
            alarms[bundle] += len(mine)
    assert min(alarms["a"], alarms["b"]) > 1, "a log without alarms of both proves little"


def one_batch(*records: tuple[bytes | None, dict[str, Any]]) -> RecordBatch:
    values = [orjson.dumps({"time": BASE + place * STEP, **body}) for place, (_, body) in enumerate(records)]
    return RecordBatch(
        "plant.readings", 0, range(len(records)), [key for key, _ in records], values, [-1] * len(records)
    )


def test_an_asset_is_unknown_where_no_line_or_not_the_bundles_own_glob_fits() -> None:
    table = TableEngine(table_of(("plain", "plain")), unknown=UnknownPolicies(assets="dead-letter"))
    outcome = table.process(
        one_batch(
            (b"m1", {"sensor": "x1", "value": 1.0}),
            (b"other", {"sensor": "x1", "value": 1.0}),
            (b"n0", {"values": {"x1": 1.0, "x2": 1.0}}),
        )
    )
    assert [(letter.offset, letter.reason, letter.detail) for letter in outcome.dead_letters] == [
        (1, "unknown-asset", "'other' is not an asset of any bundle of the table"),
        (2, "unknown-asset", "'n0' is not an asset of any bundle of the table"),
    ]
    assert (outcome.counts.windowed, outcome.counts.dead_lettered) == (1, 3)


def test_a_sensor_of_one_bundle_is_unknown_for_an_asset_of_another() -> None:
    table = TableEngine(table_of(("plain", "plain")))
    outcome = table.process(
        one_batch((b"m0", {"sensor": "nonsense", "value": 1.0}), (b"m1", {"sensor": "nonsense", "value": 1.0}))
    )
    assert (outcome.counts.windowed, outcome.counts.ignored, outcome.unknown.sensors) == (1, 1, ("nonsense",))


def test_a_record_that_names_no_asset_is_a_dead_letter_once_if_any_bundle_knows_a_sensor_of_it() -> None:
    table = TableEngine(table_of(("plain", "plain")))
    outcome = table.process(
        one_batch((None, {"sensor": "nonsense", "value": 1.0}), (None, {"sensor": "nobody", "value": 1.0}))
    )
    assert [(letter.offset, letter.reason) for letter in outcome.dead_letters] == [(0, "bad-key")]
    assert outcome.counts.ignored == 1


def test_an_asset_that_left_is_let_go_of_by_its_bundle() -> None:
    table = TableEngine(table_of(("plain", "plain")))
    table.process(one_batch((b"m0", {"sensor": "x1", "value": 1.0}), (b"m1", {"sensor": "x1", "value": 1.0})))
    assert [asset for asset, _ in table.retire("plant.readings", 0, "m1", 2).snapshots] == ["m1"]
    assert table.retire("plant.readings", 0, "stranger", 2) == Outcome()
    assert [status.asset for status in table.status()] == ["m0"]
    table.forget(0)
    assert table.status() == []


def test_alarms_name_the_bundle_of_their_asset() -> None:
    table = TableEngine(table_of(("plain", "plain")))
    outcome = table.process(batches(random_log(7, 900, 0.0), [])[0])
    assert {(alarm.asset, alarm.bundle) for alarm in outcome.alarms} == {("m0", "a"), ("m1", "b"), ("m2", "a")}
