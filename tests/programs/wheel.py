"""`make dist`: build the wheel, install it into an empty environment and run both commands from there.

Run as `python -m tests.programs.wheel`. The environment and the folder in which the commands run are temporary and lie
outside the checkout, so that nothing of it can be imported by accident.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.paths import ROOT

DIST = ROOT / "dist"
UV = Path(sys.executable).with_name("uv")


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


def main() -> int:
    wheel = build()
    missing = missing_from(wheel)
    if missing:
        sys.exit(f"{wheel} lacks {len(missing)} files: {', '.join(missing[:10])}")
    print(f"built {wheel.relative_to(ROOT)}, {wheel.stat().st_size / 1024:,.0f} KiB")
    with tempfile.TemporaryDirectory(prefix="stream-detector-wheel-") as temporary:
        folder = Path(temporary)
        environment = folder / "environment"
        run([str(UV), "venv", "--quiet", "--python", sys.executable, str(environment)], folder)
        python = environment / "bin" / "python"
        run([str(UV), "pip", "install", "--quiet", "--python", str(python), str(wheel)], folder)
        print("installed it into an empty environment")
        commands = (
            ["trainer", "--help"],
            ["trainer", "recipes"],
            ["trainer", "simulate", "--out", "plant.csv", "--days", "9"],
            ["trainer", "fit", "--recipe", "simulated", "--data", "plant.csv", "--out", "bundle"],
            ["trainer", "score", "--bundle", "bundle", "--data", "plant.csv", "--out", "scores.csv"],
            ["stream-detector", "--help"],
            ["stream-detector", "run", "--help"],
            ["stream-detector", "schemas"],
            ["stream-detector", "check-bundle", "bundle"],
        )
        for program, *arguments in commands:
            output = run([str(environment / "bin" / program), *arguments], folder)
            if not output.strip():
                sys.exit(f"`{program} {' '.join(arguments)}` said nothing")
            print(f"ran {program} {' '.join(arguments)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
