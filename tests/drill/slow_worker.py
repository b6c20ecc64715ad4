"""`python -m tests.drill.slow_worker run ...`: a worker whose pace a file sets, as on a machine that is too slow."""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream_detector.__main__ import main
from stream_detector.engine import engine

PACE = "DRILL_PACE"
"""Names the file: JSON, seconds for each `batch` and `record`. Without the file the worker is as quick as it can be."""


class SlowEngine(engine.Engine):
    def process_all(self, batches: Sequence[engine.RecordBatch], publish_scores: bool = False) -> Any:
        file = Path(os.environ[PACE])
        if file.exists():
            pace = json.loads(file.read_text())
            records = sum(len(batch.offsets) for batch in batches)
            time.sleep(pace.get("batch", 0.0) * len(batches) + pace.get("record", 0.0) * records)
        return super().process_all(batches, publish_scores)


if __name__ == "__main__":
    engine.Engine = SlowEngine  # type: ignore[misc]
    sys.exit(main())
