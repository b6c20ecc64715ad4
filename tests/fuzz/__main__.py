"""Coverage-guided fuzzing (atheris) of one target or all of them, each in a process of its own, for a bounded time.

    python -m tests.fuzz [--target NAME] [--seconds 600]       # `make fuzz`, `make fuzz SECONDS=60`

Prints one line a target: runs, seconds, findings. Exit 1 when anything was found; the input lies in `out/fuzz/`.
"""

import argparse
import re
import subprocess
import sys
import time

from tests.fuzz.corpus import SEEDS
from tests.fuzz.targets import TARGETS
from tests.support.paths import ROOT

OUT = ROOT / "out" / "fuzz"


def fuzz_here(name: str, arguments: list[str]) -> None:
    """Fuzz in this process; never returns."""
    import atheris

    with atheris.instrument_imports(include=["stream_detector", "trainer"]):
        import tests.support.readers  # noqa: F401
        import trainer.recipe  # noqa: F401
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target in a child process; prints its line; true = nothing found."""
    folder = OUT / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS.get(name, ())):
        (corpus / f"seed-{number}").write_bytes(seed)
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz", "--here", name, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    runs = re.findall(r"^(?:Done |#)(\d+)", done.stderr, re.MULTILINE)
    found = done.returncode != 0
    print(
        f"{name:14} {int(runs[-1]) if runs else 0:>12,} runs  {time.monotonic() - began:6.0f} s  "
        + (f"FOUND something: {folder}/log.txt" if found else "no finding"),
        flush=True,
    )
    return not found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--here", choices=sorted(TARGETS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        folder = OUT / arguments.here
        fuzz_here(
            arguments.here,
            [
                f"-max_total_time={arguments.seconds}",
                "-timeout=10",
                "-rss_limit_mb=4096",
                "-max_len=65536",
                f"-artifact_prefix={folder}/",
                str(folder / "corpus"),
            ],
        )
    clean = [fuzz(name, arguments.seconds) for name in arguments.target or sorted(TARGETS)]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
