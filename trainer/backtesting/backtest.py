"""A backtest: every recipe fitted anew at each origin on the past alone, and judged on what comes after it.

Folds run in parallel. Afterwards a few of them are repeated on a file that ends in the middle of the fold: a recipe
whose answers change has looked ahead, and the backtest refuses its figures.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError, RecipeError
from trainer.backtesting.alarm_value import AlarmValue, value_alarms
from trainer.backtesting.folds import Fold
from trainer.backtesting.methods import BacktestMethod, FoldScores
from trainer.data.dataset import Dataset

CHECKED_FOLDS = 2
SAME = 1e-6
"""Scores of the same row may differ by so much, relatively: sums of float32 depend on the processor's mood."""

OnFold = Callable[[str], None]
"""Called with a recipe's name whenever one of its fits is done."""


@dataclass(frozen=True)
class Job:
    """One fold of one method."""

    method: int
    fold: int


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
) -> list[AlarmValue]:
    """Every method over the same folds; `jobs` processes.

    Raises RecipeError for a method that looks ahead, DataError for a file without events.
    """
    if not dataset.labels_mark_events or not dataset.events.any():
        raise DataError(
            f"{dataset.name} has no events to judge by: a backtest needs a label column that marks them "
            '(data.labels_mark = "events", --label-column)'
        )
    prepared = [method.prepare(dataset) for method in methods]
    plans = [[*method.folds_before(dataset, folds), *folds] for method in methods]
    scores: list[list[FoldScores | None]] = [[None] * len(plan) for plan in plans]
    # The newest folds learn from the most rows: begun first, they do not keep the others waiting at the end.
    todo = sorted((Job(m, f) for m, plan in enumerate(plans) for f in range(len(plan))), key=lambda job: -job.fold)
    with _workers(methods, prepared, dataset, jobs) as work:
        for job, found in work([(job, plans[job.method][job.fold]) for job in todo]):
            scores[job.method][job.fold] = found
            on_fold(methods[job.method].recipe.name)
    results = []
    for method, own, plan, found_scores in zip(methods, prepared, plans, scores, strict=True):
        complete = [found for found in found_scores if found is not None]
        judged = method.finish(own, plan, complete, len(folds))
        if check:
            check_truncation(method, dataset, plan, complete, len(folds), on_fold)
        results.append(value_alarms(method.recipe, dataset, folds, judged))
    return results


def check_truncation(
    method: BacktestMethod,
    dataset: Dataset,
    plan: list[Fold],
    scores: list[FoldScores],
    judged: int,
    on_fold: OnFold = lambda _name: None,
) -> None:
    """Repeat some folds on a file that ends within them; RecipeError if the answers for what is left change."""
    scored = [index for index in range(len(plan) - judged, len(plan)) if len(scores[index].rows) > 1]
    for index in [scored[i] for i in np.unique(np.linspace(0, len(scored) - 1, CHECKED_FOLDS).round().astype(int))]:
        scored_rows = scores[index].rows
        last_row = int(scored_rows[len(scored_rows) // 2])
        kept_rows = _rows_up_to(dataset, last_row)
        shorter = dataset.take(kept_rows)
        prepared = method.prepare(shorter)
        again = method.score_fold(prepared, shorter, plan[index])
        on_fold(method.recipe.name)
        left = kept_rows[scores[index].rows]
        same = np.array_equal(np.flatnonzero(kept_rows)[again.rows], scores[index].rows[left]) and np.allclose(
            again.raw_score, scores[index].raw_score[left], rtol=SAME, atol=SAME, equal_nan=True
        )
        if same:
            first = len(plan) - judged
            finished = method.finish(prepared, plan[: index + 1], [*scores[:index], again], index - first + 1)
            # The same folds of the whole file, so that only the rows behind the end can make a difference.
            whole = method.finish(method.prepare(dataset), plan[: index + 1], scores[: index + 1], index - first + 1)
            kept = kept_rows[whole.rows]
            same = np.allclose(finished.level, whole.level[kept], rtol=SAME, atol=SAME) and np.allclose(
                finished.threshold, whole.threshold[kept], rtol=SAME
            )
        if not same:
            raise RecipeError(
                f"recipe {method.recipe.name} looks ahead: what it says about rows up to {last_row} of {dataset.name} "
                "changes when the rows after it are taken away, so its figures would be worthless; compute each row "
                "from rows up to it"
            )


def _rows_up_to(dataset: Dataset, row: int) -> NDArray[np.bool_]:
    """(N,) the rows up to one; of several assets those up to its time."""
    if len(dataset.assets) > 1:
        return np.asarray(dataset.times <= dataset.times[row])
    return np.arange(len(dataset)) <= row


Work = Callable[[list[tuple[Job, Fold]]], Iterator[tuple[Job, FoldScores]]]

_shared: tuple[Sequence[BacktestMethod], list[Any], Dataset] | None = None
"""Arguments that a worker process got at its start; empty in the main process."""


@contextmanager
def _workers(methods: Sequence[BacktestMethod], prepared: list[Any], dataset: Dataset, jobs: int) -> Iterator[Work]:
    if jobs <= 1:

        def here(todo: list[tuple[Job, Fold]]) -> Iterator[tuple[Job, FoldScores]]:
            for job, fold in todo:
                yield job, methods[job.method].score_fold(prepared[job.method], dataset, fold)

        yield here
        return
    # Forked processes would inherit the threads' locks of torch in an unknown state.
    context = get_context("spawn")
    # Nothing is ever sent: a worker ends when this end is closed, by us or by the death of this process.
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, context, _begin, (lifeline, methods, prepared, dataset))

    def there(todo: list[tuple[Job, Fold]]) -> Iterator[tuple[Job, FoldScores]]:
        waiting = {pool.submit(_level, job, fold): job for job, fold in todo}
        for done in as_completed(waiting):
            yield waiting[done], done.result()

    try:
        yield there
    except BaseException:
        held.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        held.close()
        lifeline.close()


def _begin(lifeline: Connection, methods: Sequence[BacktestMethod], prepared: list[Any], dataset: Dataset) -> None:
    global _shared  # noqa: PLW0603 - a worker process has no other place for what all its jobs share
    # Ctrl-C reaches the whole group of processes; whether the work ends is for the one that hands it out to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    _shared = (methods, prepared, dataset)


def _end_with(lifeline: Connection) -> None:
    """Wait for the other end to close, then end this process in the middle of whatever it does."""
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


def _level(job: Job, fold: Fold) -> FoldScores:
    assert _shared is not None
    methods, prepared, dataset = _shared
    return methods[job.method].score_fold(prepared[job.method], dataset, fold)
