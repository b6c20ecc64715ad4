"""Planned downtime in files: its rows are left out, and a bundle's own file is split as it was."""

from pathlib import Path

import numpy as np

from trainer.data.dataset import Dataset
from trainer.data.planned import leave_out_planned, rows_planned, without_planned
from trainer.recipe import DataConfig, PlannedSpan

CALENDAR = """
[[window]]
assets = "a"
from = 1970-01-01T00:10:00Z
until = 1970-01-01T00:20:00Z
[[window]]
from = 1970-01-01T00:58:00Z
until = 1971-01-01T00:00:00Z
"""


def dataset() -> Dataset:
    """An hour of two machines, a row a minute."""
    times = np.tile(np.arange(60) * 60.0, 2)
    rows = np.repeat([0, 1], 60)
    return Dataset(
        "f.csv", "0" * 64, ("x",), times, times[:, None], None, True, rows, assets=("a", "b"), asset_rows=rows
    )


def test_rows_of_planned_downtime_are_left_out_of_the_machine_that_is_down(tmp_path: Path) -> None:
    calendar = tmp_path / "plant.toml"
    calendar.write_text(CALENDAR)
    whole = dataset()
    found, config = leave_out_planned(whole, DataConfig(), calendar)
    left = [found.times[rows] / 60 for _, rows in found.by_asset()]
    assert left[0].tolist() == [*range(10), *range(20, 58)]
    assert left[1].tolist() == [*range(58)]
    assert rows_planned(whole, found) == ["left out 14 of 120 rows, which lie in planned downtime"]
    assert rows_planned(whole, whole) == []
    again, same = leave_out_planned(dataset(), config, None)
    assert (again.times.tolist(), same) == (found.times.tolist(), config)


def test_a_file_of_one_machine_is_asked_by_the_name_that_is_given() -> None:
    whole = dataset().take(np.arange(60))
    alone = Dataset("f.csv", "0" * 64, ("x",), whole.times, whole.values, None, True)
    spans = (PlannedSpan(assets="pm-*", begin=0.0, until=600.0),)
    assert [len(without_planned(alone, spans, asset)) for asset in (None, "pm-1", "boiler")] == [50, 50, 60]
