"""Processes of one test run share what Maven resolves for them."""

import multiprocessing
from pathlib import Path

import pytest

from tests.support.stack import maven

MAVEN = """#!/bin/sh
echo run >> "{runs}"
sleep 0.3
for argument; do
  case $argument in -DoutputDirectory=*) mkdir -p "${{argument#*=}}" && touch "${{argument#*=}}/a.jar";; esac
done
"""


def test_processes_that_want_jars_at_once_run_maven_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    (tmp_path / "mvn").write_text(MAVEN.format(runs=runs))
    (tmp_path / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(maven, "FOLDER", tmp_path / ".kafka")

    forked = multiprocessing.get_context("fork")
    processes = [forked.Process(target=maven.resolved, args=(maven.BROKER,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [jar.name for jar in (tmp_path / ".kafka" / maven.BROKER).iterdir()] == ["a.jar"]
    assert runs.read_text().splitlines() == ["run"]
