"""How a contender reports its speed: the times at which it had passed two fractions of the load.

The first part warms caches, code paths and the fetcher; the last part would measure the running dry of the topic.
"""

import json
import os
import time

WARM, DONE = 0.2, 0.95


class Progress:
    """Counts readings; prints one JSON line when the load is through."""

    def __init__(self, readings: int) -> None:
        self.total = readings
        self.count = 0
        self.warm_at: tuple[float, int] | None = None
        self.done_at: tuple[float, int] | None = None

    def add(self, readings: int) -> bool:
        """Returns true when the measured part is over."""
        self.count += readings
        if self.warm_at is None:
            if self.count >= WARM * self.total:
                self.warm_at = (time.perf_counter(), self.count)
        elif self.done_at is None and self.count >= DONE * self.total:
            self.done_at = (time.perf_counter(), self.count)
            seconds = self.done_at[0] - self.warm_at[0]
            line = json.dumps({"readings_per_s": (self.done_at[1] - self.warm_at[1]) / seconds}) + "\n"
            os.write(1, line.encode())  # not print: Faust turns standard output into log lines
        return self.done_at is not None
