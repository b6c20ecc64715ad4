"""The engine restarted again and again, with whatever snapshots the broker had acknowledged by then."""

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_detector.engine import partition
from stream_detector.engine.assets.snapshots import Snapshot, dump, load
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Limits, Outcome
from stream_detector.engine.table_engine import TableEngine
from tests.engine.naive_engine import NaiveEngine
from tests.engine.test_engine import (
    ANY_LIMITS,
    BASE,
    GRIDS,
    SENSORS,
    STEP,
    Record,
    batches,
    check_equal,
    logs,
    make_rules,
    random_log,
)
from tests.support.properties import examples, fast_first

few = settings(max_examples=examples(15), suppress_health_check=[HealthCheck.too_slow])
KINDS = ("alarms", "scores", "dead_letters")
COUNTS = ("received", "windowed", "late", "duplicate", "dead_lettered", "ignored")


class Restarted:
    """An engine that is killed at random; the topic of state holds what was acknowledged, and the commit its `low`.

    Some snapshots of a batch may be acknowledged while others are not, and none of it be committed.
    """

    def __init__(self, engine_of: Callable[[], Engine | TableEngine], log: list[Record], rng: random.Random) -> None:
        self.said: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self.counts: Counter[str] = Counter()
        self.restarts = self.beyond_the_commit = self.with_windows = 0
        self._engine_of, self._log, self._rng = engine_of, log, rng
        self._state: dict[str, bytes] = {}
        self._committed: int | None = None
        self._low = 0

    def run(self) -> None:
        engine, place = self._engine_of(), 0
        while place < len(self._log):
            end = min(len(self._log), place + self._rng.choice([1, 2, 5, 10, 30]))
            outcome = engine.process(batches(self._log[:end], [], place)[0], publish_scores=True)
            place = end
            if self._committed is not None and place <= self._committed:
                assert outcome.counts.received == len(outcome.alarms) == len(outcome.scores) == 0
                assert not outcome.dead_letters
                crash = self._rng.random() < 0.1
            else:
                crash = self._flush(engine, outcome, place)
            if crash:
                engine, place = self._restart()

    def _flush(self, engine: Engine | TableEngine, outcome: Outcome, place: int) -> bool:
        """True: it is killed here."""
        for kind in KINDS:
            self.said[kind] += [repr(each) for each in getattr(outcome, kind)]
        acknowledged = dict(outcome.snapshots)
        whole = self._rng.random() < 0.7
        for asset, data in acknowledged.items():
            if whole or self._rng.random() < 0.5:
                self._state.pop(asset, None)
                if data is not None:
                    self._state[asset] = data
        if not whole:
            self.beyond_the_commit += 1
            return True
        if self._rng.random() < 0.2:
            self.beyond_the_commit += 1
            return True
        for count in COUNTS:
            self.counts[count] += getattr(outcome.counts, count)
        low = engine.low(0)
        self._committed, self._low = place, place if low is None else min(low, place)
        return self._rng.random() < 0.2

    def _restart(self) -> tuple[Engine | TableEngine, int]:
        self.restarts += 1
        engine = self._engine_of()
        if self._committed is None:
            # From the first record on, as a worker does that finds no commit: snapshots may be of another log.
            return engine, 0
        snapshots = {asset: load(data) for asset, data in self._state.items()}
        self.with_windows += any(
            snapshot is not None and snapshot.windows is not None for snapshot in snapshots.values()
        )
        engine.restore(0, self._state, silent_until=self._committed)
        return engine, self._low


def undisturbed(engine: Engine | TableEngine, log: list[Record]) -> dict[str, list[str]]:
    outcomes = [engine.process(batch, publish_scores=True) for batch in batches(log, [])]
    return {kind: [repr(each) for outcome in outcomes for each in getattr(outcome, kind)] for kind in KINDS}


def check_chain(spec: DetectorSpec, limits: Limits, log: list[Record], seed: int) -> Restarted:
    return check_restarts(lambda: Engine(spec, limits), log, seed)


