"""Jars from Maven Central, resolved once by a `pom.xml` of the project into a folder of `.kafka/`.

`python -m tests.support.stack.maven` resolves what the tests need; it takes only Python's own library.
"""

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.support.paths import DEPLOY, ROOT

FOLDER = ROOT / ".kafka"
BROKER = "jars"
REGISTRY = "registry"
STREAMS = "kafka-streams"
POMS = {
    BROKER: DEPLOY / "kafka" / "pom.xml",
    REGISTRY: DEPLOY / "registry" / "pom.xml",
    STREAMS: ROOT / "benchmarks" / "kafka_streams" / "pom.xml",
}
"""What names the jars, by the folder that they come into."""


def jars_are_here(name: str) -> bool:
    """Whether the jars of that name were resolved already."""
    return any((FOLDER / name).glob("*"))


def why_no_jars(name: str) -> str | None:
    """The reason why the jars of that name cannot be had here, or None."""
    if not jars_are_here(name) and shutil.which("mvn") is None:
        return "no `mvn` on PATH: Maven resolves the jars (Debian: maven)"
    return None


def resolved(name: str) -> Path:
    """The folder of the jars of that name; resolved through Maven where it is not here yet.

    Processes that want jars at once wait for the first: Maven's own store of downloads is not made for two.

    Raises:
        RuntimeError: Maven could not resolve them; the message holds its output.
    """
    folder = FOLDER / name
    if jars_are_here(name):
        return folder
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars_are_here(name):
            _resolve(POMS[name], folder)
    return folder


def _resolve(pom: Path, folder: Path) -> None:
    # A folder of its own, renamed when whole: what was interrupted is not taken for all of the jars.
    partial = folder.with_name(f"{folder.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"Maven could not resolve {pom}: {' '.join(command)}\n{done.stdout}{done.stderr}")
    partial.rename(folder)


def main() -> None:
    for name in (BROKER, REGISTRY):
        resolved(name)


if __name__ == "__main__":
    main()
