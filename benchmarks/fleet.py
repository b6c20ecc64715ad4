"""What a scale for each machine is worth in a fleet, and what a machine that training never saw has to expect.

    python -m benchmarks.fleet [--seeds 3] [--write]
    python -m benchmarks.fleet --own [--seeds 6] [--write]      # is a threshold for each worth it, too?

Six simulated machines of a kind: built alike, with levels and gains of their own. Five of them are learnt from for 18
days, of which the last ones choose the threshold; all six are judged on the ten days after. The sixth begins then.
"""

import argparse
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.page import fill_page
from stream_detector.bundle.bundle import Bundle
from trainer.backtesting.alarm_value import AlarmValue, value_alarms
from trainer.backtesting.folds import SECONDS_PER_DAY, Fold
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.simulate import Simulation, simulate, write
from trainer.evaluation.scored import ScoredRows, score_dataset
from trainer.fitting.fit import fit_recipe
from trainer.fitting.thresholds import own_by_machine
from trainer.recipe import Recipe, recipe_of, recipe_text

PAGE = Path(__file__).parents[1] / "docs" / "studies" / "fleets.md"
MACHINES, DAYS, LEARN_DAYS = 6, 28, 18
FLEET = {"provisional_steps": 720, "least_steps": 60}
LEAST_EVENTS = (10, 20)
REPLICATES = 4_000

Floats = NDArray[np.float64]


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
    return priced(recipe, dataset, score_dataset(bundle, dataset))


def priced(recipe: Recipe, dataset: Dataset, scored: ScoredRows) -> AlarmValue:
    """The same of rows that are scored already."""
    begin = float(np.floor(dataset.times.min() / SECONDS_PER_DAY) * SECONDS_PER_DAY)
    days = np.arange(begin, dataset.times.max(), SECONDS_PER_DAY)
    folds = [Fold(day, day + SECONDS_PER_DAY) for day in days]
    return value_alarms(recipe, dataset, folds, scored)


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


@dataclass(frozen=True)
class Later:
    """A fleet with a scale for each, one threshold for all, and the five machines on the ten days after.

    `chosen`: the scored rows that chose the threshold; `scored`: those of `dataset`, the days after.
    """

    recipe: Recipe
    threshold: float
    chosen: ScoredRows
    dataset: Dataset
    scored: ScoredRows


def fleet_later(seed: int) -> Later:
    """Fit one fleet, and score what comes after."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.parquet"
        write(simulate(Simulation(days=DAYS, seed=seed, machines=MACHINES)), path)
        whole, recipe = read_dataset(path, recipe_with(None).data), recipe_with(FLEET)
        assert whole.asset_rows is not None
        start = whole.times.min() + LEARN_DAYS * SECONDS_PER_DAY
        known = whole.asset_rows != MACHINES - 1
        fitted = fit_recipe(recipe, whole.take(known & (whole.times < start)), Path(folder) / "bundle")
        later = whole.take(known & (whole.times >= start))
        scored = score_dataset(fitted.bundle, later)
        return Later(recipe, fitted.bundle.manifest.alarm_threshold, fitted.validation, later, scored)


def gains(later: Later, least_events: int) -> tuple[int, Floats, Floats]:
    """(machines with a threshold of their own, what it saved on each day against the common one, what breaks cost)."""
    chosen, scored, common = later.chosen, later.scored, later.threshold
    assert chosen.positive is not None
    assert chosen.assets is not None
    assert scored.assets is not None
    config = later.recipe.threshold.model_copy(update={"own_least_events": least_events})
    own = own_by_machine(config, later.recipe.costs, chosen.score, chosen.positive, chosen.assets)
    thresholds = np.array([own.get(name, common) for name in scored.assets.tolist()])
    with_common, with_own = (
        priced(later.recipe, later.dataset, replace(scored, threshold=threshold))
        for threshold in (np.full(len(scored), common), thresholds)
    )
    return len(own), with_common.cost_by_day - with_own.cost_by_day, with_common.never_by_day


def own_row(name: str, machines: int, gained: Floats, never: Floats) -> str:
    """A line of the table, with a 90 % interval over days drawn with replacement."""
    days = np.random.default_rng(0).integers(0, len(gained), (REPLICATES, len(gained)))
    low, high = np.quantile(gained[days].sum(axis=1) / never[days].sum(axis=1), [0.05, 0.95])
    gain = gained.sum() / never.sum()
    return f"{name} | {machines} | {100 * gain:+.1f} % [{100 * low:+.1f}, {100 * high:+.1f}] |"


def own_lines(fleets: Iterable[Later]) -> list[str]:
    """The table of thresholds of their own."""
    lines = ["| fleet | events needed | machines with their own | gain over the common one |", "|--:|--:|--:|--:|"]
    found: dict[int, list[tuple[int, Floats, Floats]]] = {least: [] for least in LEAST_EVENTS}
    for seed, later in enumerate(fleets, 1):
        for least in LEAST_EVENTS:
            found[least].append(gains(later, least))
            lines.append(own_row(f"| {seed} | {least}", *found[least][-1]))
            print(lines[-1], flush=True)
    for least, of_fleets in found.items():
        machines, gained, never = zip(*of_fleets, strict=True)
        lines.append(own_row(f"| all | {least}", sum(machines), np.concatenate(gained), np.concatenate(never)))
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Print the table, or write it into the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--own", action="store_true", help="thresholds for each machine, instead of scales")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.own:
        text = "\n".join(own_lines(map(fleet_later, range(1, options.seeds + 1))))
        if options.write:
            fill_page("own thresholds", text, PAGE)
        return
    lines = ["| fleet | scale | machines | saving | breaks caught | false alarms a day |", "|--:|---|---|--:|--:|--:|"]
    for seed in range(1, options.seeds + 1):
        lines += trial(seed)
        print("\n".join(lines[-4:]), flush=True)
    text = "\n".join(lines)
    if options.write:
        fill_page("fleets", text, PAGE)


if __name__ == "__main__":
    main()
