"""Jars from Maven Central, resolved once by a `pom.xml` of the project into a folder of `.kafka/`."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.paths import ROOT

FOLDER = ROOT / ".kafka"


def jars_are_here(name: str) -> bool:
    """Whether the jars of that name were resolved already."""
    return any((FOLDER / name).glob("*"))


def why_no_jars(name: str) -> str | None:
    """The reason why the jars of that name cannot be had here, or None."""
    if not jars_are_here(name) and shutil.which("mvn") is None:
        return "no `mvn` on PATH: Maven resolves the jars (Debian: maven)"
    return None


def resolved(name: str, pom: Path) -> Path:
    """The folder of what `pom` depends on; resolved through Maven where it is not here yet.

    Raises:
        RuntimeError: Maven could not resolve them; the message holds its output.
    """
    folder = FOLDER / name
    if not jars_are_here(name):
        # A folder of its own, renamed when whole: parallel test runs do not see half of the jars.
        partial = folder.with_name(f"{name}-{os.getpid()}")
        command = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"Maven could not resolve {pom}: {' '.join(command)}\n{done.stdout}{done.stderr}")
        try:
            partial.rename(folder)
        except OSError:
            shutil.rmtree(partial)
    return folder
