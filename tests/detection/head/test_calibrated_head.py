import json

import numpy as np
import pytest
from msgspec.structs import replace

from stream_detector.detection.config import HeadConfig, LeadConfig
from stream_detector.detection.head.calibrated_head import (
    CalibratedHead,
    build_head,
    fresh_state,
    head_arrays,
    read_options,
)
from stream_detector.detection.head.calibration import RateTracker
from stream_detector.detection.head.ensemble import Ensemble, Linear
from stream_detector.detection.head.features import Features
from stream_detector.detection.head.head import HeadResult, StepInput
from stream_detector.detection.head.state import LENGTH, CalibratedState

SENSORS = ("a", "b", "c")
LEAD = LeadConfig()
CONFIG = HeadConfig(kind="calibrated", options={"features": {"lags": [1, 3], "volatility_steps": [4]}})


@pytest.fixture
def head() -> CalibratedHead:
    """A logistic head with random weights: what it says depends on all that it keeps."""
    options = read_options(CONFIG)
    features, tracker = Features(options.features, SENSORS), RateTracker(options.calibration, LEAD)
    size = len(features.names)
    weights = np.random.default_rng(2).normal(scale=0.4, size=size)
    ensemble = Ensemble(np.zeros(size, np.float32), Linear(np.zeros(size), np.ones(size), weights, -3.0), 1.0, ())
    arrays = head_arrays(ensemble, -0.5, fresh_state(features, tracker))
    return build_head(CONFIG, arrays, SENSORS, LEAD)