def check_restarts(engine_of: Callable[[], Engine | TableEngine], log: list[Record], seed: int) -> Restarted:
    """Everything is said that an undisturbed engine says, and nothing else; what is repeated is the same."""
    wanted = undisturbed(engine_of(), log)
    restarted = Restarted(engine_of, log, random.Random(seed))
    restarted.run()
    for kind in KINDS:
        assert set(restarted.said[kind]) == set(wanted[kind]), kind
    return restarted


@few
@given(logs, ANY_LIMITS, st.integers(0, 10**6))
def test_a_chain_of_restarts_changes_nothing(drawn: tuple[int, int, float, str], limits: Limits, restarts: int) -> None:
    seed, length, chaos, name = drawn
    check_chain(GRIDS[name], limits, random_log(seed, length, chaos), restarts)


SLEEPY = [
    Limits(max_assets=most, evict_after_seconds=20 * STEP, evict_after_records=40, slack_steps=5,
           window_lag_records=lag, window_lag_spans=0.0, window_bytes_per_record=1e9)
    for most in (2, 3) for lag in (3, 12, 10**6)
]  # fmt: skip


def sleepy_log(seed: int, length: int, chaos: float) -> list[Record]:
    """Of four assets one or two send for a while, then others; some come back with times that they had before."""
    rng = np.random.default_rng(seed)
    log: list[Record] = []
    shift = 0
    while len(log) < length:
        awake = rng.permutation(4)[: int(rng.integers(1, 3))]
        shift += int(rng.choice([0, 0, 10, 40, 60, -30]))
        part = random_log(int(rng.integers(10**6)), int(rng.integers(10, 90)), chaos, assets=len(awake))
        for key, value, stamp in part:
            if key is None or value is None or value.startswith(b"{n"):
                log.append((key, value, stamp))
                continue
            message = orjson.loads(value)
            message["time"] += shift * STEP
            later = stamp + int(1000 * max(0, shift) * STEP)
            log.append((b"m%d" % awake[int(key[1:])], orjson.dumps(message), later))
    return log[:length]


@few
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.3]), st.sampled_from(sorted(GRIDS)), st.sampled_from(SLEEPY),
)  # fmt: skip
def test_restarts_while_assets_are_evicted_and_come_back_change_nothing(
    seed: int, chaos: float, name: str, limits: Limits
) -> None:
    check_chain(GRIDS[name], limits, sleepy_log(seed, 150, chaos), seed)


@example(16597, 0.0, "gaps", SLEEPY[0])  # cleared with its asset before a record that raises another alarm
@few
@given(
    st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.3]), st.sampled_from(sorted(GRIDS)), st.sampled_from(SLEEPY),
)  # fmt: skip
def test_it_agrees_with_its_twin_while_assets_are_evicted_and_come_back(
    seed: int, chaos: float, name: str, limits: Limits
) -> None:
    engine, twin = Engine(GRIDS[name], limits), NaiveEngine(GRIDS[name], limits)
    ids: Counter[tuple[str, str]] = Counter()
    for batch in batches(sleepy_log(seed, 200, chaos), [50, 120]):
        outcome = engine.process(batch, publish_scores=True)
        check_equal(outcome, twin.process(batch), twin)
        ids.update((alarm.id, alarm.state) for alarm in outcome.alarms)
    assert all(times == 1 for times in ids.values()), "one id, two alarms"


# One row a record, by step.


def row(asset: str, step: float, value: float) -> Record:
    message = {"time": BASE + step * STEP, "values": dict.fromkeys(SENSORS, value)}
    return asset.encode(), orjson.dumps(message), int((BASE + 1e7) * 1000)


def lively(steps: range, asset: str = "lively") -> list[Record]:
    return [row(asset, step, float(step * 7 % 11)) for step in steps]


def restart_at(
    spec: DetectorSpec, limits: Limits, log: list[Record], stop: int, each: int = 40
) -> tuple[Outcome, Outcome, int]:
    """What follows offset `stop` undisturbed, and after a restart there; and how many records that read again."""
    engine, state = Engine(spec, limits), dict[str, bytes]()
    for batch in batches(log[:stop], list(range(each, stop, each))):
        state.update({asset: data for asset, data in engine.process(batch).snapshots if data is not None})
    low = engine.low(0)
    low = stop if low is None else low
    again = Engine(spec, limits)
    again.restore(0, state, silent_until=stop)
    for batch in batches(log[:stop], [], low) if low < stop else []:
        again.process(batch)
    (rest,) = batches(log, [], stop)
    return engine.process(rest, publish_scores=True), again.process(rest, publish_scores=True), stop - low


