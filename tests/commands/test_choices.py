"""Options that take one of a few words: another one is told in a sentence, with the words."""

from collections.abc import Callable

import pytest

from stream_detector.__main__ import main as stream_detector
from trainer.__main__ import main as trainer

FILES = ["--bundle", "none", "--data", "none.csv"]


@pytest.mark.parametrize(
    ("program", "arguments", "wanted"),
    [
        (stream_detector, ["topics", "--format", "nope"], "--format nope: one of table, yaml, shell, rights is wanted"),
        (stream_detector, ["replay", "none.csv", "--as", "nope"], "--as nope: one of readings, rows is wanted"),
        (trainer, ["evaluate", *FILES, "--rows", "nope"], "--rows nope: one of auto, all, test is wanted"),
        (trainer, ["evaluate", *FILES, "--labels-are", "x"], "--labels-are x: one of normal, anomaly is wanted"),
        (trainer, ["renew", "--policy", "nope"], "--policy nope: one of manual, managed, never is wanted"),
        (trainer, ["renew", "--switch", "nope"], "--switch nope: one of auto, log, alias is wanted"),
    ],
)
def test_a_word_that_is_none_of_those_wanted_is_told_in_one_sentence(
    program: Callable[[list[str]], int], arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(arguments) == 2
    assert capsys.readouterr().err == f"error: {wanted}\n"
