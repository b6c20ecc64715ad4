"""The same plant in other forms: rows or readings, shuffled, offline, in blocks, in several partitions, in floods."""

import time
import warnings
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_detector.engine.assets.snapshots import load
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Limits, Outcome, RecordBatch, score_frame
from tests.engine.test_engine import BASE, GRIDS, SENSORS, STEP, alarm_tuple, batches, make_rules, random_log
from tests.support.properties import examples

Sent = tuple[float, dict[str, Any]]


def plant(steps: int, seed: int = 3, holes: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (N,), values (N, 3) and event times of a table with gaps, missing cells and breaks."""
    rng = np.random.default_rng(seed)
    kept = rng.random(steps) > 0.03
    times = BASE + np.flatnonzero(kept) * STEP
    values = np.round(rng.normal(size=(len(times), 3)) * 3, 3)
    values[rng.random(values.shape) < holes] = np.nan
    return times, values, times[rng.random(len(times)) < 0.02]


def as_rows(times: np.ndarray, values: np.ndarray, events: np.ndarray) -> list[Sent]:
    found: list[Sent] = []
    for at, row in zip(times.tolist(), values.tolist(), strict=True):
        if at in events:
            found.append((at, {"time": at, "event": "break"}))
        cells = {name: None if np.isnan(cell) else cell for name, cell in zip(SENSORS, row, strict=True)}
        found.append((at, {"time": at, "values": cells}))
    return found


def as_readings(rows: list[Sent]) -> list[Sent]:
    return [
        (at, {"time": at, "sensor": name, "value": cell} if name else message)
        for at, message in rows
        for name, cell in message.get("values", {"": None}).items()
    ]


def send(engine: Engine, sent: list[Sent], cut: int = 1000, partition: int = 0) -> list[Outcome]:
    values = [orjson.dumps(message) for _, message in sent]
    return [
        engine.process(
            RecordBatch(
                "plant.readings", partition, list(range(begin, begin + len(values[begin : begin + cut]))),
                [b"m1"] * len(values[begin : begin + cut]), values[begin : begin + cut],
                [-1] * len(values[begin : begin + cut]),
            ),
            publish_scores=True,
        )
        for begin in range(0, len(values), cut)
    ]  # fmt: skip


def everything(outcomes: list[Outcome]) -> tuple[list[Any], list[Any]]:
    return (
        [alarm for outcome in outcomes for alarm in outcome.alarms],
        [score for outcome in outcomes for score in outcome.scores],
    )


def test_offline_and_stream_decide_alike() -> None:
    times, values, events = plant(400)
    for name in ("plain", "lateness", "gaps", "stride", "head"):
        rules = GRIDS[name]
        frame = score_frame(rules, times, values, events, "m1")
        # A last row, far away, closes on the stream what the end of the table closes offline.
        rows = [*as_rows(times, values, events), (0.0, {"time": float(times[-1]) + 15 * STEP, "values": {"x1": 0.0}})]
        alarms, scores = everything(send(Engine(rules), rows))
        assert [score.score for score in scores] == frame.steps.score.tolist(), name
        assert [score.alarm for score in scores] == frame.steps.above.tolist()
        assert alarms[: len(frame.alarms)] == frame.alarms
        assert len(frame.alarms) > 2


STEPS = [7e-5, 0.1, 1 / 3, 1.0, 60.0, 3600.0, 4 * 3600.0, 8 * 3600.0, 86_400.0]
"""Seconds; some are longer than `max_future_seconds`, six hours unless said otherwise."""


@settings(max_examples=examples(15))
@given(
    st.sampled_from(STEPS), st.sampled_from([1.0, 7 * 3600.0, 30 * 86_400.0]), st.integers(0, 5), st.integers(0, 10**6),
)  # fmt: skip
@example(3600.0, 8 * 3600.0, 0, 1)  # a row a shift in a grid of hours: each pause is longer than a clock may be wrong
@example(86_400.0, 86_400.0, 0, 2)
def test_offline_and_stream_agree_at_any_step_and_after_any_pause(
    step: float, pause: float, max_gap_steps: int, seed: int
) -> None:
    rules = make_rules(
        threshold=3.0, window={"steps": 3, "min_steps": 1},
        grid={"step_seconds": step, "max_future_seconds": 21_600.0, "max_gap_steps": max_gap_steps},
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    lengths = np.where(rng.random(60) < rng.choice([0.05, 0.3, 1.0]), pause * rng.integers(1, 4, 60), step)
    times = (round(BASE / step) + np.cumsum(np.maximum(1, np.round(lengths / step)))) * step
    values = np.round(rng.normal(size=(60, 3)) * 3, 3)
    events = times[rng.random(60) < 0.05]
    frame = score_frame(rules, times, values, events, "m1")
    # Three rows in a row confirm what the end of the table confirms offline, and close its last step.
    confirming = float(times[-1]) + 100 * (rules.grid.furthest_ahead_seconds + step)
    after = [(0.0, {"time": confirming + number * step, "values": {"x1": 0.0}}) for number in range(3)]
    outcomes = send(Engine(rules), [*as_rows(times, values, events), *after])
    alarms, scores = everything(outcomes)
    assert not any(outcome.dead_letters for outcome in outcomes)
    assert [score.score for score in scores][: len(frame.steps)] == frame.steps.score.tolist()
    assert [score.alarm for score in scores][: len(frame.steps)] == frame.steps.above.tolist()
    assert alarms[: len(frame.alarms)] == frame.alarms


def test_an_erratic_clock_among_good_ones_moves_nothing_and_costs_no_good_record() -> None:
    """It is the only one for some records, and each of its times is far from the one before."""
    rules, rng = make_rules(), np.random.default_rng(4)
    rows = as_rows(*plant(200, holes=0.0))
    erratic = [
        [(0.0, {"time": BASE + float(at), "values": {"x1": 1.0}}) for at in -np.sort(-rng.uniform(1e6, 1e9, size))]
        for size in rng.integers(0, 5, len(rows))
    ]
    mixed = [sent for row, bad in zip(rows, erratic, strict=True) for sent in (row, *bad)]
    outcomes = send(Engine(rules), [*mixed, rows[-1]])
    assert everything(outcomes) == everything(send(Engine(rules), rows))
    assert sum(len(outcome.dead_letters) for outcome in outcomes) == sum(map(len, erratic))


def test_rows_and_readings_decide_alike() -> None:
    rows = as_rows(*plant(300))
    for name in ("plain", "lateness", "watermark", "head"):
        assert everything(send(Engine(GRIDS[name]), rows)) == everything(send(Engine(GRIDS[name]), as_readings(rows)))


@settings(max_examples=examples(12))
@given(st.integers(0, 10**6), st.integers(1, 200), st.booleans())
@example(27, 3, False)  # a window shorter than the lateness does not show that its sensors are dead
def test_a_shuffle_within_the_lateness_changes_nothing(seed: int, cut: int, repeat: bool) -> None:
    rules = make_rules(grid={"lateness_seconds": 3 * STEP, "max_gap_steps": 1})
    rng = np.random.default_rng(seed)
    times, values, _ = plant(60, seed)
    in_order = as_readings(as_rows(times, values, np.empty(0)))
    if repeat:
        in_order += [in_order[int(place)] for place in rng.integers(0, len(in_order), 20)]
        in_order.sort(key=lambda pair: pair[0])
    delayed = [at + rng.uniform(0, 2.9 * STEP) for at, _ in in_order]
    shuffled = [in_order[place] for place in np.argsort(delayed, kind="stable")]
    final = [(0.0, {"time": BASE + 100 * STEP, "event": "end"})]
    wanted, found = (everything(send(Engine(rules), log + final, cut)) for log in (in_order, shuffled))
    assert found == wanted
    assert wanted[1]


def test_partitions_do_not_know_of_each_other() -> None:
    log = random_log(11, 300, 0.05)
    alone, both = Engine(GRIDS["plain"]), Engine(GRIDS["plain"])
    for batch in batches(log, [50, 170]):
        wanted = alone.process(batch, publish_scores=True)
        assert both.process(batch, publish_scores=True) == wanted
        assert both.process(replace(batch, partition=1), publish_scores=True).scores == wanted.scores
    both.forget(0)
    assert both.low(0) is None
    assert both.low(1) == alone.low(0)
    assert {status.partition for status in both.status()} == {1}


def test_blocks_are_cut_at_the_same_samples_whatever_their_length() -> None:
    rules = make_rules(
        grid={"kind": "samples", "step_seconds": 1 / 12_000, "max_future_seconds": 60.0},
        window={"steps": 256, "stride": 256}, threshold=1e9,
    )  # fmt: skip
    samples = np.random.default_rng(5).normal(size=20_000).round(4).tolist()

    def blocks(length: int) -> list[Sent]:
        return [
            (0.0, {"time": round(BASE + begin / 12_000, 6), "sensor": name, "step_seconds": 8.3333333e-5,
                   "values": samples[begin : begin + length]})
            for begin in range(0, len(samples), length) for name in SENSORS
        ]  # fmt: skip

    wanted = everything(send(Engine(rules), blocks(1000)))[1]
    assert len(wanted) == len(samples) // 256 - 1 + (BASE * 12_000 % 256 == 0)
    assert everything(send(Engine(rules), blocks(100), 7))[1] == wanted
    assert everything(send(Engine(rules), blocks(20_000), 1))[1] == wanted


def test_one_bad_clock_moves_nothing_and_a_long_outage_loses_nothing() -> None:
    rules = make_rules()
    rows = as_rows(*plant(40, holes=0.0))
    poison = (0.0, {"time": BASE + 1e6, "values": {"x1": 1.0}})
    mixed = [sent for row in rows for sent in (row, poison)]
    outcomes = send(Engine(rules), mixed)
    assert everything(outcomes) == everything(send(Engine(rules), rows))
    assert {letter.reason for letter in outcomes[0].dead_letters} == {"future"}
    later = [(at, message | {"time": message["time"] + 1e6}) for at, message in rows]
    (outcome,) = send(Engine(rules), rows + later)
    assert not outcome.dead_letters
    assert outcome.counts.windowed == outcome.counts.received == 2 * 3 * sum("values" in row for _, row in rows)


def test_assets_beyond_the_limit_are_dead_letters_and_cost_no_memory() -> None:
    engine = Engine(make_rules(), Limits(max_assets=2))
    value = orjson.dumps({"time": BASE, "values": {"x1": 1.0}})
    keys: list[bytes | None] = [f"m{number}".encode() for number in range(100)]
    outcome = engine.process(RecordBatch("t", 0, range(100), keys, [value] * 100, [-1] * 100))
    assert outcome.counts.windowed == 2
    assert outcome.counts.assets_refused == len(outcome.dead_letters) == 98
    assert {letter.reason for letter in outcome.dead_letters} == {"too-many-assets"}
    assert len(engine.status()) == 2


def test_a_silent_asset_is_evicted_with_its_alarm_cleared_and_no_longer_pins_low() -> None:
    limits = Limits(evict_after_seconds=100 * STEP, evict_after_records=80)
    engine = Engine(make_rules(threshold=-1.0), limits)
    early = [orjson.dumps({"time": BASE + step * STEP, "values": dict.fromkeys(SENSORS, 1.0)}) for step in range(8)]
    engine.process(RecordBatch("t", 0, range(8), [b"quiet"] * 8, early, [-1] * 8))
    assert [status.alarm_open for status in engine.status()] == [True]
    late = [orjson.dumps({"time": BASE + step * STEP, "values": dict.fromkeys(SENSORS, 1.0)}) for step in range(300)]
    outcome = engine.process(RecordBatch("t", 0, range(8, 308), [b"lively"] * 300, late, [-1] * 300))
    (marker,) = [load(data) for asset, data in outcome.snapshots if asset == "quiet" and data is not None]
    assert marker is not None
    assert marker.evicted is not None
    assert outcome.counts.assets_evicted == 1
    assert [alarm.state for alarm in outcome.alarms if alarm.asset == "quiet"] == ["cleared"]
    low = engine.low(0)
    assert low is not None
    assert low > 200


def test_a_message_of_our_own_says_the_same_again() -> None:
    frame = score_frame(GRIDS["plain"], *plant(200), "m1")
    again = score_frame(GRIDS["plain"], *plant(200), "m1")
    assert frame.alarms == again.alarms
    raised = frame.alarms[0]
    assert raised.state == "raised"
    assert raised.bundle == GRIDS["plain"].bundle_id
    assert raised.top_sensors
    assert len({alarm.id for alarm in frame.alarms if alarm.state == "raised"}) == sum(
        alarm.state == "raised" for alarm in frame.alarms
    )
    assert {alarm_tuple(alarm)[1] for alarm in frame.alarms} == {"raised", "cleared"}


@pytest.mark.slow
@pytest.mark.parametrize("flood", ["late", "ahead", "events", "poison", "backwards"])
def test_a_flood_of_odd_records_costs_time_in_proportion(flood: str) -> None:
    """Twice the flood may cost about twice the time, not four times."""
    rules: DetectorSpec = make_rules(grid={"lateness_seconds": STEP})

    def odd(number: int) -> bytes:
        if flood == "poison":
            return b"{junk"
        at = BASE + number // 6 * STEP
        message = {
            "late": {"time": at - 3 * STEP * (number % 2), "sensor": SENSORS[number % 3], "value": 1.0},
            "ahead": {"time": at + 1e6 * (number % 2), "sensor": SENSORS[number % 3], "value": 1.0},
            "events": {"time": at, "event": "break"},
            "backwards": {"time": at - number * STEP, "sensor": "x1", "value": 1.0},
        }[flood]
        return orjson.dumps(message)

    def cost(count: int) -> float:
        engine = Engine(rules)
        values = [odd(number) for number in range(count)]
        began = time.process_time()
        engine.process(RecordBatch("t", 0, range(count), [b"m1"] * count, values, [-1] * count))
        return time.process_time() - began

    cost(100)
    small, large = min(cost(500) for _ in range(3)), min(cost(2000) for _ in range(2))
    assert large < 10 * small
    assert large < 2000 * 0.004


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_bad_clock_in_what_is_read_in_silence_does_not_blind_an_asset_of_which_nothing_is_known(cut: int) -> None:
    """Another bundle rebuilds its windows without the snapshots that say what rule 1 refused."""
    rules = make_rules()
    rows = as_rows(*plant(200))
    ahead = rows[20][1]["time"] + rules.grid.max_future_seconds + 60.0
    rows.insert(20, (0.0, {"time": ahead, "values": {"x1": 0.0}}))
    whole = send(Engine(rules), rows, cut)
    engine = Engine(rules)
    engine.restore(0, {}, silent_until=25)
    found = send(engine, rows, cut)
    scores = everything(found)[1]
    assert sum(outcome.counts.late for outcome in found) == 0
    assert len(scores) > 100
    assert scores == everything(whole)[1][-len(scores) :]


def test_what_lay_in_memory_before_a_ring_was_made_is_no_number_to_reckon_with() -> None:
    """The bits of a signalling NaN, in every cell that nobody has written yet."""
    rules = make_rules(grid={"close": "watermark", "lateness_seconds": 60.0})
    engine, log = Engine(rules), random_log(5, 120, 0.1, assets=1)
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        for batch in batches(log, list(range(0, len(log), 7))):
            engine.process(batch)
            grid = engine._partitions[0].grid
            grid.cell_time.view(np.uint64)[~grid.reported] = 0x7FF0_0000_0000_0001
