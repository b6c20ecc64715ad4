"""Ways of reading one log that must come to the same: whole, in pieces, restarted, by the twin, as a table."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Limits, Outcome, RecordBatch
from stream_detector.engine.offline import ScoredFrame, score_frame
from tests.differential.logs import random_log
from tests.engine.naive_engine import NaiveEngine
from tests.engine.test_engine import Record, batches, check_equal, check_low, check_restart
from tests.engine.together import check_together

SENT = ("alarms", "scores", "dead_letters")
COUNTED = ("received", "windowed", "late", "duplicate", "dead_lettered", "ignored")
EACH_RECORD = 40
"""Logs so long are read one record at a time; longer ones are cut in so many places."""

MOST_RESTARTS = 5
"""In a row; a rebuild that is always cut short would never end."""

CONFIRMING = 3
"""Records that show that the plant has moved on, should rule 1 still hold rows of the table, or the end."""

MOST_UNCOMMITTED = 30
"""Records; with a batch of 30 more it is what `AssetHistory` reaches over, in the narrowest limits."""

END_STEPS = 50
"""So far after a table's end a last row closes on the stream what the end of the table closes offline."""


@dataclass(frozen=True)
class Case:
    """One draw: what decides, and the log that it reads. `seed` gives it again."""

    seed: int
    spec: DetectorSpec
    limits: Limits
    log: list[Record]
    policies: UnknownPolicies = IGNORING

    def engine(self) -> Engine:
        return Engine(self.spec, self.limits, unknown=self.policies)

    @property
    def rng(self) -> random.Random:
        """The same stream of numbers for whoever asks, apart from the one that drew the case."""
        return random.Random(f"compare {self.seed}")


def agrees_with_its_twin(case: Case) -> None:
    rng = case.rng
    cuts = [rng.randrange(len(case.log)) for _ in range(rng.choice([0, 3, 10, 40]))]
    engine, twin = case.engine(), NaiveEngine(case.spec, case.limits, case.policies)
    for batch in batches(case.log, cuts):
        check_equal(engine.process(batch, publish_scores=True), twin.process(batch), twin)
        check_low(engine.low(0), twin.low(), case.limits)


def is_the_same_however_it_is_cut(case: Case) -> None:
    rng, length = case.rng, len(case.log)
    everywhere = list(range(length))
    cuts = everywhere if length <= EACH_RECORD else sorted(rng.sample(everywhere, EACH_RECORD))
    whole, pieces = _undisturbed(case, []), _undisturbed(case, cuts)
    assert whole == pieces, _first_difference(whole, pieces)


def survives_a_restart(case: Case) -> None:
    rng = case.rng
    cuts = [rng.randrange(len(case.log)) for _ in range(rng.choice([3, 10, 20]))]
    check_restart(case.spec, case.limits, case.log, cuts, rng.randrange(20), rng.choice([0, 0, 1, 2, 4]))


def survives_restarts_in_a_row(case: Case) -> None:
    """Each restart begins with the snapshots and the `low` of the one before, at times in the middle of a rebuild."""
    found, wanted = _chain(case, may_crash_between=False), _undisturbed(case, [])
    assert found == wanted, _first_difference(found, wanted)


def survives_crashes_between_what_it_sends(case: Case) -> None:
    """A crash leaves any part of a batch's messages sent, or all of them and any part of the snapshots."""
    found, wanted = _chain(case, may_crash_between=True), _undisturbed(case, [])
    for kind in SENT:
        assert set(map(repr, found[kind])) == set(map(repr, wanted[kind])), _first_difference(found, wanted)


def survives_restarts_after_a_switch(case: Case) -> None:
    """A control record lets the engine decide from somewhere on; what is before it is read in silence.

    A crash before its first commit begins there again, whatever snapshots were acknowledged by then.
    """
    begin = case.rng.randrange(1, len(case.log))
    engine = case.engine()
    engine.restore(0, {}, begin, 1)
    wanted = _summed(engine.process(batch, publish_scores=True) for batch in batches(case.log, []))
    found = _chain(case, may_crash_between=False, begin=begin)
    assert found == wanted, _first_difference(found, wanted)
    found = _chain(case, may_crash_between=True, begin=begin)
    for kind in SENT:
        assert set(map(repr, found[kind])) == set(map(repr, wanted[kind])), _first_difference(found, wanted)


def decides_in_several_partitions_as_in_each(case: Case) -> None:
    rng = case.rng
    others = [random_log(rng, case.spec.grid, case.spec.sensors, len(case.log)) for _ in range(rng.choice([1, 2, 4]))]
    check_together(case.engine, [case.log, *others], rng)


ENGINE_COMPARISONS: tuple[Callable[[Case], None], ...] = (
    agrees_with_its_twin,
    is_the_same_however_it_is_cut,
    survives_a_restart,
    survives_restarts_in_a_row,
    survives_crashes_between_what_it_sends,
    survives_restarts_after_a_switch,
    decides_in_several_partitions_as_in_each,
)


def _undisturbed(case: Case, cuts: list[int]) -> dict[str, Any]:
    engine = case.engine()
    return _summed(engine.process(batch, publish_scores=True) for batch in batches(case.log, cuts))


def _summed(outcomes: Iterator[Outcome]) -> dict[str, Any]:
    """What was sent, in order, and the counts."""
    total: dict[str, Any] = {kind: [] for kind in SENT} | {"counts": Counter()}
    for outcome in outcomes:
        for kind in SENT:
            total[kind] += getattr(outcome, kind)
        total["counts"].update({name: getattr(outcome.counts, name) for name in COUNTED})
    return total


