"""A simulated plant whose operators act on most of the alarms: is what the ledger says true, and do refits last?

    python -m benchmarks.acting [--runs 200] [--rounds 10] [--json FILE]

Two sensors grow restless before many breaks, and now and then without one. Whoever acts on an alarm prevents its break,
so that neither the log nor the next fit ever sees it. `runs`: is what acting really prevented, and saved, within the
90 % interval that alarms held back give? `rounds`: a detector is fitted again and again on what its alarms left over;
how many of the coming breaks does it still foresee, with the rows that people acted on left out and with them learnt?
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from msgspec.structs import asdict
from numpy.typing import NDArray

from stream_detector.detection.config import EpisodeConfig
from stream_detector.detection.episodes import episodes
from stream_detector.detection.scoring import Scorer
from stream_detector.engine.alarm_messages import is_held_back
from stream_detector.messages import Alarm, Costs, Feedback, LoggedEvent, to_iso
from stream_detector.operations.ledger.held_back import Prevented
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report
from trainer.data.dataset import Dataset
from trainer.data.examples import cut_examples
from trainer.fitting.fit import pick_threshold
from trainer.fitting.learn import learn
from trainer.recipe import Recipe, parse_recipe

STEP_SECONDS = 120.0
DAY_OF_STEPS = 720
BREAKS_A_DAY, UNRESTS_A_DAY = 4.0, 3.0
SHARE_FORESEEABLE = 0.7
ACTED_SHARE = 0.7
START = 1_750_000_080.0
ASSET = "pm-1"

RECIPE = """
title = "A plant whose operators act"
[data]
labels_mark = "events"
[grid]
step_seconds = 120
[window]
steps = 1
[model]
kind = "logistic-classifier"
options = { c = 1.0 }
[episode]
hold_steps = 2
max_steps = 2
[threshold]
policy = "cost-optimal"
"""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Plant:
    """N steps: values (N, 3), and the steps in which the sheet breaks if nobody acts."""

    values: Floats
    breaks: Ints


@dataclass(frozen=True)
class Lived:
    """What came of a plant's days. `prevented`: breaks that acting prevented; `foreseen`: those that an alarm was up
    before, prevented or not. `ledger` has what is in the topics; `saved` is the truth, in currency units."""

    logged: Ints
    prevented: int
    foreseen: int
    alarms: int
    saved: float
    ledger: Ledger


def simulate(days: int, generator: np.random.Generator) -> Plant:
    """A plant of so many days."""
    steps = days * DAY_OF_STEPS
    values = generator.normal(size=(steps, 3))
    breaks = np.flatnonzero(generator.random(steps) < BREAKS_A_DAY / DAY_OF_STEPS)
    breaks = breaks[(breaks > 10) & (breaks < steps - 10)]
    breaks = breaks[np.diff(breaks, prepend=-100) > 8]
    restless = breaks[generator.random(len(breaks)) < SHARE_FORESEEABLE]
    unrest = np.flatnonzero(generator.random(steps - 10) < UNRESTS_A_DAY / DAY_OF_STEPS) + 2
    for ends in (restless, unrest):
        for back in (1, 2):
            values[ends - back, :2] += generator.choice((-1.0, 1.0), (len(ends), 2)) * generator.uniform(
                3, 6, (len(ends), 1)
            )
    return Plant(values, breaks)


def live(plant: Plant, above: Bools, held_back_share: float, generator: np.random.Generator) -> Lived:
    """Raise alarms where the detector is `above` (N,), let people act on them, and keep the books.

    `above` does not depend on what people do, for a sheet that breaks or not leaves the sensors as they are.
    """
    costs, ledger = Costs(), Ledger()
    spans = episodes(
        np.arange(len(above)), above, np.zeros(len(above), np.int64), EpisodeConfig(hold_steps=2, max_steps=2)
    )
    to_come = dict.fromkeys(plant.breaks.tolist())
    prevented, foreseen, acted_count = 0, set[int](), 0
    for raised, cleared in spans.tolist():
        alarm = _alarm(raised, cleared, costs, held_back_share, f"{generator.integers(2**62):x}")
        ledger.add_alarm(alarm)
        coming = [step for step in range(raised + 1, cleared + 2) if step in to_come]
        foreseen.update(coming)
        if not alarm.held_back and generator.random() < ACTED_SHARE:
            acted_count += 1
            ledger.add_feedback(Feedback(asset=ASSET, action="acted", alarm=alarm.id, who="shift", at=_time(raised)))
            for step in coming:
                del to_come[step]
                prevented += 1
    for step in to_come:
        ledger.add_event(ASSET, LoggedEvent(time=_time(step), event="break"))
    saved = costs.fn * prevented - costs.fp * acted_count
    return Lived(np.array(list(to_come), np.int64), prevented, len(foreseen), len(spans), saved, ledger)


def _alarm(raised: int, cleared: int, costs: Costs, held_back_share: float, alarm_id: str) -> Alarm:
    return Alarm(
        id=alarm_id, asset=ASSET, state="cleared", raised_at=_time(raised), cleared_at=_time(cleared),
        expected_from=_time(raised + 1), expected_until=_time(raised + 2), probability=None, score=2.0, threshold=1.0,
        top_sensors=[], bundle="b", recipe="r", costs=costs, step_seconds=STEP_SECONDS,
        held_back=is_held_back(alarm_id, held_back_share),
    )  # fmt: skip


def _time(step: int) -> str:
    return to_iso(START + step * STEP_SECONDS)


@dataclass(frozen=True)
class Run:
    """One short run: the truth beside what the ledger says of it."""

    prevented: int
    saved: float
    found: Prevented

    @property
    def within(self) -> bool:
        """Whether both truths lie in their intervals."""
        found = self.found
        return (
            found.events_low <= self.prevented <= found.events_high
            and found.saved_low <= self.saved <= found.saved_high
        )


def one_run(seed: int, days: int = 20, held_back_share: float = 0.25) -> Run | None:
    """A plant of `days` days with a fixed rule; None where the lot held no alarm back."""
    generator = np.random.default_rng(seed)
    plant = simulate(days, generator)
    lived = live(plant, np.abs(plant.values[:, :2]).sum(axis=1) > 6.0, held_back_share, generator)
    found = report(lived.ledger).prevented
    return None if found is None else Run(lived.prevented, lived.saved, found)


def refits(rounds: int, leave_out: bool, seed: int, days: int = 40) -> list[float]:
    """Share of the breaks to come that each round's detector foresees. Round 0 learns from a plant without alarms.

    leave_out: whether the rows that people acted on are left out of the next fit, as the trainer does.
    """
    generator = np.random.default_rng(seed)
    recipe = parse_recipe(RECIPE, "acting")
    plant = simulate(days, generator)
    lived = live(plant, np.zeros(len(plant.values), bool), 0.0, generator)
    found = []
    for _ in range(rounds + 1):
        detector = fit(recipe, plant, lived, leave_out)
        plant = simulate(days, generator)
        lived = live(plant, detector.above(plant.values), 0.0, generator)
        found.append(lived.foreseen / len(plant.breaks))
    return found


@dataclass(frozen=True)
class Fit:
    scorer: Scorer
    limit: float

    def above(self, values: Floats) -> Bools:
        """(N, F) -> (N,)."""
        above: Bools = self.scorer.score(values[:, None, :]).score > self.limit
        return above


def fit(recipe: Recipe, plant: Plant, lived: Lived, leave_out: bool) -> Fit:
    """What the trainer makes of the topics of these days."""
    times = START + np.arange(len(plant.values), dtype=np.float64) * STEP_SECONDS
    labels = np.zeros(len(times), bool)
    labels[lived.logged] = True
    dataset = Dataset("topics", "0" * 64, ("x1", "x2", "x3"), times, plant.values, labels, labels_mark_events=True)
    if leave_out:
        acted = np.zeros(len(times), bool)
        for alarm in lived.ledger.account(ASSET).alarms:
            if alarm.acted and not alarm.useful:
                acted |= (times >= alarm.speaks_from) & (times < alarm.speaks_until)
        dataset = replace(dataset, acted=acted)
    examples = cut_examples(dataset, recipe.grid, recipe.window, recipe.lead)
    older = np.arange(len(examples)) < 0.6 * len(examples)
    scorer = learn(recipe, examples.take(older)).scorer(recipe)
    return Fit(scorer.scorer, pick_threshold(recipe, scorer, examples.take(~older), dataset).limit)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.acting", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5, help="plants over which the rounds are averaged")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs = [run for seed in range(options.runs) if (run := one_run(seed)) is not None]
    within = float(np.mean([run.within for run in runs]))
    truth, said = np.mean([run.saved for run in runs]), np.mean([run.found.saved for run in runs])
    print(
        f"{len(runs)} runs: the truth is within its 90 % interval in {within:.1%}; saved {truth:,.0f}, said {said:,.0f}"
    )
    by_round = {}
    for name, leave_out in (("left out", True), ("learnt", False)):
        shares = np.mean([refits(options.rounds, leave_out, seed) for seed in range(options.seeds)], axis=0)
        by_round[name] = shares.tolist()
        print(f"rows acted on {name}: breaks foreseen by round {' '.join(f'{share:.0%}' for share in shares)}")
    if options.json is not None:
        each = [{"prevented": run.prevented, "saved": run.saved, "found": asdict(run.found)} for run in runs]
        options.json.write_text(json.dumps({"within": within, "foreseen_by_round": by_round, "runs": each}, indent=2))


if __name__ == "__main__":
    main()
