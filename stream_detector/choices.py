"""An option of a command that takes one of a few words."""

from collections.abc import Callable, Sequence
from typing import Any

import typer

from stream_detector.errors import UsageError


def choice(option: str, words: Sequence[str], help_text: str) -> Any:
    """The typer option; another word ends the command with one sentence that names them all."""
    return typer.Option(option, parser=one_of(option, words), metavar=f"[{'|'.join(words)}]", help=help_text)


def one_of(option: str, words: Sequence[str]) -> Callable[[str], Any]:
    """Takes one of the words, which may be those of a `Literal`; raises UsageError for another."""

    def parse(given: str) -> Any:
        if given not in words:
            raise UsageError(f"{option} {given}: one of {', '.join(words)} is wanted")
        return given

    return parse
