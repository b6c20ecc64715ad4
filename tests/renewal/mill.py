"""`make renewal-mill`: does a plant that is renewed each day save what the backtest says, to the cent?

The public paper-mill file goes through a real broker, day after day. At the end of each day `trainer renew --once` fits
the recipe anew on what lies before, and the one command accepts it: the switch is a record in the log, at the day's
beginning. Whether a candidate is better is judged and written down, and decides nothing here (`--policy never`): a
backtest refits without asking, too. At the end the ledger prices the alarms that the worker raised, and stands beside
`trainer backtest --retrain 1d` of the same recipe for the same days.
"""

import argparse
import signal
import sys
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from stream_detector.messages import to_iso
from stream_detector.operations.ledger.report import LedgerReport
from tests.renewal.claims import PAGE, Claims, scratch_folder
from tests.renewal.site import Site, kafka_site
from tests.support.public_data import public_data
from tests.support.stack.kafka import why_no_kafka
from trainer.backtesting.alarm_value import AlarmValue
from trainer.backtesting.backtest import run_backtest
from trainer.backtesting.folds import Fold, plan_folds
from trainer.backtesting.methods import method_of
from trainer.data.dataset import Dataset, read_dataset
from trainer.recipe import Recipe, load_recipe

MARKS = "<!-- table of `make renewal-mill` -->", "<!-- end of the table of `make renewal-mill` -->"
FILE = Path("papermill") / "process_data_dev.csv.gz"
RECIPE = "paper-mill-calibrated"
ASSET = "pm-1"
NETWORK = 'kind = "lstm-autoencoder"\noptions = { hidden = [32, 16] }'
TREES = "trees = 80, learning_rate = 0.03"
BAGS = "bags = 8, keep = 0.25"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=public_data() / FILE, help="the paper mill's development file")
    parser.add_argument("--start", help="judge from this time on; default: as `trainer backtest`")
    parser.add_argument("--days", type=int, help="judge so many days; default: all")
    parser.add_argument("--quick", action="store_true", help=f"a small ensemble instead of {RECIPE}'s own")
    parser.add_argument("--write", action="store_true", help=f"enter the table into {PAGE.name}")
    parser.add_argument("--keep", type=Path, help="keep registry and logs there")
    options = parser.parse_args()
    if (reason := why_no_kafka()) is not None:
        sys.exit(f"the renewal cannot run here: {reason}")
    if not options.data.is_file():
        sys.exit(f"{options.data} is not there; name the paper mill's file with --data (make renewal-mill MILL=FILE)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with scratch_folder("renewal-mill-", options.keep) as folder:
        recipe = recipe_in(folder, quick=options.quick)
        mill = Mill.of(options.data, recipe, options.start, options.days)
        claims = mill.live(folder)
    first, last = to_iso(mill.folds[0].begin)[:10], to_iso(mill.folds[-1].begin)[:10]
    said = (
        f"{'A small ensemble' if options.quick else RECIPE}, {len(mill.folds)} days from {first} to {last}, "
        f"in {(time.monotonic() - began) / 60:.1f} minutes."
    )
    return claims.conclude(said, MARKS, write=options.write)


def recipe_in(folder: Path, *, quick: bool) -> Path:
    """The recipe with a model that is fitted in a second: the head alone decides. `quick`: with a small head, too."""
    text = files("trainer.recipes").joinpath(f"{RECIPE}.toml").read_text(encoding="utf-8")
    changes = {NETWORK: 'kind = "mahalanobis"'}
    if quick:
        changes |= {TREES: "trees = 20, learning_rate = 0.12", BAGS: "bags = 1, keep = 0.25"}
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"the recipe holds no {old!r}")
        text = text.replace(old, new)
    path = folder / f"{RECIPE}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Mill:
    """`folds`: the judged days."""

    data: Path
    recipe_file: Path
    recipe: Recipe
    dataset: Dataset
    folds: list[Fold]

    @classmethod
    def of(cls, data: Path, recipe_file: Path, start: str | None, days: int | None) -> "Mill":
        """The file up to the end of the last judged day."""
        recipe = load_recipe(str(recipe_file))
        whole = read_dataset(data, recipe.data)
        folds = plan_folds(whole, start, "1d")[:days]
        return cls(data, recipe_file, recipe, whole.take(whole.times < folds[-1].end), folds)

    def live(self, folder: Path) -> Claims:
        """All days, and what is to hold of them."""
        with kafka_site(folder, self.recipe_file) as site:
            begin = self.folds[0].begin
            # The champion of the day before decides when the first judged day begins, as on every other day.
            before = begin - (self.folds[0].end - begin)
            self._send(site, None, before)
            first = self._candidate(site, before)
            site.command("promote", first, "--why", "the first one")
            site.start("champion")
            self._send(site, before, begin)
            for fold in self.folds:
                candidate = self._candidate(site, fold.begin)
                site.command("promote", candidate, "--bootstrap", site.kafka.bootstrap, "--why", "the day's own")
                self._send(site, fold.begin, fold.end)
            site.work_off()
            booked = site.booked(begin, self.folds[-1].end)
            pauses = site.pauses("champion")
            code = site.workers["champion"].stop(60.0)
            audited = site.command("audit", "--bundle", site.registry.folder / "champion").strip().splitlines()[-1]
        (judged,) = run_backtest([method_of(self.recipe)], self.dataset, self.folds, check=False)
        claims = compared(booked, judged)
        claims.add(
            "each day begins with a switch in the log",
            len(pauses) == len(self.folds),
            f"{len(pauses)} switches, decisions paused for {max(pauses, default=0.0):.2f} s at most",
        )
        claims.add("the log gives the alarms that were raised, through all switches", code == 0, audited)
        return claims

    def _send(self, site: Site, begin: float | None, end: float) -> None:
        """`stream-detector replay` of the rows from `begin` to `end`."""
        data = self.recipe.data
        words: list[object] = ["replay", "--data", self.data, "--as", "rows", "--asset", ASSET, "--until", to_iso(end)]
        words += [] if begin is None else ["--from", to_iso(begin)]
        words += ["--time-column", data.time_column, "--label-column", data.label_column]
        site.command(*words, *([] if data.time_format is None else ["--time-format", data.time_format]))

    def _candidate(self, site: Site, until: float) -> str:
        """What renewal fits at the end of a day."""
        decision = site.look(self.recipe_file, policy="never", every="1d", window=None, until=to_iso(until))
        if decision is None or decision.candidate is None:
            raise RuntimeError(f"renewal fitted nothing as of {to_iso(until)}: {decision}")
        print(f"    {to_iso(until)[:10]}: {decision.candidate}; {decision.why}", flush=True)
        return decision.candidate


