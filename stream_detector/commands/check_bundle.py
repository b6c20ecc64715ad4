"""`stream-detector check-bundle`: whether a bundle is whole, unchanged and scores as it did when it was written."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The bundle.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The same, as an option.")] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="Ed25519 public key (PEM); the bundle must then be signed by it.")
    ] = None,
) -> None:
    """Check a bundle as a worker does at its start, and say what is in it. Exit code 2 where a worker refuses it."""
    from stream_detector.bundle.bundle import load_bundle
    from stream_detector.errors import UsageError
    from stream_detector.messages import to_iso

    bundle = folder or bundle
    if bundle is None:
        raise UsageError("no bundle named; write for example `stream-detector check-bundle bundles/paper-mill`")
    try:
        key = None if public_key is None else public_key.read_bytes()
    except OSError as error:
        raise UsageError(f"--public-key {public_key} cannot be read: {error.strerror or error}") from error
    manifest = load_bundle(bundle, key).manifest
    training = manifest.training
    learnt = f"{training.rows:,} rows of {training.data_name}"
    if training.from_time is not None and training.until_time is not None:
        learnt += f", {to_iso(training.from_time)} to {to_iso(training.until_time)}"
    threshold = manifest.threshold
    sensors = ", ".join(manifest.sensors[:6]) + (", ..." if len(manifest.sensors) > 6 else "")
    facts = {
        "bundle": f"{manifest.bundle_id} (format {manifest.format}{', signed' if key else ''})",
        "recipe": manifest.recipe,
        "sensors": f"{len(manifest.sensors)}: {sensors}",
        "window": f"{manifest.window.steps} steps of {manifest.grid.step_seconds:g} s",
        "model": f"{manifest.model.kind}{f' with head {manifest.head.kind}' if manifest.head else ''}",
        "threshold": f"{manifest.limit_in_words} ({threshold.policy}: {threshold.how})",
        "learnt from": learnt,
    }
    width = max(map(len, facts))
    print(f"{bundle}: whole, unchanged, and scores as it did when it was written")
    for name, fact in facts.items():
        print(f"  {name:<{width}}  {fact}")