PLANT = Limits(window_lag_records=200)


def test_a_machine_that_stands_still_costs_a_restart_nothing() -> None:
    spec = make_rules(threshold=3.0)
    still = [row("still", step, float(step)) for step in range(40)]
    # It comes back after a night, in its old run and alarm.
    log = [*still, *lively(range(2000)), *(row("still", step, 9.0 - step % 3) for step in range(40, 60))]
    wanted, found, read_again = restart_at(spec, PLANT, log, 2000)
    assert wanted.alarms == found.alarms
    assert wanted.scores == found.scores
    assert wanted.counts == found.counts
    assert any(score.asset == "still" for score in found.scores), "its windows were whole at once"
    _, _, without = restart_at(spec, PLANT, lively(range(2000)), 1960)
    assert read_again <= without + 10
    _, _, all_of_it = restart_at(spec, Limits(), log, 2000)
    assert all_of_it > 1900


def test_an_asset_that_sends_again_needs_no_windows_in_its_snapshot() -> None:
    engine, state = Engine(make_rules(threshold=3.0), PLANT), dict[str, bytes]()
    for batch in batches([*lively(range(40), "still"), *lively(range(1000))], list(range(0, 1040, 50))):
        state.update(engine.process(batch).snapshots)
    with_windows = load(state["still"])
    assert with_windows is not None
    assert with_windows.windows is not None
    log = [each for step in range(1000, 1100) for each in lively(range(step, step + 1), "still")]
    for batch in batches([*[row("lively", 0, 0.0)] * 1040, *log], [1050, 1100], 1040):
        state.update(engine.process(batch).snapshots)
    without = load(state["still"])
    assert without is not None
    assert without.windows is None
    assert without.begin > 1040


def test_windows_too_large_for_a_message_stay_in_the_log() -> None:
    still, limits = lively(range(40), "still"), replace(PLANT, window_bytes=100)
    wanted, found, read_again = restart_at(make_rules(), limits, [*still, *lively(range(2000))], 2000)
    assert (wanted.alarms, wanted.scores, wanted.counts) == (found.alarms, found.scores, found.counts)
    assert read_again > 1900


def test_the_topic_of_state_is_not_flooded_with_windows() -> None:
    """A hundred machines stop at once: their windows are written little by little, the oldest first."""
    still = [each for name in range(100) for each in lively(range(20), f"still{name}")]
    log = [*still, *lively(range(2000))]
    engine, written = Engine(make_rules(), PLANT), 0
    for batch in batches(log, list(range(0, len(log), 25))):
        snapshots = [load(data) for _, data in engine.process(batch).snapshots if data is not None]
        sizes = [len(each.windows or b"") for each in snapshots if each is not None]
        assert sum(size > 0 for size in sizes) <= 12
        written += sum(sizes)
    assert 0 < written < 16 * len(log)
    low = engine.low(0)
    assert low is not None
    assert low > len(still)


# A gateway whose clock is a month ahead, beside good ones.


def bad(asset: str, step: float) -> Record:
    return asset.encode(), orjson.dumps({"time": BASE + step * STEP + 30 * 86_400, "sensor": "x1", "value": 1.0}), -1


@few
@given(logs, ANY_LIMITS)
def test_where_few_refused_records_may_be_listed_windows_are_snapshotted_and_nothing_changes(
    drawn: tuple[int, int, float, str], limits: Limits
) -> None:
    seed, length, _, name = drawn
    log = random_log(seed, length, 0.4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "MOST_REFUSED", 1)
        engine, twin = Engine(GRIDS[name], limits), NaiveEngine(GRIDS[name], limits)
        for batch in batches(log, list(range(0, length, 20))):
            check_equal(engine.process(batch, publish_scores=True), twin.process(batch), twin)
        check_chain(GRIDS[name], limits, log, seed)


