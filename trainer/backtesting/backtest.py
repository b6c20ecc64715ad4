"""A backtest: every recipe fitted anew at each origin on the past alone, and judged on what comes after it.

Folds run in parallel. Afterwards a few of them are repeated on a file that ends in the middle of the fold: a recipe
whose answers change has looked ahead, and the backtest refuses its figures.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError, RecipeError
from trainer.backtesting.alarm_value import AlarmValue, value_alarms
from trainer.backtesting.folds import Fold
from trainer.backtesting.methods import BacktestMethod, FoldScores
from trainer.backtesting.workers import Case, Task, Work, workers
from trainer.data.dataset import Dataset

CHECKED_FOLDS = 2
SAME = 1e-6
"""Scores of the same row may differ by so much, relatively: sums of float32 depend on the processor's mood."""

OnFold = Callable[[str], None]
"""Called with a recipe's name whenever one of its fits is done."""

Known = dict[bytes, FoldScores]
"""Folds of other files, or of equal recipes, by what decides their scores."""


@dataclass(frozen=True)
class ScoreTask:
    """Score a fold by a method, which is told by its place."""

    method: int
    fold: Fold

    def run(self, case: Case) -> FoldScores:
        return case.methods[self.method].score_fold(case.prepared[self.method], case.dataset, self.fold)


@dataclass(frozen=True)
class CheckTask:
    """Repeat the last fold of a plan on a file that ends within it. judged: how many of the folds are."""

    method: int
    plan: list[Fold]
    scores: list[FoldScores]
    judged: int

    def run(self, case: Case) -> int | None:
        """The last row that was left, where an answer for the rows left changes; else None."""
        method, dataset, own = case.methods[self.method], case.dataset, self.scores[-1]
        last_row = int(own.rows[len(own.rows) // 2])
        kept_rows = _rows_up_to(dataset, last_row)
        shorter = dataset.take(kept_rows)
        prepared = method.prepare(shorter)
        again = method.score_fold(prepared, shorter, self.plan[-1])
        left = kept_rows[own.rows]
        same = np.array_equal(np.flatnonzero(kept_rows)[again.rows], own.rows[left]) and np.allclose(
            again.raw_score, own.raw_score[left], rtol=SAME, atol=SAME, equal_nan=True
        )
        if same:
            finished = method.finish(prepared, self.plan, [*self.scores[:-1], again], self.judged)
            # The same folds of the whole file, so that only the rows behind the end can make a difference.
            whole = method.finish(case.prepared[self.method], self.plan, self.scores, self.judged)
            kept = kept_rows[whole.rows]
            same = np.allclose(finished.level, whole.level[kept], rtol=SAME, atol=SAME) and np.allclose(
                finished.threshold, whole.threshold[kept], rtol=SAME
            )
        return None if same else last_row


def fits_needed(methods: Sequence[BacktestMethod], dataset: Dataset, folds: list[Fold], check: bool = True) -> int:
    """Number of fits in a backtest."""
    before = sum(len(method.folds_before(dataset, folds)) for method in methods)
    return before + len(methods) * (len(folds) + (CHECKED_FOLDS if check else 0))


def run_backtest(
    methods: Sequence[BacktestMethod],
    dataset: Dataset,
    folds: list[Fold],
    jobs: int = 1,
    on_fold: OnFold = lambda _name: None,
    check: bool = True,
    work: Work | None = None,
    known: Known | None = None,
) -> list[AlarmValue]:
    """Every method over the same folds.

    `work`: processes that are there already; else `jobs` are begun. `known`: folds that need not be scored again, to
    which those of this file are added.

    Raises RecipeError for a method that looks ahead, DataError for a file without events.
    """
    if not dataset.labels_mark_events or not dataset.events.any():
        raise DataError(
            f"{dataset.name} has no events to judge by: a backtest needs a label column that marks them "
            '(data.labels_mark = "events", --label-column)'
        )
    case = Case(methods, [method.prepare(dataset) for method in methods], dataset)
    plans = [[*method.folds_before(dataset, folds), *folds] for method in methods]
    with workers(jobs) if work is None else nullcontext(work) as running:
        scores = _score(case, plans, running, on_fold, known)
        if check:
            _refuse_what_looks_ahead(case, plans, scores, len(folds), running, on_fold)
    return [
        value_alarms(method.recipe, dataset, folds, method.finish(prepared, plan, found, len(folds)))
        for method, prepared, plan, found in zip(methods, case.prepared, plans, scores, strict=True)
    ]


def _score(
    case: Case, plans: list[list[Fold]], work: Work, on_fold: OnFold, known: Known | None
) -> list[list[FoldScores]]:
    """The scores of every fold of each method's plan."""
    found: Known = {} if known is None else known

    def key(method: int, fold: int) -> bytes:
        if known is None:  # nothing to share with: the digest of all its rows is spared
            return b"%d, %d" % (method, fold)
        return case.methods[method].fold_key(case.prepared[method], case.dataset, plans[method][fold])

    keys = {(method, fold): key(method, fold) for method, plan in enumerate(plans) for fold in range(len(plan))}
    todo: dict[bytes, tuple[int, int]] = {}
    # The newest folds learn from the most rows: begun first, they do not keep the others waiting at the end.
    for place in sorted(keys, key=lambda place: -place[1]):
        if keys[place] not in found:
            todo.setdefault(keys[place], place)
    begun = list(todo.values())
    tasks: list[Task] = [ScoreTask(method, plans[method][fold]) for method, fold in begun]
    for done, result in work(case, tasks):
        found[keys[begun[done]]] = result
        on_fold(case.methods[begun[done][0]].recipe.name)
    for place in keys:
        if place not in begun:
            on_fold(case.methods[place[0]].recipe.name)
    return [[found[keys[method, fold]] for fold in range(len(plan))] for method, plan in enumerate(plans)]


def _refuse_what_looks_ahead(
    case: Case, plans: list[list[Fold]], scores: list[list[FoldScores]], judged: int, work: Work, on_fold: OnFold
) -> None:
    """Repeat some folds on a file that ends within them; RecipeError if the answers for what is left change."""
    tasks: list[Task] = []
    names: list[str] = []
    for number, (method, plan, found) in enumerate(zip(case.methods, plans, scores, strict=True)):
        before = len(plan) - judged
        scored = [index for index in range(before, len(plan)) if len(found[index].rows) > 1]
        for place in np.unique(np.linspace(0, len(scored) - 1, CHECKED_FOLDS).round().astype(int)).tolist():
            until = scored[place] + 1
            tasks.append(CheckTask(number, plan[:until], found[:until], until - before))
            names.append(method.recipe.name)
    for place, last_row in work(case, tasks):
        on_fold(names[place])
        if last_row is not None:
            raise RecipeError(
                f"recipe {names[place]} looks ahead: what it says about rows up to {last_row} of {case.dataset.name} "
                "changes when the rows after it are taken away, so its figures would be worthless; compute each row "
                "from rows up to it"
            )


def _rows_up_to(dataset: Dataset, row: int) -> NDArray[np.bool_]:
    """(N,) the rows up to one; of several assets those up to its time."""
    if len(dataset.assets) > 1:
        return np.asarray(dataset.times <= dataset.times[row])
    return np.arange(len(dataset)) <= row
