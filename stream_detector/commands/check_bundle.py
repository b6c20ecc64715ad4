"""`stream-detector check-bundle`: whether a bundle is whole, unchanged and scores as it did when it was written."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream_detector.bundle.manifest import Manifest


def command(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The bundle.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The same, as an option.")] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="Ed25519 public key (PEM); the bundle must then be signed by it.")
    ] = None,
) -> None:
    """Check a bundle as a worker does at its start, and say what is in it. Exit code 2 where a worker refuses it.

    Of a table (.toml) of several bundles each is checked, and which of them decides for which assets is said.
    """
    from stream_detector.bundle.bundle import load_bundle, load_stream_bundle
    from stream_detector.bundle.table_file import is_table, load_table
    from stream_detector.errors import UsageError

    bundle = folder or bundle
    if bundle is None:
        raise UsageError("no bundle named; write for example `stream-detector check-bundle bundles/paper-mill`")
    try:
        key = None if public_key is None else public_key.read_bytes()
    except OSError as error:
        raise UsageError(f"--public-key {public_key} cannot be read: {error.strerror or error}") from error
    if not is_table(bundle):
        _print(f"{bundle}", load_bundle(bundle, key).manifest, signed=key is not None)
        return

    table = load_table(bundle, partial(load_stream_bundle, public_key=key))
    print(f"{bundle}: {table.manifest.bundle_id}")
    for each in table.manifest.manifests:
        globs = [glob for glob, bundle_id in table.assets.lines if bundle_id == each.bundle_id]
        _print(f"assets {', '.join(globs)}", each, signed=key is not None)


def _print(what: str, manifest: "Manifest", *, signed: bool) -> None:
    from stream_detector.messages import to_iso

    training = manifest.training
    learnt = f"{training.rows:,} rows of {training.data_name}"
    if training.from_time is not None and training.until_time is not None:
        learnt += f", {to_iso(training.from_time)} to {to_iso(training.until_time)}"
    threshold = manifest.threshold
    sensors = ", ".join(manifest.sensors[:6]) + (", ..." if len(manifest.sensors) > 6 else "")
    facts = {
        "bundle": f"{manifest.bundle_id} (format {manifest.format}{', signed' if signed else ''})",
        "recipe": manifest.recipe,
        "sensors": f"{len(manifest.sensors)}: {sensors}",
        "window": f"{manifest.window.steps} steps of {manifest.grid.step_seconds:g} s",
        "model": f"{manifest.model.kind}{f' with head {manifest.head.kind}' if manifest.head else ''}",
        "threshold": f"{manifest.limit_in_words} ({threshold.policy}: {threshold.how})",
        "learnt from": learnt,
    }
    width = max(map(len, facts))
    print(f"{what}: whole, unchanged, and scores as it did when it was written")
    for name, fact in facts.items():
        print(f"  {name:<{width}}  {fact}")
