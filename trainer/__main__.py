"""The trainer's command line. Every module of `trainer.commands` is one command.

Exit codes: 0 fine, 1 the answer is no, 2 a mistake in usage or data, 70 a fault of our own (sysexits' EX_SOFTWARE).
"""

import sys
import traceback
from importlib import import_module
from pkgutil import iter_modules

import typer

from stream_detector.errors import StreamDetectorError
from trainer import commands

OWN_FAULT = 70


def build_app() -> typer.Typer:
    """The typer application with every command found in `trainer.commands`."""
    app = typer.Typer(
        help="Fit detectors on a historian's files, find out honestly whether their alarms pay, and write bundles.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # keeps the sub-command's name even while there is only one command
    for module in iter_modules(commands.__path__):
        function = getattr(import_module(f"trainer.commands.{module.name}"), module.name)
        app.command(module.name.replace("_", "-"))(function)
    return app


def main() -> None:
    """Run the command named on the command line and exit with its code."""
    try:
        build_app()()
    except StreamDetectorError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001 - the outermost frame: whatever arrives here is a fault of our own
        traceback.print_exc()
        typer.secho("This is a fault of the trainer, not of your data. Please report it with the lines above.", err=True)
        sys.exit(OWN_FAULT)


if __name__ == "__main__":
    main()
