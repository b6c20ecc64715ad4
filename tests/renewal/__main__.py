"""`make renewal`: a plant whose machine is changed, and whose detector renews itself; does the saving come back?

A paper machine is simulated and its readings go through a real broker, some two months in minutes. Champion and
challenger are real processes; renewal is the command `trainer renew --once --policy managed --switch log`, once a day.
Nothing is left out of what is said: a claim that does not hold is printed as such, and the exit code is 1 then.
"""

import argparse
import signal
import sys
import time
from importlib.resources import files
from pathlib import Path

from tests.renewal.claims import PAGE, Claims, scratch_folder
from tests.renewal.plant import Plant
from tests.renewal.site import open_site
from tests.renewal.story import MOST_MORE_DAYS, Days, Story
from tests.support.paths import ROOT
from tests.support.stack.kafka import why_no_kafka

MARKS = "<!-- table of `make renewal` -->", "<!-- end of the table -->"
NETWORK = 'kind = "lstm-autoencoder"\noptions = { hidden = [32, 16] }'
CHEAPEST = 'policy = "cost-optimal"'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="another seed is another machine")
    parser.add_argument("--quiet-days", type=int, default=Days.quiet, help="in which nothing is done to the machine")
    parser.add_argument("--changed-days", type=int, default=Days.changed, help="after it was changed")
    parser.add_argument("--write", action="store_true", help=f"enter the table into {PAGE.name}")
    parser.add_argument("--report", type=Path, default=ROOT / "out" / "renewal.html", help="write the report there")
    parser.add_argument("--keep", type=Path, help="keep registry and logs there")
    options = parser.parse_args()
    if (reason := why_no_kafka()) is not None:
        sys.exit(f"the renewal cannot run here: {reason}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    days = Days(
        quiet=options.quiet_days, changed=options.changed_days, again=min(Days.again, options.changed_days // 2)
    )
    began, used = time.monotonic(), time.process_time()
    with scratch_folder("renewal-", options.keep) as folder:
        claims = live(folder, options.seed, days, options.report)
    said = (
        f"Seed {options.seed}: {days.end} days in {(time.monotonic() - began) / 60:.1f} minutes "
        f"({(time.process_time() - used) / 60:.1f} minutes of a core for renewal and the plant)."
    )
    return claims.conclude(said, MARKS, write=options.write)


def live(folder: Path, seed: int, days: Days, report: Path) -> Claims:
    """The whole story in this folder."""
    recipe, bad = folder / "quick.toml", folder / "bad.toml"
    text = files("trainer.recipes").joinpath("simulated.toml").read_text(encoding="utf-8")
    # The recipe of the simulated machine, with a model that is fitted in a second.
    recipe.write_text(replaced(text, NETWORK, 'kind = "mahalanobis"'), encoding="utf-8")
    bad.write_text(
        replaced(recipe.read_text(encoding="utf-8"), CHEAPEST, 'policy = "quantile"\nquantile = 0.5'), encoding="utf-8"
    )
    print(f"simulating {days.end} days of a paper machine that is changed on day {days.change} ...", flush=True)
    plant = Plant.simulated(seed, days.end + MOST_MORE_DAYS + 2, days.change)
    with open_site(folder, plant, recipe) as site:
        return Story(site, bad, report, days).tell()


def replaced(text: str, old: str, new: str) -> str:
    """ValueError where `old` is not there: the recipe has been written anew."""
    if old not in text:
        raise ValueError(f"the recipe holds no {old!r}")
    return text.replace(old, new)


if __name__ == "__main__":
    sys.exit(main())
