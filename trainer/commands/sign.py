"""`trainer sign`: so that a detector can tell who made a bundle."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    bundle: Annotated[Path, typer.Option(help="Folder that `trainer fit` wrote.")],
    key: Annotated[
        Path, typer.Option(help="Ed25519 private key (PEM): `openssl genpkey -algorithm ed25519 -out KEY`.")
    ],
) -> None:
    """Check a bundle and sign it; a detector that is given the public key refuses all others."""
    from stream_detector.bundle.bundle import sign_bundle
    from trainer.output import read_key

    sign_bundle(bundle, read_key(key))
    typer.echo(f"{bundle}: signed")
