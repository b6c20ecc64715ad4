"""Quix Streams doing the same decode and window; in an environment of its own (`.venv-quix`), without our code.

It decodes each record, keeps a window of rows for each asset, and scores nothing: a favour to it.

    python quix.py BOOTSTRAP TOPIC FORM READINGS SENSORS STEPS
"""

import json
import os
import sys
import tempfile
import time
from collections import defaultdict, deque
from typing import Any

from quixstreams import Application

WARM, DONE = 0.2, 0.95


def main() -> None:
    bootstrap, topic_name, form = sys.argv[1:4]
    total, sensors, steps = (int(argument) for argument in sys.argv[4:7])
    windows: dict[bytes, deque[dict[str, float]]] = defaultdict(lambda: deque(maxlen=steps))
    current: dict[bytes, tuple[str, dict[str, float]]] = {}
    state: dict[str, Any] = {"count": 0, "warm": None}

    def count(number: int) -> None:
        state["count"] += number
        if state["warm"] is None:
            if state["count"] >= WARM * total:
                state["warm"] = (time.perf_counter(), state["count"])
        elif state["count"] >= DONE * total:
            began, before = state["warm"]
            rate = (state["count"] - before) / (time.perf_counter() - began)
            print(json.dumps({"readings_per_s": rate}), flush=True)
            os._exit(0)

    def reading(document: dict[str, Any], key: bytes, _timestamp: int, _headers: object) -> None:
        known = current.get(key)
        if known is None or known[0] != document["time"]:
            known = (document["time"], {})
            current[key] = known
        known[1][document["sensor"]] = document["value"]
        if len(known[1]) == sensors:
            windows[key].append(known[1])
        count(1)

    def row(document: dict[str, Any], key: bytes, _timestamp: int, _headers: object) -> None:
        windows[key].append(document["values"])
        count(len(document["values"]))

    application = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{topic_name}-{os.getpid()}",
        auto_offset_reset="earliest",
        loglevel="ERROR",
        state_dir=tempfile.mkdtemp(),
        auto_create_topics=False,
        commit_interval=2.0,
    )
    frame = application.dataframe(application.topic(topic_name, value_deserializer="json", key_deserializer="bytes"))
    frame.update(reading if form == "readings" else row, metadata=True)
    application.run()


if __name__ == "__main__":
    main()
