"""What the figures of the reports show."""

import re
from pathlib import Path

import numpy as np
import pytest

from stream_detector.errors import RecipeError
from trainer.data.dataset import Dataset
from trainer.fitting import fit
from trainer.fitting.head_fit import Walked
from trainer.recipe import load_recipe
from trainer.reports.curve_figures import precision_and_recall, reliability, trade_offs
from trainer.reports.fit_figures import gaps_before
from trainer.reports.fit_report import walked_days

LEVEL = np.array([0.01, 0.02, 0.03, 0.20, 0.30])
POSITIVE = np.array([False, False, True, False, True])


def test_the_line_stops_where_rows_were_not_scored_and_not_where_points_were_thinned_out() -> None:
    rows = np.array([0, 1, 2, 3, 10, 11, 12])
    assert gaps_before(rows, np.arange(7)).tolist() == [4]
    assert gaps_before(rows, np.array([0, 3, 6])).tolist() == [2]
    assert gaps_before(rows, np.array([0, 2, 3])).tolist() == []


def test_the_operating_point_stands_on_both_curves() -> None:
    figure = trade_offs(LEVEL, POSITIVE, threshold=0.1)
    recall_precision, roc = (trace for trace in figure.data if trace.mode == "markers")
    # Above 0.1 lie two rows, one of them rightly; one of two events and one of three normal rows.
    assert (recall_precision.x[0], recall_precision.y[0]) == (0.5, 0.5)
    assert (roc.x[0], roc.y[0]) == (pytest.approx(1 / 3), 0.5)


def test_the_threshold_that_is_used_stays_in_view() -> None:
    figure = precision_and_recall(LEVEL, POSITIVE, threshold=5.0)
    assert figure.layout.xaxis.range[1] > 5.0
    assert {trace.name for trace in figure.data} == {"precision", "recall", "F1"}


def test_a_reliability_diagram_counts_the_rows_of_each_bin() -> None:
    figure = reliability(LEVEL, POSITIVE)
    rows = sum(int(re.sub(r"\D", "", text)) for text in figure.data[0].text)
    assert rows == len(LEVEL)


def test_a_calibrated_fit_without_a_newest_part_is_judged_by_the_days_before_they_were_learnt_from() -> None:
    sections = walked_days(Walked(LEVEL, POSITIVE), threshold=0.05)
    assert [figure is not None for _, _, figure in sections] == [True, True, True]
    assert "5 rows, 2 of them before an event" in sections[0][1]
    assert "were 2 rows, 1 of them rightly" in sections[0][1]
    [(_, text, figure)] = walked_days(Walked(LEVEL, np.zeros(5, bool)), threshold=0.05)
    assert "nothing can be said" in text
    assert figure is None


def test_a_sensor_that_the_head_wants_and_the_file_lacks_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "cut_parts", lambda *_: pytest.fail("the work has begun"))
    times = np.arange(10) * 120.0
    dataset = Dataset("plant.csv", "0" * 64, ("speed", "draw"), times, np.zeros((10, 2)), np.zeros(10, bool), True)
    with pytest.raises(RecipeError, match="x28"):
        fit.fit_recipe(load_recipe("paper-mill-calibrated"), dataset, tmp_path / "bundle")
