"""`make chaos`: break everything, compare with an undisturbed run, write the table into docs/reliability.md."""

import argparse
import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

from tests.chaos.stage import Result
from tests.chaos.suite import KINDS, Suite, short, whole, write_page
from tests.support.stack.kafka import why_no_kafka


def keep(file: Path | None, result: Result) -> None:
    if file is not None:
        with file.open("a") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")


def read(file: Path | None) -> list[Result]:
    return [] if file is None else [Result(**json.loads(line)) for line in file.read_text().splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="repeat for several runs; default: one at random")
    parser.add_argument("--short", action="store_true", help="only what runs on every push")
    parser.add_argument("--only", action="append", help="only faults whose name holds this; may be repeated")
    parser.add_argument("--kind", choices=KINDS, help="of model, for every trial; default: they take turns")
    parser.add_argument("--first", type=int, default=0, help="begin with this trial, e.g. after an interruption")
    parser.add_argument(
        "--results", type=Path, help="append results here as JSON lines; --write sums the whole file up"
    )
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    arguments = parser.parse_args()
    reason = why_no_kafka()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    seeds = arguments.seed or [random.randrange(1_000_000)]
    results: list[Result] = []
    for seed in seeds:
        print(f"seed {seed} (again with: make chaos CHAOS='--seed {seed}')", flush=True)
        with Suite(seed, lambda text: print(text, flush=True), arguments.kind) as suite:
            for number, fault in enumerate(short() if arguments.short else whole()):
                wanted = arguments.only is None or any(part in fault.name for part in arguments.only)
                if number >= arguments.first and wanted:
                    reason = fault.why_not()
                    if reason is not None:
                        print(f"skipped {fault.name}: {reason}", flush=True)
                        continue
                    results.append(suite.try_fault(fault, number))
                    keep(arguments.results, results[-1])
    if arguments.write:
        write_page(read(arguments.results) or results)
    bad = [result.fault for result in results if not result.good]
    print(f"{len(results)} trials, bad: {', '.join(bad) or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
