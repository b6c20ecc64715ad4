"""One worker of this product as a user runs it, in a process of its own, pinned to one core."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.stack.kafka import free_port
from tests.support.stack.processes import megabytes, resident_megabytes, summed

READY_SECONDS = 120.0


@dataclass(frozen=True)
class Worker:
    """A running `stream-detector run`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def log_text(self) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-3000:]

    def metrics(self, *names: str) -> dict[str, float]:
        """Its metrics, or those of these names alone, summed over their labels.

        Raises:
            OSError: it does not listen (yet).
        """
        return summed(self._get("/metrics?" + "&".join(f"name[]={name}" for name in names)))

    def wait_until_ready(self) -> None:
        """Until it has its partitions and has caught up with its rebuild."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.alive:
            try:
                self._get("/readyz")
            except OSError:  # an HTTP error (not ready yet) is one too
                time.sleep(0.2)
            else:
                return
        raise RuntimeError(f"the worker is not ready (exit {self.process.poll()}):\n{self.log_text()}")

    def resident_megabytes(self) -> float:
        return resident_megabytes(self.process.pid)

    def peak_megabytes(self) -> float:
        """The most resident memory that the process ever had."""
        return megabytes(self.process.pid, "status", "VmHWM")

    def proportional_megabytes(self) -> float:
        """Resident memory, pages shared with other processes divided among them (PSS)."""
        return megabytes(self.process.pid, "smaps_rollup", "Pss")

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def pinned_worker(core: int, bootstrap: str, topic: str, bundle: Path) -> Iterator[Worker]:
    """Everything on, a consumer group of its own; ended by SIGTERM at the end."""
    port = free_port()
    environment = {
        **os.environ,
        "STREAM_DETECTOR_TOPIC_READINGS": topic,
        "STREAM_DETECTOR_GROUP": f"bench-{topic}-{time.monotonic_ns()}",
    }
    command = [sys.executable, "-m", "stream_detector", "run", "--bundle", str(bundle), "--bootstrap", bootstrap]
    command += ["--metrics-port", str(port)]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(pinned(core, command), stdout=log, stderr=log, env=environment, cwd=ROOT)
        try:
            yield Worker(process, port, Path(log.name))
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core; BLAS on one thread."""
    return ["taskset", "-c", str(core), "env", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", *command]
