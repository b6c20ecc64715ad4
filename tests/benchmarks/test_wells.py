"""The judge of the oil wells, on simulated files, and the recipe on the public ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmarks.detection.wells import Verdict, bundle_alarms, fitted, judge
from benchmarks.detection.wells_files import SENSORS, WellFile, read_well
from benchmarks.detection.wells_rule import own_two_hours
from stream_detector.bundle.bundle import Bundle
from trainer.recipe import load_recipe

START = 1.5e9 - 1.5e9 % 60
LEVELS = np.array([3e7, 1.4e7, 110.0, 6e6, 70.0, 3e6, 40.0, 1.0])


def minutes_of(count: int, well: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count, 8) a well that runs steadily, at its own levels and with its own noise; each sensor strays once."""
    levels, noise = LEVELS * (1 + 0.3 * well), LEVELS * 1e-3 * (1 + well)
    units = rng.normal(size=(count, 8))
    for sensor in range(8):
        begin = rng.integers(0, count)
        units[begin : begin + 12, sensor] += 12
    values: NDArray[np.float64] = levels + noise * units
    return values


def well_file(
    name: str, values: NDArray[np.float64], turns: list[int] | None = None, classes: list[int] | None = None
) -> WellFile:
    """A file of whole minutes; turns: from which minutes on it is in which class."""
    times = START + 60 * np.arange(len(values)) + 59.0
    fault, well, _ = name.split("_")
    return WellFile(
        name,
        well,
        int(fault),
        SENSORS,
        times,
        values,
        START + 60.0 * np.array(turns or [0]),
        np.array(classes or [0]),
        float(times[-1]),
        None,
    )


def drifting(name: str, well: int, rng: np.random.Generator) -> WellFile:
    """Two hours of rest, then three sensors leave their level within half an hour; the fault is there after an hour."""
    values = minutes_of(200, well, rng)
    drift = np.clip((np.arange(200) - 120) / 30, 0, 1)[:, None]
    values[:, :3] *= 1 + np.array([0.1, -0.2, -0.3]) * drift
    return well_file(name, values, [0, 120, 180], [0, int(name[0]) + 100, int(name[0])])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rng = np.random.default_rng(1)
    normal = [well_file(f"0_WELL-{well}_{number}", minutes_of(240, well, rng)) for well in range(3) for number in "ab"]
    return fitted(load_recipe("oil-well"), normal, tmp_path_factory.mktemp("wells"))


def test_an_alarm_counts_by_the_class_of_its_moment() -> None:
    event = well_file("2_WELL-1_x", minutes_of(100, 1, np.random.default_rng(0)), [0, 40, 42, 80], [0, -1, 102, 2])
    normal = well_file("0_WELL-1_y", minutes_of(60, 1, np.random.default_rng(0)))
    raised = START + 60.0 * np.array([10, 41, 50, 70, 90])
    verdict = judge([event, normal], {event.name: raised, normal.name: np.empty(0)})
    assert verdict.leads == {event.name: 30.0}
    assert verdict.false == {event.name: 1, normal.name: 0}
    assert verdict.normal_hours == pytest.approx((40 * 60 + 59 * 60 + 59) / 3600)


def test_an_alarm_in_the_steady_state_comes_too_late() -> None:
    event = well_file("2_WELL-1_x", minutes_of(100, 1, np.random.default_rng(0)), [0, 42, 80], [0, 102, 2])
    assert judge([event], {event.name: np.array([START + 60 * 85.0])}).leads == {event.name: None}


def test_without_a_steady_state_the_lead_runs_to_the_end() -> None:
    event = well_file("5_WELL-1_x", minutes_of(100, 1, np.random.default_rng(0)), [0, 42], [0, 105])
    lead = judge([event], {event.name: np.array([START + 60 * 50.0])}).leads[event.name]
    assert lead == pytest.approx((event.ended - START) / 60 - 50)


def test_a_file_is_read_by_the_minute_with_the_last_value_of_each_sensor(tmp_path: Path) -> None:
    seconds = np.arange(150)
    table = pd.DataFrame(dict.fromkeys(SENSORS, seconds * 1.0))
    table.loc[55:59, "T-TPT"] = np.nan
    table.loc[60:119, "QGL"] = np.nan
    table["P-PDG"] = -1.180116e42
    table.insert(0, "timestamp", pd.to_datetime((START + seconds), unit="s"))
    table["class"] = pd.array([0] * 90 + [None] * 10 + [102] * 50, dtype="Int16")
    path = tmp_path / "2_WELL-00001_20200101000000.parquet"
    table.to_parquet(path)
    file = read_well(path)
    assert (file.well, file.fault, file.is_event) == ("WELL-00001", 2, True)
    assert file.times.tolist() == [START + 59, START + 119, START + 149]
    assert file.values[:, SENSORS.index("T-TPT")].tolist() == [54.0, 119.0, 149.0]
    assert np.isnan(file.values[:, SENSORS.index("P-PDG")]).all()
    assert np.isnan(file.values[1, SENSORS.index("QGL")])
    assert file.state_at(START + np.array([50.0, 95.0, 110.0])).tolist() == ["normal", "other", "transient"]


@pytest.mark.slow
@pytest.mark.parametrize("well", [0, 2, 5])
def test_the_recipe_warns_of_wells_that_it_was_not_fitted_on(bundle: Bundle, well: int) -> None:
    rng = np.random.default_rng(well)
    event = drifting(f"2_WELL-{well}_x", well, rng)
    quiet = well_file(f"0_WELL-{well}_z", minutes_of(300, well, rng))
    verdict = judge([event, quiet], {file.name: bundle_alarms(bundle, file) for file in (event, quiet)})
    assert verdict.caught
    assert verdict.caught[0] > 20
    assert sum(verdict.false.values()) == 0


def test_one_sensor_that_dies_raises_no_alarm(bundle: Bundle) -> None:
    values = LEVELS * (1 + 1e-3 * np.random.default_rng(3).normal(size=(300, 8)))
    values[:, 4:] = LEVELS[4:]
    values[150:, 1] = -1.180116e42
    assert not len(bundle_alarms(bundle, well_file("0_WELL-1_x", values)))


def test_alarms_do_not_hang_on_what_comes_after(bundle: Bundle) -> None:
    event = drifting("2_WELL-1_x", 1, np.random.default_rng(1))
    until = 160
    begun = well_file(event.name, event.values[:until], [0, 120], [0, 102])
    found = bundle_alarms(bundle, event)
    assert len(found)
    assert bundle_alarms(bundle, begun).tolist() == found[found <= event.times[until - 1] + 71].tolist()


def test_the_rule_of_thumb_never_looks_ahead() -> None:
    values = minutes_of(200, 1, np.random.default_rng(2))
    changed = values.copy()
    changed[150:] *= 2
    assert np.array_equal(own_two_hours(values)[:150], own_two_hours(changed)[:150])
    assert own_two_hours(changed)[150:160].max() > 10 * own_two_hours(values).max()


def test_the_figures_count_what_was_caught_and_what_was_false() -> None:
    verdict = Verdict({"a": 30.0, "b": None, "c": 50.0}, {"a": 1, "d": 1}, 48.0)
    assert verdict.figures() == {
        "events": 3,
        "caught": 2,
        "lead_minutes_median": 40.0,
        "false_alarms_per_day": 1.0,
    }
