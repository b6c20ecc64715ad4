"""`stream-detector promote`: an alias of the registry stands for another bundle from now on."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    bundle: Annotated[str, typer.Argument(help="Id, the beginning of one, or another alias, e.g. `challenger`.")],
    alias: Annotated[str, typer.Option(help="The name that stands for it.")] = "champion",
    registry: Annotated[
        Path | None, typer.Option(help="Folder of the registry.", show_default="$STREAM_DETECTOR_REGISTRY")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Who decides that.", show_default="the user's name")] = None,
    why: Annotated[str, typer.Option(help="Why, in words.")] = "",
    public_key: Annotated[
        Path | None,
        typer.Option(
            help="Ed25519 public key (PEM): the bundle must be signed by it.",
            show_default="$STREAM_DETECTOR_BUNDLE_PUBLIC_KEY_FILE",
        ),
    ] = None,
) -> None:
    """Let an alias stand for a bundle; workers that run the alias change over. `rollback` undoes it.

    The bundle and its record are checked as a worker would before anything is changed.
    """
    import time

    from stream_detector.bundle.registration import check_registered
    from stream_detector.commands.bundles import open_registry, read_public_key, user
    from stream_detector.messages import to_iso

    found = open_registry(registry)
    bundle_id = found.resolve(bundle)
    check_registered(found, bundle_id, read_public_key(public_key))
    changed = found.promote(alias, bundle_id, to_iso(time.time()), who or user(), why)
    print(f"{found.folder}/{alias} stands for {bundle_id}{'' if changed else ' already'}")
