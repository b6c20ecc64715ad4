"""`python -m tests.chaos.slow_worker run ...`: a worker one of whose batches takes very long, once."""

import os
import sys
import time
from typing import Any

from stream_detector.__main__ import main
from stream_detector.engine import engine


class SlowEngine(engine.Engine):
    handled = 0
    slept = False

    def process(self, batch: engine.RecordBatch, publish_scores: bool = False) -> Any:
        self.handled += len(batch.offsets)
        if not self.slept and self.handled > int(os.environ["CHAOS_SLOW_BATCH_AFTER_RECORDS"]):
            self.slept = True
            print("slow batch begins", file=sys.stderr, flush=True)
            time.sleep(float(os.environ["CHAOS_SLOW_BATCH_SECONDS"]))
        return super().process(batch, publish_scores)


if __name__ == "__main__":
    engine.Engine = SlowEngine  # type: ignore[misc]
    sys.exit(main())
