"""Random detectors and logs, read in every way that must come to the same (`make fuzz`).

    python -m tests.differential [--seconds 600 | --cases N] [--seed N] [--class engine|models|groups]
    python -m tests.differential --class models --replay SEED

Without a class all take turns. Each case follows from its class and seed: a difference is printed with both, and
`--replay` shows that case again. Exit 1 when anything differed.
"""

import argparse
import sys
import time
import warnings
from collections import Counter
from typing import get_args

from tests.differential.cases import CaseClass, differences

SAID_EACH = 3
"""Differences that are printed of each comparison; all are counted."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--cases", type=int, help="so many of each class instead")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others follow")
    parser.add_argument("--class", dest="classes", choices=get_args(CaseClass), action="append")
    parser.add_argument("--replay", type=int, metavar="SEED", help="this one case")
    arguments = parser.parse_args()
    # Readings of 1e300 overflow in places that bear it.
    warnings.simplefilter("ignore", RuntimeWarning)
    classes: list[CaseClass] = arguments.classes or list(get_args(CaseClass))
    first = arguments.seed if arguments.replay is None else arguments.replay
    cases = arguments.cases if arguments.replay is None else 1
    began, seed = time.monotonic(), first
    found: Counter[str] = Counter()
    while seed < first + cases if cases is not None else time.monotonic() - began < arguments.seconds:
        for case_class in classes:
            for difference in differences(case_class, seed):
                found[difference.comparison] += 1
                if found[difference.comparison] <= SAID_EACH:
                    print(
                        f"--class {case_class} --replay {seed}: {difference.comparison}: {difference.what}", flush=True
                    )
        seed += 1
    ran = f"{seed - first:,} cases of each of {', '.join(classes)}, seeds {first} to {seed - 1}"
    print(f"{ran}: {sum(found.values())} differences {dict(found) if found else ''} {time.monotonic() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