def plant(steps: int = 400, seed: int = 5) -> list[StepInput]:
    """Steps of a plant with events, gaps and missing values."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(steps, 3)).cumsum(axis=0)
    values[rng.random(values.shape) < 0.03] = np.nan
    events = rng.random(steps) < 0.03
    inputs, position = [], -1
    for i in range(steps):
        position = 0 if position < 0 or rng.random() < 0.01 else position + 1
        inputs.append(StepInput(i, i * 120.0, values[i], 0 if events[i] else position, bool(events[i]), True))
        if events[i]:
            position = -1
    return inputs


def run(
    head: CalibratedHead, inputs: list[StepInput], state: CalibratedState | None = None
) -> tuple[list[HeadResult], CalibratedState]:
    state = head.fresh() if state is None else state
    return [head.advance(state, step) for step in inputs], state


def test_a_head_restored_from_its_bytes_goes_on_exactly_as_before(head: CalibratedHead) -> None:
    inputs = plant()
    whole, end = run(head, inputs)
    for cut in (1, 37, 200, 399):
        first, state = run(head, inputs[:cut])
        rest, restored = run(head, inputs[cut:], head.load(head.dump(state)))
        for ours, theirs in zip(first + rest, whole, strict=True):
            assert ours.probability == theirs.probability
            np.testing.assert_array_equal(ours.attribution, theirs.attribution)
        assert head.dump(restored) == head.dump(end)


def test_probabilities_come_for_scorable_steps_only(head: CalibratedHead) -> None:
    inputs = plant(60)
    inputs[20] = StepInput(20, 2400.0, inputs[20].values, 5, False, False)
    answers, _ = run(head, inputs)
    for step, answer in zip(inputs, answers, strict=True):
        assert (answer.probability is None) == (step.event or not step.scorable)
        assert answer.attribution.shape == (3,)
    assert all(0 < answer.probability < 1 for answer in answers if answer.probability is not None)


def test_what_a_sensor_says_in_an_event_step_changes_nothing_later(head: CalibratedHead) -> None:
    """A stream may close that step before all sensors have reported it; offline the file has them all."""
    inputs = plant(120)
    blind = [StepInput(s.step, s.time, s.values * np.nan if s.event else s.values, s.run_position, s.event, True)
             for s in inputs]  # fmt: skip
    assert [a.probability for a in run(head, inputs)[0]] == [a.probability for a in run(head, blind)[0]]


def test_a_fresh_state_is_the_assets_own(head: CalibratedHead) -> None:
    one, other = head.fresh(), head.fresh()
    run(head, plant(50), one)
    assert head.dump(other) == head.dump(head.fresh())


def test_a_primed_head_goes_on_where_training_ended_but_forgets_the_clock_for_older_data(head: CalibratedHead) -> None:
    _, state = run(head, plant(300))
    state.primed_until = 299 * 120.0
    arrays = head_arrays(head.ensemble, head.offset, state)
    again = build_head(CONFIG, arrays, SENSORS, LEAD)
    later, older = again.fresh(), again.fresh()
    step = StepInput(300, 300 * 120.0, np.ones(3), 0, False, True)
    again.advance(later, step)
    assert later.features.clock.last_event == state.features.clock.last_event
    again.advance(older, StepInput(5, 600.0, np.ones(3), 0, False, True))
    assert older.features.clock.last_event is None
    assert older.rate.observed.sum() == 0
    np.testing.assert_array_equal(older.features.size, state.features.size)


def test_a_state_of_before_late_events_counted_goes_on_as_it_was(head: CalibratedHead) -> None:
    """A bundle, and the topic of state, may hold states without the steps that are kept for late events."""
    inputs = plant()
    whole, _ = run(head, inputs)
    _, middle = run(head, inputs[:200])
    written = head.dump(middle)
    (length,) = LENGTH.unpack_from(written)
    header = json.loads(written[LENGTH.size : LENGTH.size + length])
    assert header["rate"].pop("negative")
    text = json.dumps(header).encode()
    older = head.load(LENGTH.pack(len(text)) + text + written[LENGTH.size + length :])
    rest, _ = run(head, inputs[200:], older)
    assert [result.probability for result in rest] == [result.probability for result in whole[200:]]


def test_an_event_told_late_is_counted_alike_on_either_side_of_a_restart(head: CalibratedHead) -> None:
    inputs = plant()
    late = replace(inputs[150], event=True, scorable=False)
    told = [*inputs[:300], late, *inputs[300:]]
    whole, end = run(head, told)
    for cut in (151, 299, 301):
        _, state = run(head, told[:cut])
        rest, found = run(head, told[cut:], head.load(head.dump(state)))
        assert [result.probability for result in rest] == [result.probability for result in whole[cut:]]
        assert head.dump(found) == head.dump(end)
    untold, _ = run(head, inputs)
    assert head.tracker.correction(run(head, told[:301])[1].rate) > head.tracker.correction(
        run(head, inputs[:300])[1].rate
    )
    assert whole[320].probability != untold[319].probability


def test_the_state_stays_small(head: CalibratedHead) -> None:
    _, state = run(head, plant(2000))
    assert len(head.dump(state)) < 1500


@pytest.mark.parametrize("data", [b"", b"\x05\x00\x00\x00{}", b"\x02\x00\x00\x00{}" + b"\0" * 80])
def test_bytes_that_are_no_state_are_refused(head: CalibratedHead, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"state|numbers"):
        head.load(data)


def test_arrays_that_do_not_fit_are_refused(head: CalibratedHead) -> None:
    arrays = head_arrays(head.ensemble, 0.0, head.fresh())
    with pytest.raises(ValueError, match="offset"):
        build_head(CONFIG, {k: v for k, v in arrays.items() if k != "offset"}, SENSORS, LEAD)
    with pytest.raises(ValueError, match="features"):
        build_head(CONFIG, arrays, (*SENSORS, "d"), LEAD)
    with pytest.raises(ValueError, match="beginning"):
        build_head(CONFIG, {k: v for k, v in arrays.items() if k != "beginning"}, SENSORS, LEAD)
    with pytest.raises(ValueError, match="strength"):
        build_head(HeadConfig(kind="calibrated", options={"strength": -1}), arrays, SENSORS, LEAD)


def primed_at(head: CalibratedHead, inputs: list[StepInput]) -> CalibratedHead:
    """The head of a bundle whose training ended with these steps."""
    _, state = run(head, inputs)
    position, state.features.position = state.features.position, -1
    state.primed_until, state.primed_position = inputs[-1].time, position
    return build_head(CONFIG, head_arrays(head.ensemble, head.offset, state), SENSORS, LEAD)


@pytest.mark.parametrize("learnt", [201, 250, 300])
def test_a_head_that_reads_on_from_its_training_goes_on_as_if_it_had_decided_all_along(
    head: CalibratedHead, learnt: int
) -> None:
    inputs = plant()
    whole, end = run(head, inputs)
    again = primed_at(head, inputs[:learnt])
    state = again.fresh()
    for step in inputs[180:320]:  # what is read again of the log, the newest of the training among it
        again.follow(state, step)
    rest, found = run(again, inputs[320:], state)
    assert [result.probability for result in rest] == [result.probability for result in whole[320:]]
    assert again.dump(found) == again.dump(end)


def test_steps_of_the_training_that_were_open_at_the_takeover_cost_it_nothing_of_what_it_knows(
    head: CalibratedHead,
) -> None:
    inputs = [replace(step, event=step.event and step.step < 240) for step in plant()]
    whole, _ = run(head, inputs)
    again = primed_at(head, inputs[:250])
    state = again.fresh()
    for step in inputs[200:248]:
        again.follow(state, step)
    rest, _ = run(again, inputs[248:], state)
    assert rest[0].probability is not None
    assert [result.probability for result in rest[2:]] == [result.probability for result in whole[250:]]


def test_behind_a_gap_after_training_only_what_looks_back_a_few_steps_is_read(head: CalibratedHead) -> None:
    inputs = [replace(step, run_position=place, event=False) for place, step in enumerate(plant())]
    again = primed_at(head, inputs[:200])
    states = [again.fresh() for _ in range(2)]
    for state, begin in zip(states, (260, 290), strict=True):
        for step in inputs[begin:300]:
            again.follow(state, step)
    cold = again.fresh()
    np.testing.assert_array_equal(states[1].features.size, cold.features.size)
    np.testing.assert_array_equal(states[1].rate.expected, cold.rate.expected)
    reach = again.reach
    assert (reach.steps, reach.read_until) == (4, 199 * 120.0)
    np.testing.assert_array_equal(states[0].features.moves, states[1].features.moves)
    np.testing.assert_array_equal(states[0].features.recent, states[1].features.recent)
    assert again.advance(states[1], inputs[300]).probability != again.advance(cold, inputs[300]).probability
