"""The trainer's command line: `trainer COMMAND` or `python -m trainer COMMAND`. See `trainer.commands`.

Exit codes: 0 fine, 1 the answer is no, 2 a mistake in usage or data, 70 a fault of our own, 130 interrupted.
"""

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

import typer

from stream_detector.errors import StreamDetectorError
from trainer import commands

FIRST = ("recipes", "simulate", "prelabel", "fit", "evaluate", "backtest", "score", "sign")
"""The order of `--help`: that of a user's way. Others follow by name."""

EXIT_SOFTWARE = 70
"""sysexits' EX_SOFTWARE: a fault of our own."""


def build_app() -> typer.Typer:
    """The typer application with every command found in `trainer.commands`."""
    app = typer.Typer(
        help="Fit detectors on a historian's files, find out honestly whether their alarms pay, and write bundles.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # keeps the command's name in the usage even while there is only one
    names = sorted((module.name for module in iter_modules(commands.__path__)), key=_place)
    for name in names:
        app.command(name.replace("_", "-"))(import_module(f"trainer.commands.{name}").command)
    return app


def _place(name: str) -> tuple[int, str]:
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a user's mistake prints its message and no traceback."""
    try:
        build_app()(list(arguments) if arguments is not None else None)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except StreamDetectorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except Exception:  # noqa: BLE001 - the last resort: report and end
        traceback.print_exc()
        print("error: this is a fault of the trainer itself; please report the lines above", file=sys.stderr)
        return EXIT_SOFTWARE
    return 0


if __name__ == "__main__":
    sys.exit(main())
