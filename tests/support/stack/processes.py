"""Processes that tests start, and what they show of themselves: their memory (Linux), the metrics that they serve."""

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """For `preexec_fn`: a test run that is killed shall leave no server behind (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def interruptible_children() -> Iterator[None]:
    """Processes that are started within end by SIGINT, as in a terminal.

    A shell starts a background job with SIGINT ignored, and what the job starts inherits that: in `make test &` a
    program under test would never see a Ctrl-C. The programs leave it so, for the Ctrl-C is meant for another job.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    return megabytes(pid, "status", "VmRSS")


def megabytes(pid: int, file: str, field: str) -> float:
    """A size that the kernel tells of a process: `field` of `/proc/PID/FILE`."""
    text = Path(f"/proc/{pid}/{file}").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


def summed(exposition: str) -> dict[str, float]:
    """Metrics in the Prometheus text format, summed over their labels."""
    totals: dict[str, float] = {}
    for line in exposition.splitlines():
        if line.startswith("#"):
            continue
        name, _, value = line.rpartition(" ")
        name = name.split("{", 1)[0]
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals
