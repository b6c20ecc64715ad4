"""Before the demo's screen: a simulated plant, a detector fitted on its past, and the days that it has not seen.

Simulating and fitting are the trainer's; the detector does not import it, so they run as their own commands.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream_detector.bundle.files import MANIFEST, list_folder, read_file
from stream_detector.bundle.manifest import Manifest, parse
from stream_detector.errors import StreamDetectorError
from stream_detector.historian import History, Layout, read_history
from stream_detector.streaming.sources.replay import layout_of_bundle

RECIPE = "simulated"


@dataclass(frozen=True)
class Prepared:
    """A bundle, and the rows to replay in front of it."""

    bundle: Path
    manifest: Manifest
    live: History


def simulate(folder: Path, past_days: float, live_days: float, seed: int) -> tuple[Path, Path]:
    """Simulate a paper machine; returns the file of its past and that of the days to replay."""
    whole = folder / "plant.parquet"
    import pandas as pd

    days = past_days + live_days
    run_trainer(["simulate", "--out", whole.name, "--days", f"{days:g}", "--seed", str(seed)], folder)
    table = pd.read_parquet(whole)
    history = read_history(whole)
    is_live = history.times >= history.times[0] + past_days * 86_400
    past, live = folder / "past.parquet", folder / "live.parquet"
    table[~is_live].to_parquet(past, index=False)
    table[is_live].to_parquet(live, index=False)
    return past, live


def fit(past: Path, folder: Path) -> Path:
    """Fit the recipe on the past; returns the bundle's folder."""
    run_trainer(["fit", "--recipe", RECIPE, "--data", past.name, "--out", "bundle"], folder)
    return folder / "bundle"


def load(bundle: Path, data: Path) -> Prepared:
    """Read the manifest of a bundle, and the file as its recipe reads it."""
    manifest = manifest_of(bundle)
    layout, _ = layout_of_bundle(bundle, Layout())
    return Prepared(bundle, manifest, read_history(data, layout))


def manifest_of(bundle: Path) -> Manifest:
    """BundleError where there is none."""
    list_folder(bundle)
    return parse(read_file(bundle, MANIFEST))


def run_trainer(arguments: Sequence[str], folder: Path) -> None:
    """Run a command of the trainer in that folder, with its output and progress on this terminal.

    Raises:
        StreamDetectorError: it failed; it has said why.
    """
    # A model this small is fitted fastest by one thread.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    command = [sys.executable, "-m", "trainer", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    if done.returncode != 0:
        error = StreamDetectorError(f"`trainer {' '.join(arguments)}` ended with exit code {done.returncode}")
        error.exit_code = done.returncode
        raise error
