"""A case from a seed, and everything that is compared of it."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stream_detector.bundle.bundle import Bundle
from stream_detector.decoding.unknown_names import UnknownPolicies
from stream_detector.detection.models.registry import KINDS
from stream_detector.engine.detector_spec import DetectorSpec
from tests.differential.comparisons import (
    ENGINE_COMPARISONS,
    Case,
    Table,
    random_table,
    stream_agrees_with_offline,
)
from tests.differential.fitted import fitted
from tests.differential.groups import group_case, run_case
from tests.differential.logs import random_limits, random_log
from tests.differential.specs import random_spec
from trainer.data.dataset import Dataset
from trainer.evaluation.scored import score_dataset

CaseClass = Literal["engine", "models", "groups"]
"""engine: random detectors over a cheap scorer. models: random recipes of every kind of model, fitted. groups: workers
whose log changes bundles, fleets among them."""


@dataclass(frozen=True)
class Difference:
    """A comparison that failed, and how."""

    comparison: str
    what: str


def differences(case_class: CaseClass, seed: int) -> list[Difference]:
    """All that differs in one case; the same for the same seed."""
    draw = {"engine": _engine_comparisons, "models": _model_comparisons, "groups": _group_comparisons}[case_class]
    found = []
    for name, comparison in draw(random.Random(f"{case_class} {seed}"), seed):
        try:
            comparison()
        except Exception as error:
            found.append(Difference(name, _described(error)))
    return found


Comparison = tuple[str, Callable[[], object]]


def _engine_comparisons(rng: random.Random, seed: int) -> Iterator[Comparison]:
    spec = random_spec(rng)
    log = random_log(rng, spec.grid, spec.sensors, rng.choice([20, 40, 40, 60, 80, 150]))
    policies = UnknownPolicies(rng.choice(["ignore", "dead-letter"]), rng.choice(["ignore", "dead-letter"]))
    yield from _of_log(Case(seed, spec, random_limits(rng, spec.grid.step_seconds), log, policies))
    table = random_table(rng, spec, rng.choice([20, 60]), widest_gap_steps=20)
    cuts = [rng.randrange(100) for _ in range(4)]
    yield "offline", lambda: stream_agrees_with_offline(spec, table, cuts)


def _model_comparisons(rng: random.Random, seed: int) -> Iterator[Comparison]:
    """Every kind in turn, so that few cases have all of them."""
    kinds = sorted(KINDS)
    bundle, dataset = fitted(rng, kinds[seed % len(kinds)])
    spec = DetectorSpec.of(bundle)
    log = random_log(rng, spec.grid, spec.sensors, rng.choice([40, 60, 100]))
    yield from _of_log(Case(seed, spec, random_limits(rng, spec.grid.step_seconds), log))
    cuts = [rng.randrange(500) for _ in range(4)]
    yield "trainer score", lambda: _score_agrees_with_stream(bundle, dataset, cuts)


def _group_comparisons(rng: random.Random, _: int) -> Iterator[Comparison]:
    yield "group", lambda: run_case(group_case(rng))


def _of_log(case: Case) -> Iterator[Comparison]:
    for comparison in ENGINE_COMPARISONS:
        yield comparison.__name__.replace("_", " "), lambda comparison=comparison: comparison(case)  # type: ignore[misc]


def _score_agrees_with_stream(bundle: Bundle, dataset: Dataset, cuts: list[int]) -> None:
    """What `trainer score` writes of the file that the bundle was fitted on, against the stream of its rows."""
    events = dataset.events
    table = Table(dataset.times[~events], dataset.values[~events], dataset.times[events])
    frame = stream_agrees_with_offline(DetectorSpec.of(bundle), table, cuts)
    scored = score_dataset(bundle, dataset)
    level = frame.steps.score if bundle.head is None else frame.steps.probability
    finite = np.isfinite(level)
    assert scored.level.tolist() == level[finite].tolist()
    assert scored.above.tolist() == frame.steps.above[finite].tolist()


def _described(error: Exception) -> str:
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = "" if where is None else f" at {where.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{where.tb_lineno}"
    return f"{type(error).__name__}{place}: {' '.join(str(error).split())[:600]}"
