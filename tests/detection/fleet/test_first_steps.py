"""A strange machine's scale: when it is learnt, from what, and that bytes give it back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detection.config import FleetConfig, ScalerConfig
from stream_detector.detection.fleet.first_steps import FirstSteps, kept_rows, most_bytes
from stream_detector.detection.fleet.own_scale import own_scale

USUAL = np.array([1.0, 2.0, 3.0])
ROBUST = ScalerConfig(kind="robust")


def machine(provisional_steps: int = 1000, least_steps: int = 10) -> FirstSteps:
    return FirstSteps(FleetConfig(provisional_steps=provisional_steps, least_steps=least_steps), ROBUST, USUAL)


def steps(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.normal(5.0, 2.0, (count, 3))
    found[rng.random(found.shape) < 0.1] = np.nan
    return found


def test_the_scale_is_learnt_at_every_doubling_and_last_when_it_is_fixed() -> None:
    subject = machine(provisional_steps=100, least_steps=10)
    learnt = [number for number, values in enumerate(steps(100), start=1) if subject.learn(values)]
    assert learnt == [10, 20, 40, 80, 100]
    assert subject.fixed
    assert len(subject.dump()) < 200, "what was learnt from is not kept any longer"


@pytest.mark.parametrize("count", [10, 100, 256, 300, 1000])
def test_it_is_what_training_would_have_learnt_of_these_steps(count: int) -> None:
    values, subject = steps(count), machine(provisional_steps=count)
    for each in values:
        subject.learn(each)
    every = 2 ** int(np.ceil(np.log2(count / min(count, kept_rows(3)))))
    center, scale = own_scale(ROBUST, values[::every], USUAL)
    assert subject.center is not None
    assert subject.center.tolist() == center.tolist()
    assert subject.scale is not None
    assert subject.scale.tolist() == scale.tolist()


@given(st.lists(st.integers(0, 700), max_size=5), st.integers(0, 99))
def test_bytes_give_back_every_bit_wherever_it_is_cut(cuts: list[int], seed: int) -> None:
    values = steps(700, seed)
    whole, cut = machine(600), machine(600)
    for number, each in enumerate(values[:600]):
        if number in cuts:
            data, cut = cut.dump(), machine(600)
            assert len(data) <= most_bytes(3)
            cut.load(data)
        assert whole.learn(each) == cut.learn(each)
    assert whole.dump() == cut.dump()


def test_damaged_bytes_count_as_none() -> None:
    subject = machine()
    for each in steps(30):
        subject.learn(each)
    for damaged in (b"", b"nonsense", subject.dump()[:-1]):
        other = machine()
        other.load(damaged)
        assert other.seen == 0
        assert other.center is None


def test_what_a_machine_does_not_tell_is_what_is_usual_in_the_fleet() -> None:
    values = steps(40)
    values[:, 0] = 7.0
    values[::2, 1] = np.nan
    values[:3, 1] = np.nan
    values[:, 2] = np.nan
    center, scale = own_scale(ROBUST, values, USUAL)
    assert center[0] == 7.0
    assert center[1] == np.nanmedian(values[:, 1])
    assert np.isnan(center[2]), "of a level that nobody has seen nothing can be said"
    assert scale.tolist() == USUAL.tolist()


def test_readings_beyond_all_bounds_leave_finite_numbers() -> None:
    values = steps(40)
    values[3] = 1e300
    values[4] = -1e308
    values[5] = 1.7e308
    for kind in ("standard", "robust", "minmax"):
        center, scale = own_scale(ScalerConfig.model_validate({"kind": kind}), values, USUAL)
        assert not np.isinf(center).any()
        assert np.isfinite(scale).all()
