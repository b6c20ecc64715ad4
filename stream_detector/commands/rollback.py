"""`stream-detector rollback`: an alias stands again for what it stood for before the last promotion."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    alias: Annotated[str, typer.Option(help="The name that is to go back.")] = "champion",
    registry: Annotated[
        Path | None, typer.Option(help="Folder of the registry.", show_default="$STREAM_DETECTOR_REGISTRY")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Who decides that.", show_default="the user's name")] = None,
    why: Annotated[str, typer.Option(help="Why, in words.")] = "",
) -> None:
    """Take back the last promotion of an alias that is not taken back yet; again for the one before it."""
    import time

    from stream_detector.commands.bundles import open_registry, user
    from stream_detector.messages import to_iso

    found = open_registry(registry)
    change = found.roll_back(alias, to_iso(time.time()), who or user(), why)
    print(f"{found.folder}/{alias} stands for {change.bundle} again")
