"""The peers of the throughput benchmark."""

from pathlib import Path

import pytest

from benchmarks.broker import contenders
from benchmarks.broker.contenders import ContenderError
from benchmarks.broker.throughput import CASES, main, with_peers_here


def test_a_peer_that_is_not_here_is_left_out_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(contenders, "QUIX_PYTHON", tmp_path / "python")
    monkeypatch.setattr("benchmarks.broker.streams.shutil.which", lambda _: None)
    assert with_peers_here(CASES[0]).peers == ("stock-faust",)
    (tmp_path / "python").touch()
    assert with_peers_here(CASES[0]).peers == ("stock-faust", "quix")
    monkeypatch.setattr("benchmarks.broker.streams.shutil.which", lambda name: f"/usr/bin/{name}")
    assert with_peers_here(CASES[0]) == CASES[0]


def test_a_contender_without_a_figure_ends_the_run_with_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ContenderError("it printed no figure")

    monkeypatch.setattr("benchmarks.broker.throughput.run_cases", fail)
    monkeypatch.setattr("sys.argv", ["throughput", "--json", str(tmp_path / "results.json")])
    assert main() == 1
    assert capsys.readouterr().err.endswith("error: it printed no figure\n")
