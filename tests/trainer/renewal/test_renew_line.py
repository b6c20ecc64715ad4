"""`trainer renew --assets` on real Kafka: two lines of a running group's table, at once, and killed again and again."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.orders import read_lines
from tests.support.paths import ROOT
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import WorkerProcess, caught_up, topic, topic_environment, wait_for
from tests.trainer.renewal.test_renew_command import QUICK, command, records
from trainer.data.dataset import read_dataset
from trainer.data.simulate import Simulation, simulate, write
from trainer.fitting.fit import fit_recipe
from trainer.recipe import parse_recipe

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

DAY = 86_400.0
LINES = {"*": "pm-2", "pm-[13]": "pm-1"}
"""Glob, and the asset that it decides about."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A machine's file, and a registry with a champion that alarms half of the time."""
    write(simulate(Simulation(days=5, seed=4)), tmp_path / "plant.csv")
    recipe = parse_recipe(QUICK + "quantile = 0.5\n", "small")
    history = read_dataset(tmp_path / "plant.csv", recipe.data)
    fit_recipe(recipe, history.take(history.times < history.times[0] + DAY), tmp_path / "bundle")
    registry = Registry.create(tmp_path / "registry")
    champion = add_bundle(registry, tmp_path / "bundle", 1.78e9, "Kim").manifest.bundle_id
    (tmp_path / "table.toml").write_text(
        "".join(f'[[bundles]]\nassets = "{glob}"\nbundle = "registry/{champion}"\n' for glob in LINES)
    )
    (tmp_path / "small.toml").write_text(QUICK)
    return tmp_path


def test_two_lines_are_renewed_beside_each_other_under_kills_and_each_changes_once(
    kafka: Kafka | ExistingKafka, unique_name: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**topic_environment(unique_name), "STREAM_DETECTOR_BOOTSTRAP": kafka.bootstrap}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 2)
    worker = WorkerProcess(kafka.bootstrap, unique_name, site / "table.toml", site / "worker.log").start()
    try:
        for asset in LINES.values():
            sent = command("stream_detector", "replay", "--data", site / "plant.csv", "--as", "rows", "--speed", "max",
                           "--asset", asset, "--bundle", site / "bundle")  # fmt: skip
            assert sent.returncode == 0, sent.stderr
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 240, "all is committed")
        rules = ["--every", "1d", "--judge", "2d", "--least-days", 1, "--least-events", 1, "--policy", "managed"]
        call = ["renew", "--once", "--registry", site / "registry", "--recipe", site / "small.toml", *rules]
        call += ["--trial-days", 0, "--bootstrap", kafka.bootstrap]
        of_group = command("trainer", *call)
        assert of_group.returncode == 2, of_group.stderr
        assert "name one with --assets GLOB ('*', 'pm-[13]')" in of_group.stderr

        python, rng = [sys.executable, "-m", "trainer", *map(str, call)], Random(unique_name)
        for _ in range(3):
            running = [
                subprocess.Popen([*python, "--assets", glob], env=os.environ, cwd=ROOT, stdout=subprocess.DEVNULL)
                for glob in LINES
            ]
            time.sleep(rng.uniform(3.0, 12.0))
            for process in running:
                process.kill()
                process.wait()
        for glob in LINES:
            done = command("trainer", *call, "--assets", glob)
            assert done.returncode == 0, done.stderr
        told: dict[str, set[str]] = {}
        for decision in records(kafka.bootstrap, topic(unique_name, "renewal")):
            told.setdefault(str(decision["assets"]), set()).add(json.dumps(decision, sort_keys=True))
        assert {glob: len(of_line) for glob, of_line in told.items()} == dict.fromkeys(LINES, 1)
        decisions = {glob: json.loads(of_line.pop()) for glob, of_line in told.items()}
        assert {decision["outcome"] for decision in decisions.values()} == {"promoted"}
        wanted = {glob: decision["candidate"] for glob, decision in decisions.items()}
        wait_for(lambda: lines(kafka.bootstrap) == [wanted] * 2, 120, "both lines have changed in both partitions")
        registry = Registry(site / "registry")
        assert sorted(registry.ids()) == sorted({*wanted.values(), decisions["*"]["champion"]})
        assert [change.bundle for change in registry.lines(unique_name, "*")] == [wanted["*"]]
        again = command("trainer", *call, "--assets", "*")
        assert again.stdout == "no round is due\n", again.stderr
        assert worker.stop() == 0
    finally:
        worker.kill()


def lines(bootstrap: str) -> list[dict[str, str]]:
    return [dict(held.in_force) for held in asyncio.run(read_lines(Settings.load(bootstrap=bootstrap)))]
