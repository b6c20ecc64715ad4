"""A plant that stands still for a night, with noise on its sensors: no alarm, and nothing in the ledger."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from stream_detector.api import Detector
from stream_detector.bundle.bundle import load_bundle
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, RecordBatch
from stream_detector.messages import Alarm, LoggedEvent, from_iso, to_iso
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report
from trainer.__main__ import main as trainer
from trainer.data.simulate import LABEL_COLUMN, STANDS_FROM_HOUR, STANDS_UNTIL_HOUR, Simulation, simulate

RECIPE = """\
title = "A machine that stands still at times"
[data]
label_column = "y"
labels_mark = "events"
drop_columns = ["grade", "broke_pump"]
[split]
train = 0.5
validation = 0.2
[grid]
step_seconds = 120
lateness_seconds = 120
[window]
steps = 4
[transform]
kind = "differences"
[scaler]
kind = "robust"
clip = 8
[model]
kind = "principal-components"
[score]
steps = "newest"
[threshold]
policy = "quantile"
quantile = 0.995
"""
RUNS = '[operating]\nwhen = "reel_speed > 500"\nhold_steps = 10\n'
DAYS = 9.4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with three nights of standing still, the last one judged, and a bundle."""
    folder = tmp_path_factory.mktemp("standstill")
    history = simulate(Simulation(days=DAYS, seed=5, standstills=True))
    history.to_csv(folder / "history.csv", index=False)
    (folder / "plant.toml").write_text(RECIPE + RUNS)
    options = ["--recipe", str(folder / "plant.toml"), "--data", str(folder / "history.csv")]
    assert trainer(["fit", *options, "--out", str(folder / "bundle"), "--json", str(folder / "fit.json")]) == 0
    return folder


@pytest.fixture(scope="module")
def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")


def streamed(spec: DetectorSpec, history: pd.DataFrame) -> tuple[list[Alarm], int]:
    """The alarms of the whole history as rows of a stream, and how many steps were not judged."""
    engine, records = Engine(spec), []
    sensors = list(spec.sensors)
    for time, label, values in zip(history["time"], history[LABEL_COLUMN], history[sensors].to_numpy(), strict=True):
        if label:
            records.append({"time": time, "event": "break"})
        known = [None if np.isnan(value) else float(value) for value in values]
        records += [] if label else [{"time": time, "values": dict(zip(sensors, known, strict=True))}]
    alarms, idle = [], 0
    for begin in range(0, len(records), 700):
        part = [json.dumps(record).encode() for record in records[begin : begin + 700]]
        batch = RecordBatch("t", 0, range(begin, begin + len(part)), [b"pm-1"] * len(part), part, [-1] * len(part))
        outcome = engine.process(batch)
        alarms += outcome.alarms
        idle += outcome.closed.not_running
    return alarms, idle


def in_a_night(alarm: Alarm) -> bool:
    """Raised while the machine stood still for a night, from an hour into it on."""
    since = (from_iso(alarm.raised_at) - Simulation().start.timestamp()) / 3600
    hour = since % 24
    day = since // 24 - (hour < STANDS_UNTIL_HOUR)
    return day % 3 == 2 and (hour >= STANDS_FROM_HOUR + 1 or hour < STANDS_UNTIL_HOUR)


def ledger_of(alarms: list[Alarm], history: pd.DataFrame) -> Ledger:
    ledger = Ledger()
    for alarm in alarms:
        ledger.add_alarm(alarm)
    for time in history["time"][history[LABEL_COLUMN] == 1]:
        ledger.add_event("pm-1", LoggedEvent(time=time, event="break"))
    return ledger


@pytest.mark.slow
def test_a_plant_that_stands_still_for_a_night_raises_no_alarm_and_costs_nothing(
    folder: Path, history: pd.DataFrame
) -> None:
    spec = DetectorSpec.of(load_bundle(folder / "bundle"))
    alarms, idle = streamed(spec, history)
    other, judged_all = streamed(replace(spec, operating=None), history)
    assert sum(alarm.state == "raised" and in_a_night(alarm) for alarm in other) >= 8, "noise alone raises alarms"
    assert judged_all == 0
    assert [alarm for alarm in alarms if alarm.state == "raised" and in_a_night(alarm)] == []
    assert any(alarm.state == "raised" for alarm in alarms), "a detector that is silent for ever proves nothing"
    assert idle > 3 * 8 * 30
    night = Simulation().start.timestamp() + (8 * 24 + STANDS_FROM_HOUR + 1) * 3600
    ledger = ledger_of(alarms, history)
    of_the_night = [entry for entry in ledger.account("pm-1").alarms if night <= entry.raised_at < night + 7 * 3600]
    assert of_the_night == []
    total = report(ledger, since=night).total
    assert (total.alarms, total.events, total.cost) == (0, 0, 0)


@pytest.mark.slow
def test_nothing_is_learnt_from_a_standstill_and_its_rows_are_counted_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], history: pd.DataFrame
) -> None:
    fitted = json.loads((folder / "fit.json").read_text())
    assert fitted["training"]["windows"] < fitted["training"]["rows"] - 8 * 30
    assert fitted["test"]["not_running"] > 8 * 30
    assert fitted["test"]["rows"] + fitted["test"]["not_running"] <= len(history) * 0.3 + 1
    capsys.readouterr()
    options = ["--bundle", str(folder / "bundle"), "--data", str(folder / "history.csv")]
    assert trainer(["evaluate", *options, "--rows", "test", "--report", str(folder / "report.html")]) == 0
    said = f"In {fitted['test']['not_running']:,} rows more the machine did not run ([operating])"
    assert said in capsys.readouterr().out
    assert said in (folder / "report.html").read_text()


@pytest.mark.slow
def test_file_stream_and_notebook_judge_the_same_rows(folder: Path, history: pd.DataFrame) -> None:
    bundle = load_bundle(folder / "bundle")
    out = folder / "scores.csv"
    options = ["--bundle", str(folder / "bundle"), "--data", str(folder / "history.csv"), "--out", str(out)]
    assert trainer(["score", *options]) == 0
    scored = pd.read_csv(out)
    speed = history.set_index("time").loc[scored["time"], "reel_speed"]
    assert (speed.dropna() > 500).all()
    events = history[LABEL_COLUMN] == 1
    frame = history[~events].assign(time=pd.to_datetime(history["time"][~events]))
    in_notebook = Detector(bundle).score(frame, time="time", events=pd.to_datetime(history["time"][events]))
    assert [to_iso(moment.timestamp()) for moment in in_notebook["time"]] == scored["time"].tolist()
    np.testing.assert_array_equal(in_notebook["score"], scored["score"])
    np.testing.assert_array_equal(in_notebook["alarm"], scored["alarm"] == 1)
    raised = {alarm.raised_at for alarm in streamed(DetectorSpec.of(bundle), history)[0]}
    assert raised <= set(scored["time"][scored["alarm"] == 1])
