"""A Faust agent as its documentation shows it, doing the same scoring: one event a record, one model call a window.

python -m benchmarks.broker.stock_faust BOOTSTRAP TOPIC FORM READINGS BUNDLE
"""

import os
import sys
import tempfile
from collections import defaultdict, deque

import faust
import numpy as np
import orjson

from benchmarks.broker.progress import Progress
from stream_detector.bundle.bundle import load_bundle


def build(bootstrap: str, topic_name: str, form: str, readings: int, bundle_path: str) -> faust.App:
    bundle = load_bundle(bundle_path)
    sensors = list(bundle.manifest.sensors)
    slot = {name: index for index, name in enumerate(sensors)}
    steps = bundle.manifest.window.steps
    windows: dict[bytes, deque[np.ndarray]] = defaultdict(lambda: deque(maxlen=steps))
    current: dict[bytes, tuple[str, np.ndarray, int]] = {}
    progress = Progress(readings)
    app = faust.App(
        f"stock-{topic_name}-{os.getpid()}",
        broker=f"aiokafka://{bootstrap}",
        datadir=tempfile.mkdtemp(),
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_commit_interval=2.0,
    )
    topic = app.topic(topic_name, value_serializer="raw", key_serializer="raw")

    def close(asset: bytes, values: np.ndarray) -> None:
        window = windows[asset]
        window.append(values)
        if len(window) == steps:
            bundle.scorer.score(np.stack(window)[None])

    def cell(asset: bytes, time: str, sensor: str, value: float) -> None:
        known = current.get(asset)
        if known is None or known[0] != time:
            known = (time, np.full(len(sensors), np.nan), 0)
        values = known[1]
        values[slot[sensor]] = value
        count = known[2] + 1
        current[asset] = (time, values, count)
        if count == len(sensors):
            close(asset, values)

    @app.agent(topic)
    async def score(stream: faust.Stream) -> None:
        async for event in stream.events():
            document = orjson.loads(event.value)
            if form == "readings":
                cell(event.key, document["time"], document["sensor"], document["value"])
                done = progress.add(1)
            else:
                row = np.full(len(sensors), np.nan)
                for name, value in document["values"].items():
                    row[slot[name]] = value
                close(event.key, row)
                done = progress.add(len(document["values"]))
            if done:
                # The figure is printed; an orderly Faust shutdown takes seconds and is not what is measured.
                os._exit(0)

    return app


if __name__ == "__main__":
    application = build(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    sys.argv = [sys.argv[0], "worker", "--without-web", "-l", "error"]
    application.main()
