"""The trainer's command line: `trainer COMMAND` or `python -m trainer COMMAND`. See `trainer.commands`.

Exit codes: 0 fine, 1 the answer is no, 2 a mistake in usage or data, 70 a fault of our own, 130 interrupted.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated

import typer

from stream_detector.exit_codes import run_command
from stream_detector.extras import TRAIN, need
from stream_detector.version import version
from trainer import commands

FIRST = ("init", "recipes", "simulate", "prelabel", "fit", "evaluate", "backtest", "score", "sign")
"""The order of `--help`: that of a user's way. Others follow by name."""

LIGHT = ("recipes", "sign")
"""Commands that the base installation runs; the others need the extra `train`."""


def build_app() -> typer.Typer:
    """The typer application with every command found in `trainer.commands`."""
    app = typer.Typer(
        help="Fit detectors on a historian's files, find out honestly whether their alarms pay, and write bundles.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_about)
    names = sorted((module.name for module in iter_modules(commands.__path__)), key=_place)
    for name in names:
        command = import_module(f"trainer.commands.{name}").command
        spelt = name.replace("_", "-")
        app.command(spelt)(command if name in LIGHT else _with_extra(spelt, command))
    return app


def _with_extra(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """The command, checking first that the extra is there: a fit of minutes should not end for want of plotly."""

    @wraps(command)
    def checked(*arguments: object, **options: object) -> None:
        need(f"`trainer {name}`", *TRAIN)
        command(*arguments, **options)

    return checked


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"trainer {version()}")
        raise typer.Exit


def _about(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    pass


def _place(name: str) -> tuple[int, str]:
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a user's mistake prints its message and no traceback."""
    return run_command(lambda: build_app()(list(arguments) if arguments is not None else None), "the trainer")


if __name__ == "__main__":
    sys.exit(main())
