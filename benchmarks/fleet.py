"""What a scale for each machine is worth in a fleet, and what a machine that training never saw has to expect.

    python -m benchmarks.fleet [--seeds 3] [--write]

Six simulated machines of a kind: built alike, with levels and gains of their own. Five of them are learnt from for 18
days, of which the last ones choose the threshold; all six are judged on the ten days after. The sixth begins then.
"""

import argparse
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import fill_page
from stream_detector.bundle.bundle import Bundle
from trainer.backtesting.alarm_value import AlarmValue, value_alarms
from trainer.backtesting.folds import SECONDS_PER_DAY, Fold
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.simulate import Simulation, simulate, write
from trainer.evaluation.scored import score_dataset
from trainer.fitting.fit import fit_recipe
from trainer.recipe import Recipe, recipe_of, recipe_text

PAGE = Path(__file__).parents[1] / "docs" / "studies" / "fleets.md"
MACHINES, DAYS, LEARN_DAYS = 6, 28, 18
FLEET = {"provisional_steps": 720, "least_steps": 60}


def recipe_with(fleet: dict[str, int] | None) -> Recipe:
    """The recipe `simulated` for several machines, with a model that is fitted in seconds."""
    sections: dict[str, Any] = tomllib.loads(recipe_text("simulated"))
    sections["data"]["asset_column"] = "asset"
    sections["split"] = {"by": "time", "train": 0.6, "validation": 0.4}
    sections["model"] = {"kind": "mahalanobis"}
    return recipe_of({**sections, **({} if fleet is None else {"fleet": fleet})}, "fleet")


def row(value: AlarmValue) -> str:
    """The cells of the table that say what alarms were worth."""
    found = value.as_json()
    low, high = found["saving_low"], found["saving_high"]
    interval = "" if low is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    false = found["false_alarms_per_day"]
    saving = f"{100 * (found['saving'] or 0):.0f} %{interval}"
    return f"{saving} | {found['caught']} of {found['events']} | {false:.1f}"


def judge(recipe: Recipe, bundle: Bundle, dataset: Dataset) -> AlarmValue:
    """What the alarms about some machines were worth on the later days."""
    begin = float(np.floor(dataset.times.min() / SECONDS_PER_DAY) * SECONDS_PER_DAY)
    days = np.arange(begin, dataset.times.max(), SECONDS_PER_DAY)
    folds = [Fold(day, day + SECONDS_PER_DAY) for day in days]
    return value_alarms(recipe, dataset, folds, score_dataset(bundle, dataset))


def trial(seed: int) -> list[str]:
    """The lines of one fleet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.parquet"
        write(simulate(Simulation(days=DAYS, seed=seed, machines=MACHINES)), path)
        whole = read_dataset(path, recipe_with(None).data)
        assert whole.asset_rows is not None
        start = whole.times.min() + LEARN_DAYS * SECONDS_PER_DAY
        stranger = whole.asset_rows == MACHINES - 1
        past = whole.take(~stranger & (whole.times < start))
        parts = {
            "the five, later": whole.take(~stranger & (whole.times >= start)),
            "the sixth, never seen": whole.take(stranger & (whole.times >= start)),
        }
        lines = []
        for name, fleet in (("one for all", None), ("each its own", FLEET)):
            recipe = recipe_with(fleet)
            bundle = fit_recipe(recipe, past, Path(folder) / "bundle").bundle
            paying = "" if bundle.manifest.threshold.pays else ", no threshold pays"
            lines += [
                f"| {seed} | {name}{paying} | {which} | {row(judge(recipe, bundle, part))} |"
                for which, part in parts.items()
            ]
    return lines


def main() -> None:
    """Print the table, or write it into the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = ["| fleet | scale | machines | saving | breaks caught | false alarms a day |", "|--:|---|---|--:|--:|--:|"]
    for seed in range(1, options.seeds + 1):
        lines += trial(seed)
        print("\n".join(lines[-4:]), flush=True)
    text = "\n".join(lines)
    if options.write:
        fill_page("fleets", text, PAGE)


if __name__ == "__main__":
    main()
