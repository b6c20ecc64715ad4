"""Labels for files that have none."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.data.prelabel import marked, prelabel, write_anomaly_index
from trainer.recipe import PrelabelConfig


def plant_with_faults() -> NDArray[np.float64]:
    values = np.random.default_rng(1).standard_normal((2000, 4))
    values[500:510] += 8
    values[1500:1530] -= 9
    return values


def test_the_marks_are_the_rows_that_stand_out() -> None:
    sweep = prelabel(plant_with_faults(), PrelabelConfig())
    assert sweep.contaminations[sweep.chosen] == 0.02
    assert set(np.flatnonzero(sweep.labels)) == {*range(500, 510), *range(1500, 1530)}
    assert sweep.stretches[sweep.chosen] == 2


def test_a_larger_contamination_marks_more_and_keeps_what_a_smaller_one_marked() -> None:
    scores = prelabel(plant_with_faults(), PrelabelConfig()).scores
    small, large = marked(scores, 0.01), marked(scores, 0.03)
    assert small.sum() == 20
    assert large.sum() == 60
    assert not (small & ~large).any()


def test_missing_cells_and_a_single_contamination_are_fine() -> None:
    values = plant_with_faults()
    values[::7, 1] = np.nan
    sweep = prelabel(values, PrelabelConfig(contaminations=(0.02,)))
    assert sweep.labels.sum() == 40


def test_the_anomaly_index_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "anomalies.json"
    labels = np.array([False, True, False, True])
    write_anomaly_index(path, np.arange(4.0) * 60, np.flatnonzero(labels), np.array([2.0, 3.0]), threshold=1.5)
    content = json.loads(path.read_text())
    assert content["threshold"] == 1.5
    assert content["rows"] == 4
    assert content["anomalies"] == [{"row": 1, "time": 60.0, "score": 2.0}, {"row": 3, "time": 180.0, "score": 3.0}]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_labels() -> None:
    values = plant_with_faults()
    assert np.array_equal(prelabel(values, PrelabelConfig()).scores, prelabel(values, PrelabelConfig()).scores)
    assert prelabel(values, PrelabelConfig(seed=2)).scores == pytest.approx(
        prelabel(values, PrelabelConfig()).scores, abs=0.1
    )
