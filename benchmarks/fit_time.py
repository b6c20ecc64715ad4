"""How long the recipe `paper-mill` takes to fit, through the command that a user types.

    python -m benchmarks.fit_time [--repeats 3] [--write]

`trainer fit` on the public paper-mill file, report and bundle included: wall clock, CPU and the most memory, of a
process of its own. The file is that of `make backtest`; where it is absent nothing is measured.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.page import BENCHMARKS, Document, add_arguments, deliver, machine, markdown, said
from tests.support.public_data import public_data

NAME = "fit_time"
RECIPE = "paper-mill"


@dataclass(frozen=True)
class Fit:
    wall_seconds: float
    cpu_seconds: float
    peak_rss_mb: float


def measure(data: Path) -> Fit:
    """One fit.

    Raises:
        RuntimeError: the trainer failed.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "trainer", "fit", "--recipe", RECIPE, "--data", str(data)]
        command += ["--out", str(Path(folder) / "bundle")]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=BENCHMARKS.parent)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read()[-3000:]}")
    return Fit(round(wall, 1), round(used.ru_utime + used.ru_stime, 1), round(used.ru_maxrss / 1024))


def table(document: Document) -> str:
    fits = [Fit(**fit) for fit in document["fits"]]
    rows = [
        (f"{number}", f"{fit.wall_seconds:.1f}", f"{fit.cpu_seconds:.1f}", f"{fit.peak_rss_mb:.0f}")
        for number, fit in enumerate(fits, 1)
    ]
    median = (
        f"{statistics.median(fit.wall_seconds for fit in fits):.1f}",
        f"{statistics.median(fit.cpu_seconds for fit in fits):.1f}",
        f"{statistics.median(fit.peak_rss_mb for fit in fits):.0f}",
    )
    header = (f"`trainer fit --recipe {RECIPE}`", "wall, s", "CPU, s", "most memory, MB")
    return f"{said(document['machine'])}\n\n{markdown(header, [*rows, ('median', *median)])}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=public_data() / "papermill" / "process_data_dev.csv.gz")
    add_arguments(parser, NAME)
    arguments = parser.parse_args()
    if not arguments.data.exists():
        print(f"skipped: {arguments.data} is not there; --data names the paper-mill file")
        return 0
    taken_on = machine()
    fits = []
    for _ in range(arguments.repeats):
        fits.append(measure(arguments.data))
        print(fits[-1], file=sys.stderr, flush=True)
    document = {"machine": taken_on, "fits": [asdict(fit) for fit in fits]}
    deliver(arguments, NAME, document, table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
