"""An operator sets the committed offset back under the same bundle: what the engine then raises, and what not."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_detector.engine.engine import Engine
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import Outcome, RecordBatch
from tests.engine.test_engine import GRIDS, acknowledged, batches, logs, quick, random_log

Run = list[tuple[RecordBatch, Outcome]]


def together(pairs: Run, what: str, beyond: int = 0) -> list[Any]:
    """Messages that records from offset `beyond` on gave, in order."""
    return [each for batch, outcome in pairs if batch.offsets[0] >= beyond for each in getattr(outcome, what)]


@quick
@given(logs, st.lists(st.integers(0, 120), max_size=12), st.data())
def test_steps_read_again_say_the_same_and_what_snapshots_do_not_cover_is_raised(
    drawn: tuple[int, int, float, str], cuts: list[int], data: st.DataObject
) -> None:
    seed, length, chaos, name = drawn
    rules, limits, log = GRIDS[name], Limits(slack_steps=5), random_log(seed, length, chaos)
    undisturbed = Engine(rules, limits)
    truth: Run = []
    lows = []
    for batch in batches(log, cuts):
        truth.append((batch, undisturbed.process(batch)))
        lows.append(undisturbed.low(0))
    done = data.draw(st.integers(0, len(truth) - 1), label="batch up to which everything was done")
    back = data.draw(st.integers(0, done), label="batch that the operator goes back to")
    covered = truth[done][0].offsets[-1] + 1
    reset = truth[back][0].offsets[-1] + 1
    # Found by time, with room to spare: at or before what a commit would have said.
    known = lows[back]
    enough = reset if known is None else min(known, reset)
    low = data.draw(st.integers(0, enough), label="where it reads from")

    engine = Engine(rules, limits)
    engine.restore(0, acknowledged(log, truth[: done + 1]), silent_until=reset)
    again: Run = [(batch, engine.process(batch)) for batch in batches(log, [*cuts, reset, covered], low)]

    assert together(again, "alarms", covered) == together(truth, "alarms", covered)
    assert together(again, "dead_letters", covered) == together(truth, "dead_letters", covered)
    said = {repr(alarm) for alarm in together(truth, "alarms")}
    assert {repr(alarm) for alarm in together(again, "alarms")} <= said


@quick
@given(logs, st.lists(st.integers(0, 120), max_size=12), st.lists(st.integers(0, 120), max_size=12))
def test_offsets_at_zero_without_snapshots_raise_everything_again(
    drawn: tuple[int, int, float, str], cuts: list[int], other_cuts: list[int]
) -> None:
    seed, length, chaos, name = drawn
    log = random_log(seed, length, chaos)
    runs = []
    for cut in (cuts, other_cuts):
        engine = Engine(GRIDS[name], Limits(slack_steps=5))
        engine.restore(0, {}, silent_until=0)
        run: Run = [(batch, engine.process(batch)) for batch in batches(log, cut)]
        runs.append([together(run, what) for what in ("alarms", "dead_letters")])
    assert runs[0] == runs[1]
