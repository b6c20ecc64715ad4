"""What the base installation can do: a process works from which all modules outside its requirements are hidden."""

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stream_detector.extras import EXTRA_OF
from tests.support.bundles import write_small_bundle
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOO_HEAVY = {"torch", "pandas", "scipy", "scikit-learn", "plotly", "pyarrow", "river"}

IMPORT_ALL = """
import importlib, pkgutil, stream_detector
for module in pkgutil.walk_packages(stream_detector.__path__, "stream_detector."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
DETECTOR = "import sys; from stream_detector.__main__ import main; sys.exit(main(sys.argv[1:]))"
TRAINER = "import sys; from trainer.__main__ import main; sys.exit(main(sys.argv[1:]))"


def closure(requirements: list[str]) -> set[str]:
    """Names of the packages that these requirements bring, theirs included."""
    found: set[str] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker is not None and not requirement.marker.evaluate({"extra": extra})):
            continue
        found.add(name)
        for inner in ("", *requirement.extras):
            waiting += [(Requirement(text), inner) for text in _requires(name)]
    return found


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


@cache
def hidden_modules() -> tuple[str, ...]:
    """The modules that are installed here and would not be in a base installation."""
    base = closure(PROJECT["dependencies"]) | {"stream-detector"}
    return tuple(
        sorted(
            module
            for module, packages in packages_distributions().items()
            if module.isidentifier() and base.isdisjoint(map(canonicalize_name, packages))
        )
    )


def run_in_base(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code where only the base installation can be imported."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({hidden_modules()!r}))\n"
    command = [sys.executable, "-c", hide + code, *arguments]
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_base_installation_has_no_heavy_library() -> None:
    assert TOO_HEAVY.isdisjoint(closure(PROJECT["dependencies"]))
    assert {"torch", "pandas", "sklearn", "plotly", "pyarrow", "river", "pytest"} <= set(hidden_modules())


@pytest.mark.slow
def test_every_module_of_the_detector_is_imported_without_the_extras() -> None:
    done = run_in_base(IMPORT_ALL)
    assert done.returncode == 0, done.stderr


def test_a_heavy_import_is_refused_there() -> None:
    done = run_in_base("import pandas")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.slow
def test_commands_of_the_detector_explain_themselves_without_the_extras() -> None:
    commands = ("run", "replay", "forward", "alarms", "ledger", "mqtt-bridge")
    helps = f"from stream_detector.__main__ import main\nprint([main([name, '--help']) for name in {commands}])"
    done = run_in_base(helps)
    assert done.stdout.endswith(f"{[0] * len(commands)}\n"), done.stdout + done.stderr


@pytest.mark.slow
def test_a_bundle_is_checked_and_scored_without_the_extras(tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "bundle")
    done = run_in_base(DETECTOR, "check-bundle", str(tmp_path / "bundle"))
    assert done.returncode == 0, done.stderr
    assert "lstm" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "arguments", "named"),
    [
        (TRAINER, ["fit", "--recipe", "simulated", "--data", "plant.csv"], "torch"),
        (TRAINER, ["simulate", "--out", "plant.csv"], "pandas"),
        (DETECTOR, ["demo"], "torch"),
    ],
)
def test_a_command_that_needs_an_extra_says_so_in_one_sentence(program: str, arguments: list[str], named: str) -> None:
    done = run_in_base(program, *arguments)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .* needs .*; pip install 'stream-detector\[train\]'\n", done.stderr), done.stderr
    assert named in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "extra"), [("plant.parquet", "train"), ("plant.xlsx", "excel")])
def test_a_file_that_needs_an_extra_is_named_in_one_sentence(name: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PAR1")
    code = "import sys; from pathlib import Path; from stream_detector.exit_codes import run_command\n"
    code += "from stream_detector.historian import read_history\n"
    code += "sys.exit(run_command(lambda: read_history(Path(sys.argv[1])), 'test'))"
    done = run_in_base(code, str(tmp_path / name))
    assert done.returncode == 2
    assert re.fullmatch(rf"error: .*{name} needs .*; pip install 'stream-detector\[{extra}\]'\n", done.stderr)


@pytest.mark.slow
def test_help_of_the_trainer_needs_no_extra() -> None:
    done = run_in_base(TRAINER, "--help")
    assert done.returncode == 0, done.stderr
    assert "backtest" in done.stdout


def test_every_module_of_an_extra_is_brought_by_that_extra() -> None:
    packages = packages_distributions()
    for module, extra in EXTRA_OF.items():
        if find_spec(module) is None:  # an environment from before the extra had it
            continue
        wanted = {canonicalize_name(Requirement(text).name) for text in PROJECT["optional-dependencies"][extra]}
        assert wanted & set(map(canonicalize_name, packages[module])), f"{module} is not in the extra {extra}"
