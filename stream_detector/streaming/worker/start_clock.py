"""Times the stages of a start, in seconds since the process began: every restart is an outage."""

import os
import time
from pathlib import Path

BEGAN_AGAIN = "_STREAM_DETECTOR_BEGAN_AGAIN"
"""Environment variable: when (seconds since boot) the process replaced itself by a new start."""


class StartClock:
    """Stages are marked with `passed`, in the order in which they end.

    Args:
        age_seconds: how old the process is now.
    """

    def __init__(self, age_seconds: float) -> None:
        self._began = time.monotonic() - age_seconds
        self.stages: dict[str, float] = {}

    def passed(self, stage: str) -> None:
        """The stage is over now; said twice, the first time counts."""
        self.stages.setdefault(stage, time.monotonic() - self._began)

    def __str__(self) -> str:
        return ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in self.stages.items())


def process_age_seconds() -> float:
    """How old this process is (Linux, to 10 ms), or since when it began again; 0.0 where the system does not say."""
    try:
        if BEGAN_AGAIN in os.environ:
            return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - float(os.environ[BEGAN_AGAIN]))
        # The name of the program, in brackets, may hold blanks.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, IndexError, ValueError):
        return 0.0
