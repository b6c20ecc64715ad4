"""Training and serving agree: a file through replay, broker and worker gives what the offline scorer gives."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundles import recipe_with
from tests.support.paths import ROOT
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

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LAST = "1999-05-04T00:00:00Z"
"""Three days of the file: some 1,900 rows, 115,000 readings."""

SETTLED = "1999-05-03T23"
"""Alarms raised before this do not depend on which record was the last."""

TOLERANCE = 1e-6
PATIENCE_SECONDS = 180.0


def run(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run a command of ours; its output."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Path:
    return shared_data / "papermill" / "process_data_dev.csv.gz"


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agreement") / "bundle"
    recipe = folder.with_name("paper-mill.toml")
    # Of the 15 epochs two: that both say the same needs no good detector.
    recipe.write_text(recipe_with("paper-mill", {"epochs = 15": "epochs = 2"}))
    run("trainer", "fit", "--recipe", str(recipe), "--data", str(data), "--out", str(folder))
    return folder


@pytest.fixture(scope="module")
def offline(data: Path, bundle: Path) -> dict[str, tuple[float, bool]]:
    """{time: (score, whether it calls for an alarm)}."""
    out = bundle.parent / "scores.csv"
    run("trainer", "score", "--bundle", str(bundle), "--data", str(data), "--out", str(out))
    with out.open() as file:
        return {row["time"]: (float(row["score"]), row["alarm"] == "1") for row in csv.DictReader(file)}


@pytest.fixture
def worker(kafka: Kafka | ExistingKafka, unique_name: str, bundle: Path, tmp_path: Path) -> Iterator[WorkerProcess]:
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 4)
    worker = WorkerProcess(
        kafka.bootstrap, unique_name, bundle, tmp_path / "log", environment={"STREAM_DETECTOR_PUBLISH_SCORES": "true"}
    )
    yield worker
    worker.kill()


REFERENCE: dict[str, dict[tuple[str, str], bytes]] = {}
"""Alarms of the first way that ran; all ways must give the same."""


@pytest.mark.parametrize(
    "way",
    [
        ["--as", "readings"],
        ["--as", "rows"],
        ["--as", "readings", "--shuffle-seconds", "100"],
        ["--as", "readings", "--repeat-share", "0.05"],
    ],
    ids=["readings", "rows", "shuffled within the lateness", "with duplicates"],
)
def test_online_scores_and_alarms_are_the_offline_ones(
    kafka: Kafka | ExistingKafka, unique_name: str, worker: WorkerProcess, way: list[str], data: Path, bundle: Path,
    offline: dict[str, tuple[float, bool]],
) -> None:  # fmt: skip
    run(
        "stream_detector", "replay", "--data", str(data), "--bundle", str(bundle), "--bootstrap", kafka.bootstrap,
        "--asset", "pm", "--until", LAST, *way, environment=topic_environment(unique_name),
    )  # fmt: skip
    worker.start()
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), PATIENCE_SECONDS, "all is scored", each=0.5)
    online = {
        body["time"]: (body["score"], body["alarm"])
        for record in read_topic(kafka.bootstrap, topic(unique_name, "scores"))
        for body in [json.loads(record.value)]
    }
    due = {time for time in offline if time < LAST}
    # The newest steps wait for a later reading.
    assert len(due) - 3 <= len(set(online) & due) == len(online) > 1_000
    assert max(abs(score - offline[time][0]) for time, (score, _) in online.items()) <= TOLERANCE
    assert [time for time, (_, alarm) in online.items() if alarm != offline[time][1]] == []
    found = alarms_of(kafka.bootstrap, unique_name)
    old = {key: content for key, content in found.items() if json.loads(content)["raised_at"] < SETTLED}
    assert REFERENCE.setdefault("alarms", old) == old
