"""`trainer renew`, on a file and on the topics of a plant on real Kafka."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from stream_detector.bundle.registry import Registry
from tests.support.bundles import RECIPE
from tests.support.paths import ROOT
from tests.support.stack.kafka import ExistingKafka, Kafka
from tests.support.stack.object_store import object_store, why_no_object_store
from tests.support.stack.workers import read_topic, topic, topic_environment
from trainer.data.simulate import Simulation, simulate, write

QUICK = RECIPE.replace("options = { hidden = [8, 4] }", 'kind = "mahalanobis"') + '[threshold]\npolicy = "quantile"\n'


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(QUICK)
    write(simulate(Simulation(days=5, seed=4)), tmp_path / "plant.csv")
    return tmp_path


def command(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", program, *map(str, arguments)]
    return subprocess.run(
        call, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
    )


def renew(plant: Path, *more: object) -> list[object]:
    rules = ["--every", "1d", "--judge", "1d", "--least-days", 1, "--least-events", 1]
    return ["renew", "--once", "--registry", plant / "registry", "--recipe", plant / "small.toml", *rules, *more]


@pytest.mark.slow
def test_on_a_file_a_proposal_is_accepted_by_one_command(plant: Path) -> None:
    out = plant / "decision.json"
    done = command("trainer", *renew(plant, "--data", plant / "plant.csv", "--json", out))
    assert done.returncode == 0, done.stderr
    decision = json.loads(out.read_text())
    accept = done.stdout.strip().splitlines()[-1].removeprefix("to accept: stream-detector ").split()
    accepted = command("stream_detector", *accept, "--registry", plant / "registry")
    assert accepted.returncode == 0, accepted.stderr
    assert Registry(plant / "registry").resolve("champion") == decision["candidate"]
    again = command("trainer", *renew(plant, "--data", plant / "plant.csv", "--json", out))
    assert (again.stdout, out.read_text()) == ("no round is due\n", "null\n")


@pytest.mark.slow
def test_a_registry_in_an_object_store_gets_candidate_verdict_and_decision(plant: Path) -> None:
    reason = why_no_object_store()
    if reason is not None:
        pytest.skip(reason)
    out, address = plant / "decision.json", "s3://plant/bundles"
    rules = ["--policy", "managed", "--every", "1d", "--judge", "1d", "--least-days", 1, "--least-events", 1]
    call = ["renew", "--once", "--registry", address, "--recipe", plant / "small.toml", *rules]
    with object_store() as store:
        environment = {**store, "STREAM_DETECTOR_BUNDLE_CACHE": str(plant / "cache")}
        done = command("trainer", *call, "--data", plant / "plant.csv", "--json", out, **environment)
        assert done.returncode == 0, done.stderr
        decision = json.loads(out.read_text())
        again = command("trainer", *call, "--data", plant / "plant.csv", **environment)
        assert (again.stdout, again.returncode) == ("no round is due\n", 0)
        shown = command("stream_detector", "bundles", "show", "champion", "--registry", address, **environment)
    assert decision["outcome"] == "promoted"
    assert f"verdict.round = {decision['round']}" in shown.stdout
    assert decision["candidate"] in shown.stdout


@pytest.mark.kafka
@pytest.mark.slow
def test_a_round_on_the_topics_that_is_killed_again_and_again_is_decided_once(
    kafka: Kafka | ExistingKafka, unique_name: str, plant: Path
) -> None:
    environment = {**topic_environment(unique_name), "STREAM_DETECTOR_BOOTSTRAP": kafka.bootstrap}
    sent = command(
        "stream_detector", "replay", "--data", plant / "plant.csv", "--as", "rows", "--speed", "max", "--asset", "pm-1",
        **environment,
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    call = [
        sys.executable,
        "-m",
        "trainer",
        *map(str, renew(plant, "--bootstrap", kafka.bootstrap, "--policy", "managed")),
    ]
    rng = Random(unique_name)
    for _ in range(3):
        running = subprocess.Popen(call, env={**os.environ, **environment}, cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(3.0, 12.0))
        running.kill()
        running.wait()
    done = command("trainer", *call[3:], **environment)
    assert done.returncode == 0, done.stderr
    told = records(kafka.bootstrap, topic(unique_name, "renewal"))
    assert told
    assert {json.dumps(decision, sort_keys=True) for decision in told} == {json.dumps(told[0], sort_keys=True)}
    assert (told[0]["outcome"], told[0]["who"]) == ("promoted", "trainer renew")
    registry = Registry(plant / "registry")
    assert (registry.ids(), len(registry.changes("champion"))) == ([told[0]["candidate"]], 1)


def records(bootstrap: str, name: str) -> list[dict[str, object]]:
    return [json.loads(record.value) for record in read_topic(bootstrap, name)]


def test_a_judged_time_that_is_too_short_to_conclude_anything_is_refused(tmp_path: Path) -> None:
    done = command("trainer", "renew", "--once", "--registry", tmp_path, "--data", tmp_path / "x.csv", "--judge", "3d")
    assert done.returncode == 2
    assert "--judge 3d is shorter than --least-days 8" in done.stderr
    assert "Traceback" not in done.stderr
