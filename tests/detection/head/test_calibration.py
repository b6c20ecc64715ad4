import numpy as np
import pytest

from stream_detector.detection.config import LeadConfig
from stream_detector.detection.head.calibration import BurstConfig, CalibrationConfig, RateTracker, fit_offset, sigmoid

LEAD = LeadConfig(from_steps=1, until_steps=2)
CONFIG = CalibrationConfig(half_life_days=(1.0, 4.0))
BURSTS = CONFIG.model_copy(update={"bursts": BurstConfig(half_life_days=0.25, share=0.4, prior_events=0.5)})
STEP = 120.0


def test_the_offset_makes_expected_and_observed_agree() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-4, 1, size=5000)
    positive = rng.random(5000) < sigmoid(logits + 1.2)
    offset = fit_offset(logits, positive, precision=1e-9)
    assert sigmoid(logits + offset).sum() == pytest.approx(positive.sum(), rel=1e-6)
    assert offset == pytest.approx(1.2, abs=0.2)
    assert abs(fit_offset(logits, positive, precision=1e6)) < 0.01
    assert fit_offset(np.empty(0), np.empty(0, bool), 1.0) == 0.0


def naive_correction(
    predictions: list[tuple[int, float]], events: list[int], now: int, config: CalibrationConfig
) -> np.float64:
    """Sum over all predictions whose lead window is over, each decayed from the moment its label was known."""

    def decayed(half_life: float) -> tuple[float, float]:
        observed = expected = 0.0
        for step, probability in predictions:
            known = step + LEAD.until_steps
            if known > now:
                continue
            decay = 0.5 ** ((now - known) * STEP / (half_life * 86_400))
            positive = any(step + LEAD.from_steps <= e <= step + LEAD.until_steps for e in events)
            observed, expected = observed + decay * positive, expected + decay * probability
        return observed, expected

    def ratio(half_life: float, prior: float) -> float:
        observed, expected = decayed(half_life)
        return (prior + observed) / (prior + expected)

    slow = config.weight * np.mean([np.log(ratio(days, config.prior_events)) for days in config.half_life_days])
    bursts = config.bursts
    if bursts is None:
        return slow
    return slow + np.log((1 - bursts.share) + bursts.share * ratio(bursts.half_life_days, bursts.prior_events))


@pytest.mark.parametrize("config", [CONFIG, BURSTS], ids=["slow", "with bursts"])
def test_the_correction_agrees_with_the_sum_over_all_predictions(config: CalibrationConfig) -> None:
    rng = np.random.default_rng(4)
    tracker = RateTracker(config, LEAD)
    state = tracker.fresh()
    events = sorted(rng.choice(2000, 60, replace=False).tolist())
    predictions: list[tuple[int, float]] = []
    for step in range(2000):
        tracker.advance(state, step, step * STEP, step in events)
        if step % 97 == 0:
            assert tracker.correction(state) == pytest.approx(naive_correction(predictions, events, step, config))
        if step not in events:
            probability = float(rng.random() * 0.05)
            tracker.expect(state, step, probability)
            predictions.append((step, probability))
    assert len(state.waiting) <= LEAD.until_steps
    assert len(state.event_steps) <= LEAD.until_steps + 1


def test_no_label_counts_before_its_lead_window_is_over() -> None:
    tracker = RateTracker(CONFIG, LEAD)
    state = tracker.fresh()
    tracker.advance(state, 0, 0.0, event=False)
    tracker.expect(state, 0, 0.5)
    tracker.advance(state, 1, STEP, event=True)
    assert state.observed.sum() == 0
    tracker.advance(state, 2, 2 * STEP, event=False)
    assert (state.observed > 0).all()


@pytest.mark.parametrize("late", [1, 3, 30, 680], ids=lambda late: f"{late} steps late")
def test_an_event_that_is_told_late_leaves_the_rate_as_if_it_had_been_told_in_time(late: int) -> None:
    """The plant stands still for an hour after its break, as most do; a second break is told twice."""
    tracker = RateTracker(BURSTS, LEAD)
    in_time, told_late = tracker.fresh(), tracker.fresh()
    event, end = 200, 200 + 1000
    for step in [*range(event), *range(event + 30, end)]:
        tracker.advance(in_time, step, step * STEP, event=False)
        tracker.advance(told_late, step, step * STEP, event=False)
        if step == event + 30 + late:
            assert tracker.correction(told_late) < tracker.correction(in_time)
            tracker.advance(told_late, event, event * STEP, event=True)
            tracker.advance(told_late, event, event * STEP, event=True)
        if step == event - 1:
            tracker.advance(in_time, event, event * STEP, event=True)
            tracker.advance(told_late, event, event * STEP, event=False)
        for state in (in_time, told_late):
            tracker.expect(state, step, 0.02)
    np.testing.assert_allclose(told_late.observed, in_time.observed, rtol=1e-12)
    np.testing.assert_allclose(told_late.expected, in_time.expected, rtol=1e-12)


def test_an_event_that_is_told_after_more_than_a_day_counts_no_more() -> None:
    tracker = RateTracker(CONFIG, LEAD)
    state = tracker.fresh()
    for step in range(1500):
        tracker.advance(state, step, step * STEP, event=False)
        tracker.expect(state, step, 0.02)
    for event, counts in ((1500 - 725, False), (1500 - 715, True)):
        before = state.observed.sum()
        tracker.advance(state, event, event * STEP, event=True)
        assert bool(state.observed.sum() > before) is counts


def test_the_steps_that_are_kept_for_late_events_take_little_room_however_a_plant_runs() -> None:
    tracker = RateTracker(CONFIG, LEAD)
    state = tracker.fresh()
    for step in np.flatnonzero(np.arange(6000) % 7 < 4).tolist():
        tracker.advance(state, step, step * STEP, event=step % 90 == 0)
        tracker.expect(state, step, 0.02)
        tracker.advance(state, step - 50, (step - 50) * STEP, event=step % 110 == 0)
        assert len(state.negative.stretches) <= 64


def test_more_events_than_expected_raise_the_probability_and_fewer_lower_it() -> None:
    corrections = []
    for every in (10, 10_000):
        tracker = RateTracker(CONFIG, LEAD)
        state = tracker.fresh()
        for step in range(600):
            event = step % every == every - 1
            tracker.advance(state, step, step * STEP, event)
            if not event:
                tracker.expect(state, step, 0.02)
        corrections.append(tracker.correction(state))
    assert corrections[0] > 0.2
    assert corrections[1] < -0.1


def test_a_burst_raises_the_probability_at_once_and_a_long_silence_lowers_it_to_a_floor() -> None:
    tracker = RateTracker(BURSTS.model_copy(update={"weight": 0.0}), LEAD)
    state = tracker.fresh()
    found = {}
    for step in range(3000):
        event = step in (2900, 2905, 2910)
        tracker.advance(state, step, step * STEP, event)
        found[step] = tracker.correction(state)
        if not event:
            tracker.expect(state, step, 0.02)
    assert np.log(1 - 0.4) < found[2899] < np.log(1 - 0.4) + 0.1
    assert found[2899] < found[2903] < found[2908] < found[2913]
    assert found[2913] > found[2999]


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