@pytest.mark.slow
def test_any_number_of_refused_records_is_remembered() -> None:
    """Many readings a step, and so many refused ones that a snapshot would not list them all."""
    spec = make_rules(grid={"close": "watermark", "lateness_seconds": 60.0}, threshold=3.0)
    dense = [
        each for step in range(14) for part in range(430)
        for each in (row("m", step + part / 430, float(part % 9)), bad("m", step))
    ]  # fmt: skip
    after = [row("m", 14 + step / 3, float(step * 7 % 11)) for step in range(120)]
    for limits in (Limits(), Limits(window_bytes=100)):
        wanted, found, _ = restart_at(spec, limits, [*dense, *after], len(dense) + 30, each=1000)
        assert wanted.counts == found.counts
        assert wanted.counts.windowed == wanted.counts.received
        assert wanted.alarms == found.alarms
        assert len(found.alarms) > 3


@pytest.mark.parametrize("ahead", fast_first([1, 2, 3], 1))
@pytest.mark.parametrize("stop", fast_first([2004, 2006, 2011, 2005, 2007], 2))
def test_a_record_that_is_held_when_windows_are_snapshotted_is_settled_after_a_restart(ahead: int, stop: int) -> None:
    """So many records of a machine are far ahead when it stops; it goes on from there, or from where it was."""
    spec, limits = make_rules(threshold=3.0), replace(PLANT, window_lag_spans=0.0)
    far = [row("still", 40_000 + step, 5.0 - step % 3) for step in range(ahead)]
    for return_at in (40, 40_000 + ahead):
        back = [row("still", return_at + step, 9.0 - step % 3) for step in range(8)]
        log = [*lively(range(40), "still"), *far, *lively(range(1964 - ahead)), *back, *lively(range(1964, 2000))]
        wanted, found, read_again = restart_at(spec, limits, log, stop, each=50)
        assert (wanted.alarms, wanted.scores, wanted.dead_letters, wanted.counts) == (
            found.alarms, found.scores, found.dead_letters, found.counts
        )  # fmt: skip
        assert read_again < 500


def test_an_alarm_id_has_one_content_though_an_evicted_asset_comes_back_with_old_times() -> None:
    spec = make_rules(threshold=3.0)
    limits = Limits(evict_after_seconds=7 * 86_400.0, evict_after_records=1000)
    first = [row("m", step, 9.0 if step == 10 else 0.1) for step in range(20)]
    others = [row("other", 8 * 1440 + step, 0.1) for step in range(1500)]
    again = [row("m", step, 7.0 if step in (10, 25) else 0.1) for step in range(30)]
    (batch,) = batches([*first, *others, *again], [])
    outcome = Engine(spec, limits).process(batch)
    assert outcome.counts.assets_evicted == 1
    raised = [alarm for alarm in outcome.alarms if alarm.state == "raised"]
    assert len({alarm.id for alarm in raised}) == len(raised) == 2
    assert outcome.counts.late == 3 * 20


def test_a_snapshot_of_an_earlier_version_still_counts() -> None:
    spec, log = make_rules(threshold=3.0), lively(range(200))
    engine, state = Engine(spec), dict[str, bytes]()
    for batch in batches(log[:100], [50]):
        state.update(engine.process(batch).snapshots)
    snapshot = load(state["lively"])
    assert snapshot is not None
    fields = {name: getattr(snapshot, name) for name in ("since", "until", "refused", "held", "alarm", "alarm_step")}
    before = {"version": 1, **fields, "ended_step": snapshot.ended_step, "head": None}
    again = Engine(spec)
    again.restore(0, {"lively": msgspec.msgpack.encode(before)}, silent_until=100)
    again.process(batches(log[:100], [], engine.low(0) or 0)[0])
    (rest,) = batches(log, [], 100)
    assert again.process(rest, publish_scores=True).alarms == engine.process(rest, publish_scores=True).alarms


def test_damaged_windows_warm_up() -> None:
    snapshot = Snapshot(since=0, until=50, begin=50, windows=b"nonsense")
    engine = Engine(make_rules(threshold=3.0))
    engine.restore(0, {"lively": dump(snapshot)}, silent_until=50)
    (rest,) = batches(lively(range(100)), [], 50)
    assert engine.process(rest, publish_scores=True).closed.warming_up == 3
