"""The calibrated recipe on real Kafka: probabilities and alarms are the offline ones, though the worker was killed."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stream_detector.__main__ import main
from stream_detector.bundle.bundle import load_bundle
from stream_detector.detection.config import HeadConfig, ThresholdConfig
from stream_detector.engine.offline import score_frame
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import (
    WorkerProcess,
    alarms_of,
    caught_up,
    read_topic,
    topic,
    topic_environment,
    wait_for,
)
from trainer.__main__ import main as trainer
from trainer.backtesting.folds import SECONDS_PER_DAY
from trainer.data.dataset import read_dataset
from trainer.data.simulate import Simulation, simulate, write
from trainer.fitting.fit import fit_recipe
from trainer.recipe import Recipe, load_recipe

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PATIENCE_SECONDS = 240.0
STILL_OPEN = 3
"""The newest steps wait for a later reading, so the stream has not scored them yet."""

ASSET = "pm"


@dataclass(frozen=True)
class Plant:
    """A bundle and the later days of its plant: `file`, read from `begin` to `end`; the worker is killed at `middle`
    (ISO 8601)."""

    bundle: Path
    file: Path
    begin: str
    middle: str
    end: str


def quickly(recipe: Recipe) -> Recipe:
    """The same recipe, learnt in seconds: few trees, and an autoencoder that saw little."""
    assert recipe.head is not None
    boosted = ({"trees": 5, "bags": 2, "keep": 0.25, "learning_rate": 0.3},)
    head = recipe.head.model_copy(update={"options": {**recipe.head.options, "boosted": boosted}})
    train = recipe.train.model_copy(update={"epochs": 1, "max_windows": 500})
    return recipe.model_copy(update={"head": head, "train": train})


@pytest.fixture(scope="module")
def paper_mill(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    recipe = quickly(load_recipe("paper-mill-calibrated"))
    file = shared_data / "papermill" / "process_data_dev.csv.gz"
    days = ("1999-05-08T00:00:00Z", "1999-05-09T00:00:00Z", "1999-05-10T00:00:00Z")
    return fitted(recipe, file, tmp_path_factory.mktemp("mill"), 7, *days)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    folder = tmp_path_factory.mktemp("simulated")
    write(simulate(Simulation(days=14, seed=3)), folder / "history.csv")
    loaded = load_recipe("simulated")
    bursts = {"half_life_days": 0.25, "share": 0.5, "prior_events": 1}
    features = {"lags": [1, 3], "volatility_steps": [5]}
    options = {"features": features, "first_day": 2, "calibration": {"bursts": bursts}}
    head, threshold = HeadConfig(kind="calibrated", options=options), ThresholdConfig(policy="probability")
    split = load_recipe("paper-mill-calibrated").split
    recipe = loaded.model_copy(update={"head": head, "threshold": threshold, "split": split})
    dataset = read_dataset(folder / "history.csv", recipe.data)
    first = dataset.times[0] // SECONDS_PER_DAY
    days = [iso_day(first + day) for day in (12, 13, 14)]
    return fitted(quickly(recipe), folder / "history.csv", folder, 12, *days)


def fitted(recipe: Recipe, file: Path, folder: Path, days: int, begin: str, middle: str, end: str) -> Plant:
    """Fit on the first `days` dates of the file."""
    dataset = read_dataset(file, recipe.data)
    past = dataset.times < (dataset.times[0] // SECONDS_PER_DAY + days) * SECONDS_PER_DAY
    fit_recipe(recipe, dataset.take(past), folder / "bundle")
    return Plant(folder / "bundle", file, begin, middle, end)


def iso_day(day: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(day * SECONDS_PER_DAY, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(("plant_name", "form"), [("simulated", "readings"), ("paper_mill", "rows")])
def test_a_worker_killed_midway_gives_the_probabilities_and_alarms_of_the_offline_scorer(
    kafka: Kafka | ExistingKafka, unique_name: str, plant_name: str, form: str, request: pytest.FixtureRequest,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plant: Plant = request.getfixturevalue(plant_name)
    for name, value in topic_environment(unique_name).items():
        monkeypatch.setenv(name, value)
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 2)

    def replay(since: str, until: str) -> None:
        files = ["--data", str(plant.file), "--bundle", str(plant.bundle), "--bootstrap", kafka.bootstrap]
        assert main(["replay", *files, "--asset", ASSET, "--as", form, "--from", since, "--until", until]) == 0

    publish = {"STREAM_DETECTOR_PUBLISH_SCORES": "true"}
    worker = WorkerProcess(kafka.bootstrap, unique_name, plant.bundle, tmp_path / "log", "w", publish)
    replay(plant.begin, plant.middle)
    try:
        worker.start()
        wait_for(lambda: bool(published(kafka, unique_name)), PATIENCE_SECONDS, "the first day is being scored")
        worker.kill()
        replay(plant.middle, plant.end)
        worker.start()
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), PATIENCE_SECONDS, "all is scored", each=0.5)
    finally:
        worker.kill()

    online = published(kafka, unique_name)
    offline, alarms = offline_answers(plant, tmp_path)
    due = sorted(offline)[:-STILL_OPEN]
    assert set(due) <= set(online) <= set(offline)
    wrong = {time: (online[time], offline[time]) for time in online if online[time] != offline[time]}
    assert wrong == {}
    assert any(alarm for _, alarm in online.values()), "without an alarm nothing was shown"
    found = {key: json.loads(content) for key, content in alarms_of(kafka.bootstrap, unique_name).items()}
    settled = {key: body for key, body in alarms.items() if body["raised_at"] < due[-STILL_OPEN]}
    assert {key: body for key, body in found.items() if body["raised_at"] < due[-STILL_OPEN]} == settled
    assert settled


def published(kafka: Kafka | ExistingKafka, prefix: str) -> dict[str, tuple[float, bool]]:
    """{time: (probability, whether it calls for an alarm)}; asserts that repeats say the same."""
    answers: dict[str, tuple[float, bool]] = {}
    for record in read_topic(kafka.bootstrap, topic(prefix, "scores")):
        body = json.loads(record.value)
        answer = body["probability"], body["alarm"]
        assert answers.setdefault(body["time"], answer) == answer
    return answers


def offline_answers(plant: Plant, folder: Path) -> tuple[dict[str, tuple[float, bool]], dict[tuple[str, str], Any]]:
    """What `trainer score` says of the later days, {time: (probability, alarm)}, and the alarms {(id, state): content}
    of the Python API."""
    from datetime import datetime

    import pandas as pd

    from stream_detector.messages import to_bytes

    bundle = load_bundle(plant.bundle)
    recipe = Recipe.model_validate(bundle.manifest.recipe_source)
    dataset = read_dataset(plant.file, recipe.data, bundle.manifest.sensors)
    begin, end = (datetime.fromisoformat(moment).timestamp() for moment in (plant.begin, plant.end))
    table = pd.read_csv(plant.file, dtype=str)
    assert len(table) == len(dataset)
    later = (dataset.times >= begin) & (dataset.times < end)
    table[later].to_csv(folder / "later.csv", index=False)
    files = ["--data", str(folder / "later.csv"), "--out", str(folder / "scores.csv")]
    assert trainer(["score", "--bundle", str(plant.bundle), *files]) == 0
    with (folder / "scores.csv").open() as file:
        answers = {row["time"]: (float(row["probability"]), row["alarm"] == "1") for row in csv.DictReader(file)}
    days = dataset.take(later)
    rows = ~days.events
    frame = score_frame(bundle, days.times[rows], days.values[rows], days.times[days.events], asset=ASSET)
    alarms = [json.loads(to_bytes(alarm)) for alarm in frame.alarms]
    return answers, {(alarm["id"], alarm["state"]): alarm for alarm in alarms}
