"""What newcomers and machines are told to run is what `make check` runs."""

import re
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
CHECKS = re.findall(r"^check: (.*?)\s*##", MAKEFILE, re.MULTILINE)[0].split()


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_runs_each_part_of_make_check() -> None:
    steps = read(".github/workflows/check.yml")["jobs"]["check"]["steps"]
    run = [step["run"].removeprefix("make ") for step in steps if step.get("run", "").startswith("make ")]
    assert run == ["setup", *CHECKS]


def test_a_commit_passes_the_parts_of_make_check_that_take_seconds() -> None:
    hooks = read(".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert [hook["entry"].removeprefix("make ") for hook in hooks] == [part for part in CHECKS if part != "test"]


def test_what_make_test_leaves_out_make_long_runs() -> None:
    commands = dict(re.findall(r"^(test|long): .*\n\t(.*)$", MAKEFILE, re.MULTILINE))
    assert '-m "not long"' in commands["test"]
    assert "-m long" in commands["long"]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_make_target_exists(page: str) -> None:
    named = set(re.findall(r"make ([a-z-]+)`", (ROOT / page).read_text(encoding="utf-8")))
    assert named
    assert named <= TARGETS


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_link_and_folder_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"\]\(([\w./-]+)\)", text) + re.findall(
        r"`((?:stream_detector|trainer|tests|benchmarks)/[\w/]*)`", text
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
