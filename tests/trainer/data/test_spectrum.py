"""The sensors' spectra in the fit report."""

import numpy as np
import pytest

from stream_detector.detection.config import GridConfig
from trainer.data.dataset import Dataset
from trainer.data.spectrum import spectra

HOUR = 3600.0


def plant(hours: int, values: np.ndarray, missing: slice = slice(0, 0)) -> Dataset:
    keep = np.ones(hours, bool)
    keep[missing] = False
    times = np.arange(hours) * HOUR
    return Dataset("x", "0" * 64, ("daily", "weekly", "still"), times[keep], values[keep], None, False)


def test_the_strongest_period_is_that_of_the_plant_even_across_gaps() -> None:
    hours = 24 * 7 * 20
    time = np.arange(hours)
    values = np.column_stack([np.sin(2 * np.pi * time / 24), np.sin(2 * np.pi * time / 168), np.ones(hours)])
    values[:, :2] += 0.3 * np.random.default_rng(1).standard_normal((hours, 2))
    values[100:110, 0] = np.nan
    found = spectra(plant(hours, values, slice(500, 540)), GridConfig(step_seconds=HOUR))
    assert found is not None
    strongest = dict(found.strongest())
    assert strongest["daily"] == pytest.approx(24 * HOUR, rel=0.05)
    assert strongest["weekly"] == pytest.approx(168 * HOUR, rel=0.2)
    assert "still" not in strongest


def test_samples_without_a_time_and_short_files_have_none() -> None:
    values = np.random.default_rng(1).standard_normal((80, 3))
    assert spectra(plant(80, values), GridConfig(kind="table", step_seconds=1)) is None
    assert spectra(plant(40, values[:40]), GridConfig(step_seconds=HOUR)) is None