def compared(booked: LedgerReport, judged: AlarmValue) -> Claims:
    """Each figure of the ledger beside that of the backtest."""
    claims, total, match = Claims(), booked.total, judged.priced.match
    figures = [
        ("what the events would have cost", total.never_cost, judged.priced.never_cost),
        ("what events and alarms cost", total.cost, judged.priced.cost),
        ("net saving", total.saved, judged.priced.never_cost - judged.priced.cost),
        ("events", total.events, len(judged.event_steps)),
        ("caught", total.caught, int(match.caught.sum())),
        ("missed", total.missed, int((~match.caught).sum())),
        ("alarms", total.alarms, len(judged.alarms)),
        ("false alarms", total.false_alarms, len(judged.alarms) - judged.useful_alarms),
    ]
    for name, found, wanted in figures:
        claims.add(f"{name}: ledger and backtest say the same", found == wanted, f"{found:,.10g} and {wanted:,.10g}")
    days = {day["day"]: (day["cost"], day["caught"], day["alarms"]) for day in judged.per_day()}
    nothing = (0.0, 0, 0)
    own = {day: (tally.cost, tally.caught, tally.alarms) for day, tally in booked.by_day.items()}
    differ = [day for day in sorted(days | own) if days.get(day, nothing) != own.get(day, nothing)]
    claims.add("cost, caught and alarms of each day", not differ, ", ".join(differ) or f"equal on {len(days)} days")
    return claims


if __name__ == "__main__":
    sys.exit(main())
