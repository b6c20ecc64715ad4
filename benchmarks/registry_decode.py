"""Readings in Avro beside the same readings in JSON: what each costs the engine.

    python -m benchmarks.registry_decode [--readings N] [--repeats N]

CPU time of this process, both forms in turns, so that a busy machine disturbs both alike.
"""

import argparse
import dataclasses
import gc
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_writer
from msgspec.structs import replace

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.load import Load
from benchmarks.engine import batches
from stream_detector.bundle.bundle import load_bundle
from stream_detector.commands.run import tame_garbage_collector
from stream_detector.decoding.registry_records import HEAD, RegistryRecords, Schema
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, RecordBatch
from stream_detector.streaming.readers.translation import Translation

LOAD = Load("registry", "readings", 20, 61, 120.0, 200_000)
WINDOW_STEPS = 5
READING: dict[str, Any] = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "sensor", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "value", "type": ["null", "double"]},
    ],
}


def in_avro(batch: RecordBatch) -> RecordBatch:
    """The same records in Avro, under schema 1."""
    parsed = parse_schema(READING)
    values: list[bytes | None] = []
    for value in batch.values:
        body, record = io.BytesIO(), json.loads(value or b"")
        body.write(HEAD.pack(0, 1))
        time_of = record["time"]
        seconds = datetime.fromisoformat(time_of).timestamp() if isinstance(time_of, str) else time_of
        schemaless_writer(body, parsed, {**record, "time": round(seconds * 1000)})
        values.append(body.getvalue())
    return replace(batch, values=values)


def seconds_a_record(rules: DetectorSpec, topic: Sequence[RecordBatch], translation: Translation) -> float:
    """CPU time of translation and engine."""
    engine, began, records = Engine(rules), 0.0, 0
    for number, batch in enumerate(topic):
        if number == 1:
            began = time.process_time()
        columns = (batch.offsets, batch.keys, batch.values, batch.timestamps_ms)
        engine.process(translation.batch(batch.topic, batch.partition, *columns))
        records += len(batch.offsets) if number else 0
    return (time.process_time() - began) / records


def measure(readings: int, repeats: int) -> dict[str, float]:
    """Records a second of both forms, and their ratio."""
    load = dataclasses.replace(LOAD, readings=readings)
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", load, WINDOW_STEPS)
        rules = DetectorSpec.of(load_bundle(Path(folder) / "bundle"))
    of_json = batches(load)
    of_avro = list(map(in_avro, of_json))
    gc.collect()
    tame_garbage_collector()
    registry = RegistryRecords(lambda _: Schema("AVRO", json.dumps(READING)))
    taken: list[tuple[float, float]] = []
    for _ in range(repeats):
        plain = seconds_a_record(rules, of_json, Translation(None))
        taken.append((plain, seconds_a_record(rules, of_avro, Translation(None, registry))))
    return {
        "json_records_per_s": 1 / statistics.median(plain for plain, _ in taken),
        "avro_records_per_s": 1 / statistics.median(avro for _, avro in taken),
        "ratio": statistics.median(plain / avro for plain, avro in taken),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=LOAD.readings)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    found = measure(arguments.readings, arguments.repeats)
    sys.stdout.write(
        f"JSON {found['json_records_per_s'] / 1e3:.0f} k/s, Avro {found['avro_records_per_s'] / 1e3:.0f} k/s: "
        f"{found['ratio']:.2f} of it\n"
    )


if __name__ == "__main__":
    main()
