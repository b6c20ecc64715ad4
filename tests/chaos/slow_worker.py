"""`python -m tests.chaos.slow_worker run ...`: a worker one of whose batches takes very long, once."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from stream_detector.__main__ import main
from stream_detector.engine import engine


class SlowEngine(engine.Engine):
    handled = 0
    slept = False

    def process_all(self, batches: Sequence[engine.RecordBatch], publish_scores: bool = False) -> Any:
        self.handled += sum(len(batch.offsets) for batch in batches)
        if not self.slept and self.handled > int(os.environ["CHAOS_SLOW_BATCH_AFTER_RECORDS"]):
            self.slept = True
            print("slow batch begins", file=sys.stderr, flush=True)
            time.sleep(float(os.environ["CHAOS_SLOW_BATCH_SECONDS"]))
        return super().process_all(batches, publish_scores)


if __name__ == "__main__":
    engine.Engine = SlowEngine  # type: ignore[misc]
    sys.exit(main())