def _chain(case: Case, *, may_crash_between: bool, begin: int = 0) -> dict[str, Any]:
    rng = case.rng
    kept: dict[str, bytes] = {}
    pending: dict[str, bytes | None] = {}
    sent: list[Outcome] = []
    position = low = restarts = 0
    committed, term = begin, int(begin > 0)
    engine = case.engine()
    engine.restore(0, {}, committed, term)

    def luckless(share: float) -> bool:
        return restarts < MOST_RESTARTS and rng.random() < share

    def restart() -> None:
        nonlocal engine, position, restarts
        restarts += 1
        engine = case.engine()
        nothing_yet = term > 0 and committed == begin
        engine.restore(0, {} if nothing_yet else dict(kept), committed, term)
        # As at first: without snapshots, the rebuild begins where it began.
        position = 0 if nothing_yet else low
        pending.clear()

    def acknowledge(assets: list[str]) -> None:
        for asset in assets:
            data = pending.pop(asset)
            kept.pop(asset, None)
            if data is not None:
                kept[asset] = data

    while position < len(case.log):
        end = min(len(case.log), position + rng.choice([1, 2, 5, 10, 30]))
        outcome = engine.process(batches(case.log[:end], [], position)[0], publish_scores=True)
        if may_crash_between and luckless(0.1):
            sent.append(_some_of(outcome, rng))
            restart()
            continue
        sent.append(outcome)
        position = end
        pending |= dict(outcome.snapshots)
        if position < committed:
            if luckless(0.1):
                restart()
            continue
        if may_crash_between and luckless(0.1):
            acknowledge(rng.sample(sorted(pending), rng.randint(0, len(pending))))
            restart()
        elif not may_crash_between or rng.random() < 0.6 or position - committed > MOST_UNCOMMITTED:
            acknowledge(list(pending))
            committed, needed = position, engine.low(0)
            low = committed if needed is None else min(needed, committed)
            if luckless(0.3):
                restart()
    return _summed(iter(sent))


def _some_of(outcome: Outcome, rng: random.Random) -> Outcome:
    return replace(outcome, **{kind: [each for each in getattr(outcome, kind) if rng.random() < 0.5] for kind in SENT})


def _first_difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    for kind in SENT:
        ours, theirs = list(map(repr, found[kind])), list(map(repr, wanted[kind]))
        if ours != theirs:
            extra = [each for each in ours if each not in theirs][:2]
            absent = [each for each in theirs if each not in ours][:2]
            return f"{kind}: {len(ours)} for {len(theirs)}; only here {extra}, only there {absent}"
    return f"counts: {dict(found['counts'])} for {dict(wanted['counts'])}"


@dataclass(frozen=True)
class Table:
    """One asset's rows in the order of time. times: (N,); values: (N, F) NaN = missing; events: (E,) ascending."""

    times: np.ndarray
    values: np.ndarray
    events: np.ndarray


def random_table(rng: random.Random, spec: DetectorSpec, rows: int, widest_gap_steps: int) -> Table:
    """Rows at, between and far after the steps of the grid, with events and missing values."""
    step, numbers = spec.grid.step_seconds, np.random.default_rng(rng.randrange(2**32))
    ahead = rng.choice([[1.0, 1, 1, 1, 2, 4, 9], [1.0, 0.5, 0.25], [1.0, 1, 1, 1, 1, 1, widest_gap_steps]])
    times = round(1.7e9 / step) * step + np.cumsum(numbers.choice(ahead, size=rows)) * step
    values = np.round(numbers.normal(size=(rows, len(spec.sensors))) * 3, 3)
    values[numbers.random(values.shape) < rng.choice([0.0, 0.05, 0.3])] = np.nan
    return Table(times, values, times[numbers.random(rows) < rng.choice([0.0, 0.02, 0.1])])


def stream_agrees_with_offline(spec: DetectorSpec, table: Table, cuts: list[int]) -> ScoredFrame:
    """The rows of a table through the engine, and the table through `score_frame`; returns what that says."""
    frame = score_frame(spec, table.times, table.values, table.events, "m")
    messages = list(_messages(spec, table))
    last = float(table.times[-1])
    end = last + (END_STEPS + spec.grid.staleness_steps) * spec.grid.step_seconds
    messages += [{"time": end, "event": "end"}] * CONFIRMING
    values = [orjson.dumps(message) for message in messages]
    engine = Engine(spec)
    edges = sorted({0, len(values), *(cut % len(values) for cut in cuts)})
    outcomes = [
        engine.process(
            RecordBatch("t", 0, range(left, right), [b"m"] * (right - left), values[left:right], [-1] * (right - left)),
            publish_scores=True,
        )
        for left, right in pairwise(edges)
    ]
    found = _summed(iter(outcomes))
    assert not found["dead_letters"], found["dead_letters"][0].reason
    assert [score.score for score in found["scores"]] == frame.steps.score.tolist()
    assert [score.alarm for score in found["scores"]] == frame.steps.above.tolist()
    assert [score.probability for score in found["scores"]] == [
        None if np.isnan(each) else each for each in frame.steps.probability.tolist()
    ]
    # The end of the table ends no run; the last event does.
    assert found["alarms"][: len(frame.alarms)] == frame.alarms
    return frame


def _messages(spec: DetectorSpec, table: Table) -> Iterator[dict[str, Any]]:
    events = table.events.tolist()
    for time, row in zip(table.times.tolist(), table.values.tolist(), strict=True):
        while events and events[0] <= time:
            yield {"time": events.pop(0), "event": "break"}
        cells = zip(spec.sensors, row, strict=True)
        yield {"time": time, "values": {name: None if np.isnan(cell) else cell for name, cell in cells}}
    yield from ({"time": event, "event": "break"} for event in events)
