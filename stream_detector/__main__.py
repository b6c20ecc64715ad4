"""The command line: `stream-detector COMMAND` or `python -m stream_detector COMMAND`.

A command is a module in `stream_detector/commands/` (its name with dashes) that defines `command`, a function with
typer annotations whose docstring is the help text, or `app`, a typer application with commands of its own. Heavy
imports belong inside those functions: `--help` imports every module.

Exit codes: 0 fine, 1 the answer is no, 2 usage, 70 a fault of our own, 75 stalled (start again), 130 interrupted.
"""

import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from stream_detector.exit_codes import run_command
from stream_detector.version import version

COMMANDS = (
    "demo",
    "run",
    "replay",
    "alarms",
    "forward",
    "feedback",
    "ledger",
    "report",
    "mqtt-bridge",
    "audit",
    "check-bundle",
    "bundles",
    "promote",
    "rollback",
    "doctor",
    "topics",
    "schemas",
)
"""In the order in which `--help` lists them."""


class _LazyGroup(typer.core.TyperGroup):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is the framework's
        return [name for name in COMMANDS if importlib.util.find_spec(_module_name(name)) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        # What imports make stays: looking for garbage among it is a twentieth of a worker's start.
        gc.disable()
        module = importlib.import_module(_module_name(cmd_name))
        gc.enable()
        if hasattr(module, "app"):
            return typer.main.get_command(module.app)
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(name=cmd_name, epilog=getattr(module, "EPILOG", None))(module.command)
        return typer.main.get_command(single)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        near = get_close_matches(args[0], self.list_commands(ctx))
        if near and args[0] not in near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {', '.join(map(repr, near))}?")
        return super().resolve_command(ctx, args)


def _module_name(command: str) -> str:
    return f"stream_detector.commands.{command.replace('-', '_')}"


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"stream-detector {version()}")
        raise typer.Exit


@app.callback()
def _about(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Says minutes ahead that it pays to act: anomaly detection on the streams of a plant."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a user's mistake prints its message and no traceback."""
    # pydantic looks for plug-ins, which nobody has here, in the metadata of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    return run_command(lambda: app(list(arguments) if arguments is not None else None), "stream-detector")


if __name__ == "__main__":
    sys.exit(main())
