"""Workers as processes, ended with the test that started them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.plant import small_bundle
from tests.support.stack.workers import WorkerProcess

Start = Callable[..., WorkerProcess]
"""(bootstrap, prefix, **fields of `WorkerProcess`)."""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture
def start(tmp_path: Path, bundle: Path) -> Iterator[Start]:
    """Starts workers, and ends at last those that still run."""
    started: list[WorkerProcess] = []

    def start(bootstrap: str, prefix: str, **options: object) -> WorkerProcess:
        options = {"bundle": bundle, "log": tmp_path / f"{len(started)}.log", **options}
        worker = WorkerProcess(bootstrap, prefix, **options)
        started.append(worker)
        return worker.start()

    yield start
    for worker in started:
        worker.kill()
