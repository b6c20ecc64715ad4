"""`make dist`: build the wheel, install it into empty environments with and without the trainer, run its commands.

Run as `python -m tests.programs.wheel`. The environments and the folder in which the commands run are temporary and lie
outside the checkout, so that nothing of it can be imported by accident.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

DIST = ROOT / "dist"
UV = Path(sys.executable).with_name("uv")
BASE_MEGABYTES = 450
EXIT_USAGE = 2

TRAINER_COMMANDS = (
    ("trainer", "--help"),
    ("trainer", "recipes"),
    ("trainer", "simulate", "--out", "plant.csv", "--days", "9"),
    ("trainer", "fit", "--recipe", "simulated", "--data", "plant.csv", "--out", "bundle"),
    ("trainer", "score", "--bundle", "bundle", "--data", "plant.csv", "--out", "scores.csv"),
    ("stream-detector", "check-bundle", "bundle"),
)
BASE_COMMANDS = (
    ("stream-detector", "--help"),
    *(
        ("stream-detector", name, "--help")
        for name in ("run", "replay", "forward", "alarms", "ledger", "audit", "doctor")
    ),
    ("stream-detector", "schemas"),
    ("stream-detector", "check-bundle", "bundle"),
    # On the embedded broker, from the worker to its end: everything but the fit.
    ("stream-detector", "demo", "--bundle", "bundle", "--data", "plant.csv", "--seconds", "5", "--plain"),
    ("trainer", "recipes"),
)
REFUSED = (("stream-detector", "demo"), ("trainer", "fit", "--recipe", "simulated", "--data", "plant.csv"))


def build() -> Path:
    """The wheel, in dist/."""
    for old in DIST.glob("*.whl"):
        old.unlink()
    run([str(UV), "build", "--quiet", "--wheel", "--out-dir", str(DIST), str(ROOT)], ROOT)
    (wheel,) = DIST.glob("*.whl")
    return wheel


def missing_from(wheel: Path) -> list[str]:
    """Files of the two packages in the checkout that the wheel lacks."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for package in ("stream_detector", "trainer")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(wanted - packed)


def run(command: Sequence[str], folder: Path) -> str:
    """The command's output; SystemExit with all that it said where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Installation:
    """The wheel in an environment of its own."""

    folder: Path

    @classmethod
    def of(cls, wheel: Path, folder: Path, extra: str = "") -> "Installation":
        """Install the wheel, with an extra such as "[train]", into a new environment."""
        run([str(UV), "venv", "--quiet", "--python", sys.executable, str(folder)], folder.parent)
        python = folder / "bin" / "python"
        run([str(UV), "pip", "install", "--quiet", "--python", str(python), f"{wheel}{extra}"], folder.parent)
        return cls(folder)

    @property
    def megabytes(self) -> float:
        return sum(path.lstat().st_size for path in self.folder.rglob("*") if not path.is_dir()) / 1e6

    def run(self, *command: str) -> None:
        """Run one of our commands in the folder beside the environment; SystemExit where it fails or says nothing."""
        program, *arguments = command
        if not run([str(self.folder / "bin" / program), *arguments], self.folder.parent).strip():
            sys.exit(f"`{' '.join(command)}` said nothing")
        print(f"ran {' '.join(command)}")

    def must_refuse(self, *command: str) -> None:
        """Run a command that needs more than is installed: it must say so in one line and end with exit code 2."""
        program, *arguments = command
        done = subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=self.folder.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != EXIT_USAGE or len(done.stderr.splitlines()) != 1:
            sys.exit(
                f"`{' '.join(command)}` ended with {done.returncode}, wanted {EXIT_USAGE} and one line:\n{done.stderr}"
            )
        print(f"refused {' '.join(command)}: {done.stderr.strip()}")


def main() -> int:
    wheel = build()
    missing = missing_from(wheel)
    if missing:
        sys.exit(f"{wheel} lacks {len(missing)} files: {', '.join(missing[:10])}")
    print(f"built {wheel.relative_to(ROOT)}, {wheel.stat().st_size / 1024:,.0f} KiB")
    with tempfile.TemporaryDirectory(prefix="stream-detector-wheel-") as temporary:
        folder = Path(temporary)
        whole = Installation.of(wheel, folder / "whole", "[train]")
        print(f"installed with [train]: {whole.megabytes:,.0f} MB")
        for of_trainer in TRAINER_COMMANDS:
            whole.run(*of_trainer)
        base = Installation.of(wheel, folder / "base")
        print(f"installed the base: {base.megabytes:,.0f} MB (aim: at most {BASE_MEGABYTES} MB)")
        for command in BASE_COMMANDS:
            base.run(*command)
        for command in REFUSED:
            base.must_refuse(*command)
        if base.megabytes > BASE_MEGABYTES:
            sys.exit(f"the base installation has {base.megabytes:,.0f} MB, wanted at most {BASE_MEGABYTES} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
