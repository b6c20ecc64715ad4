"""Processes that work on the files of a backtest: begun once, since each loads its libraries for seconds."""

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from trainer.backtesting.methods import BacktestMethod
from trainer.data.dataset import Dataset


@dataclass(frozen=True)
class Case:
    """What all tasks of one file share. prepared: what each method computed of the file."""

    methods: Sequence[BacktestMethod]
    prepared: Sequence[Any]
    dataset: Dataset


class Task(Protocol):
    def run(self, case: Case) -> Any: ...


Work = Callable[[Case, Sequence[Task]], Iterator[tuple[int, Any]]]
"""Gives each task's place and result, in the order in which they are done."""


@contextmanager
def workers(jobs: int) -> Iterator[Work]:
    """So many processes, or this one."""
    if jobs <= 1:
        yield _here
        return
    # Forked processes would inherit the threads' locks of torch in an unknown state.
    context = get_context("spawn")
    # Nothing is ever sent: a worker ends when this end is closed, by us or by the death of this process.
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, context, _begin, (lifeline,))
    numbers = count()
    with TemporaryDirectory(prefix="stream-detector-backtest-") as folder:

        def there(case: Case, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
            path = Path(folder) / f"{next(numbers)}.case"
            path.write_bytes(pickle.dumps(case, pickle.HIGHEST_PROTOCOL))
            waiting = {pool.submit(_run, path, task): place for place, task in enumerate(tasks)}
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


def _here(case: Case, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
    for place, task in enumerate(tasks):
        yield place, task.run(case)


_newest: tuple[Path, Case] | None = None
"""What a worker process works on; empty in the main process."""


def _begin(lifeline: Connection) -> None:
    # Ctrl-C reaches the whole group of processes; whether the work ends is for the one that hands it out to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """Wait for the other end to close, then end this process in the middle of whatever it does."""
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


def _run(path: Path, task: Task) -> Any:
    global _newest  # noqa: PLW0603 - a worker process has no other place for what all its tasks share
    if _newest is None or _newest[0] != path:
        _newest = (path, pickle.loads(path.read_bytes()))  # noqa: S301 - written by the process that began this one
    return task.run(_newest[1])
