"""The whole demo in lines, with a small bundle: on the embedded broker and on a real one."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_detector.__main__ import main
from stream_detector.settings import Settings
from stream_detector.streaming.clients.librdkafka import options
from tests.support.paths import ROOT
from tests.support.stack.kafka import ExistingKafka, Kafka
from tests.support.stack.processes import interruptible_children
from trainer.__main__ import main as trainer
from trainer.recipe import recipe_names

SMALL = ["--past-days", "8", "--days", "1", "--seconds", "6", "--plain"]


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fitted in a few seconds on eight days."""
    folder = tmp_path_factory.mktemp("demo")
    recipe = (ROOT / "trainer" / "recipes" / "simulated.toml").read_text()
    (folder / "small.toml").write_text(recipe.replace("epochs = 20", "epochs = 3"))
    assert trainer(["simulate", "--out", str(folder / "past.parquet"), "--days", "8"]) == 0
    arguments = ["--data", str(folder / "past.parquet"), "--out", str(folder / "bundle")]
    assert trainer(["fit", "--recipe", str(folder / "small.toml"), *arguments]) == 0
    return folder / "bundle"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream_detector", "demo", *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def check(done: subprocess.CompletedProcess[str], result: Path) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = json.loads(result.read_text())
    assert "what the alarms were worth:" in done.stdout
    assert found["steps_scored"] > 400
    assert done.stdout.count("BREAK") == found["caught"] + found["missed"] >= 1
    assert done.stdout.count("RAISED") == found["alarms"] >= 1
    assert found["never_cost"] == 100 * (found["caught"] + found["missed"])
    return found


@pytest.mark.slow
def test_the_demo_runs_from_simulation_to_summary_on_the_embedded_broker(small_bundle: Path, tmp_path: Path) -> None:
    result, picture, kept = tmp_path / "r.json", tmp_path / "screen.svg", tmp_path / "kept"
    arguments = ["--bundle", str(small_bundle), "--json", str(result), "--picture", str(picture), "--keep", str(kept)]
    check(demo(*arguments), result)
    assert "score against threshold" in picture.read_text().replace("&#160;", " ")
    assert (kept / "worker.log").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.kafka
def test_the_demo_leaves_no_topic_on_a_real_broker(
    kafka: Kafka | ExistingKafka, small_bundle: Path, tmp_path: Path
) -> None:
    from confluent_kafka.admin import AdminClient

    check(
        demo("--bundle", str(small_bundle), "--kafka", kafka.bootstrap, "--json", str(tmp_path / "r")), tmp_path / "r"
    )
    topics = AdminClient(options(Settings.load(bootstrap=kafka.bootstrap))).list_topics(timeout=10).topics
    assert [name for name in topics if name.startswith("demo-")] == []


def test_the_recipe_that_the_demo_fits_is_there() -> None:
    from stream_detector.demo.preparation import RECIPE

    assert RECIPE in recipe_names()


def test_data_of_ones_own_needs_a_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--data", "plant.csv"]) == 2
    assert "--data needs --bundle" in capsys.readouterr().err


def test_a_bundle_that_is_none_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--bundle", str(tmp_path / "none"), "--plain"]) == 2
    said = capsys.readouterr()
    assert "no bundle at" in said.err
    assert said.out == ""


def test_a_broker_that_does_not_answer_is_said_before_anything_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_detector.streaming.clients.librdkafka.CONNECT_SECONDS", 0.3)
    assert main(["demo", "--kafka", "127.0.0.1:9", "--plain"]) == 1
    said = capsys.readouterr()
    assert "no Kafka broker answers at 127.0.0.1:9" in said.err
    assert said.out == ""


@pytest.mark.slow
def test_ctrl_c_ends_with_the_summary_so_far_and_leaves_no_process(small_bundle: Path) -> None:
    command = [sys.executable, "-u", "-m", "stream_detector", "demo", "--bundle", str(small_bundle), *SMALL]
    command[command.index("--seconds") + 1] = "120"
    with interruptible_children():
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with started as running:
        assert running.stdout is not None
        while "times real time" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "Traceback" not in err
    assert out.startswith("stopped early; until then:")
    workers = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(small_bundle) in _content(path)]
    assert workers == []


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # the process has just ended
