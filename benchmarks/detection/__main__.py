"""`python -m benchmarks.detection NAME --data FOLDER [--seed N] [--json FILE]`: prints the set's table.

FOLDER holds the public data as its README names them (skab/, batadal/, gecco2018/, tep/, cwru/, ecg5000/, secom/,
airquality/, papermill/, bearings_ims/, process_bibmon/, wells3w/), or is the set's own folder.
"""

import argparse
import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.detection.judge import Report, table
from stream_detector.errors import StreamDetectorError

FOLDERS = {
    "bearing-life": "bearings_ims",
    "bearings": "cwru",
    "chemical-plant": "tep",
    "drinking-water": "gecco2018",
    "environment": "airquality",
    "heartbeat": "ecg5000",
    "lots": "secom",
    "paper-mill-dense": "papermill",
    "prelabel": "gecco2018",
    "process": "process_bibmon",
    "water-loop": "skab",
    "water-network": "batadal",
    "wells": "wells3w",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("name", choices=sorted(FOLDERS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the rows, machine-readable")
    arguments = parser.parse_args()
    folder = arguments.data / FOLDERS[arguments.name]
    folder = folder if folder.is_dir() else arguments.data
    run = import_module(f"benchmarks.detection.{arguments.name.replace('-', '_')}").run
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = run(folder, arguments.seed, Path(scratch))
        except StreamDetectorError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
    report = found if isinstance(found, Report) else Report(found, found)
    for title, rows in report.tables.items():
        print(f"\n{title}\n\n{table(rows)}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report.document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
