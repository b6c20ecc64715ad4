"""Kafka Streams as a contender: one Java file, compiled at first use with jars that Maven resolves."""

import shutil
import subprocess
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.stack import maven

SOURCE = ROOT / "benchmarks" / "kafka_streams" / "WindowContender.java"
CLASSES = maven.FOLDER / "kafka-streams-classes"


def why_no_streams() -> str | None:
    """The reason why Kafka Streams cannot be measured here, or None."""
    if shutil.which("javac") is None:
        return "no `javac` on PATH: it is one Java file (Debian: openjdk-17-jdk-headless)"
    return maven.why_no_jars(maven.STREAMS)


def streams_command() -> list[str]:
    """The beginning of the command line: the class, compiled where that was not done since its source changed.

    Raises:
        RuntimeError: Maven or the compiler failed; the message holds what it said.
    """
    jars = f"{maven.resolved(maven.STREAMS)}/*"
    compiled = CLASSES / f"{SOURCE.stem}.class"
    if not compiled.exists() or compiled.stat().st_mtime < SOURCE.stat().st_mtime:
        _compile(jars, CLASSES)
    return ["java", "-Xmx1g", "-cp", f"{jars}:{CLASSES}", SOURCE.stem]


def _compile(jars: str, folder: Path) -> None:
    command = ["javac", "-d", str(folder), "-cp", jars, str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
