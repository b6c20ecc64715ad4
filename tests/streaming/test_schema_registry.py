"""A bus of Avro and Protobuf records with a real schema registry gives the alarms of a bus with our JSON."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastavro")
pytest.importorskip("httpx2")
pytest.importorskip("grpc_tools")

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from stream_detector.decoding.protobuf_records import _compiled
from stream_detector.decoding.registry_records import HEAD
from stream_detector.messages import Alarm
from tests.support.plant import Record, make_log, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.schema_registry import READING, SchemaRegistry, avro, why_no_registry
from tests.support.stack.workers import (
    WorkerProcess,
    alarms_of,
    caught_up,
    dead_letters_of,
    produce,
    read_topic,
    topic,
    topic_environment,
    wait_for,
)

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(why_no_registry() is not None, reason=why_no_registry() or ""),
]

NULLABLE = ["null", "double"]
ROW = {
    "type": "record",
    "name": "Row",
    "fields": [{"name": "time", "type": "double"}, {"name": "values", "type": {"type": "map", "values": NULLABLE}}],
}
EVENT = {
    "type": "record",
    "name": "Event",
    "fields": [{"name": "time", "type": "double"}, {"name": "event", "type": "string"}],
}
PROTOBUF_READING = FileDescriptorProto(name="reading.proto", syntax="proto3")
_reading = PROTOBUF_READING.message_type.add(name="Reading")
for number, (name, kind) in enumerate((("sensor", 9), ("time", 1), ("value", 1)), start=1):
    _reading.field.add(name=name, number=number, type=kind, label=1)
PROTOBUF_ROW = """
syntax = "proto3";
import "reading.proto";
message Unused { Reading reading = 1; }
message Row { double time = 1; map<string, double> values = 2; }
"""
"""As text, which this registry keeps as it is; the reading is a descriptor."""

JSON_SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Reading",
    "type": "object",
    "properties": {},
}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SchemaRegistry]:
    running = SchemaRegistry(tmp_path / "registry").start()
    yield running
    running.kill()


def in_avro(registry: SchemaRegistry) -> Callable[[Record], Record]:
    """Writes readings, rows and events as Avro, some as JSON or Protobuf under a schema; others stay as they are."""
    descriptor = base64.b64encode(PROTOBUF_READING.SerializeToString()).decode()
    proto_reading = registry.register("p", descriptor, "PROTOBUF")
    reference = {"name": "reading.proto", "subject": "p", "version": 1}
    proto_row = registry.register("q", PROTOBUF_ROW, "PROTOBUF", [reference])
    pool = DescriptorPool()
    pool.Add(PROTOBUF_READING)
    pool.Add(_compiled({"row.proto": PROTOBUF_ROW}, {"reading.proto": PROTOBUF_READING})["row.proto"])
    message = {name: GetMessageClass(pool.FindMessageTypeByName(name)) for name in ("Reading", "Row")}
    numbers = {name: registry.register(name, schema) for name, schema in (("r", READING), ("w", ROW), ("e", EVENT))}
    of_json = registry.register("j", JSON_SCHEMA, "JSON")
    count = 0

    def write(record: Record) -> Record:
        nonlocal count
        ours = json.loads(record.value or b"null")
        value = None
        if ours.keys() == {"sensor", "time", "value"} and isinstance(ours["value"], float | None):
            count += 1
            milliseconds = round(ours["time"] * 1000)
            if count % 7 == 0:
                value = HEAD.pack(0, of_json) + (record.value or b"")
            elif count % 5 == 0 and ours["value"] is not None:
                value = HEAD.pack(0, proto_reading) + b"\0" + message["Reading"](**ours).SerializeToString()
            elif milliseconds / 1000 == ours["time"]:
                value = avro(numbers["r"], READING, {**ours, "time": milliseconds})
        elif ours.keys() == {"time", "values"} and all(isinstance(v, float | None) for v in ours["values"].values()):
            count += 1
            value = avro(numbers["w"], ROW, ours)
            if count % 2 == 0 and None not in ours["values"].values():
                value = HEAD.pack(0, proto_row) + b"\x02\x02" + message["Row"](**ours).SerializeToString()
        elif ours.keys() == {"time", "event"}:
            value = avro(numbers["e"], EVENT, ours)
        return record if value is None else Record(record.partition, record.key, value)

    return write


def in_milliseconds(record: Record) -> Record | None:
    """The record with a time that Avro's usual times can hold; None where it has no time."""
    try:
        body = json.loads(record.value or b"")
        body["time"] = round(float(body["time"]), 3)
    except (ValueError, TypeError, KeyError):
        return None
    return Record(record.partition, record.key, json.dumps(body).encode()) if body["time"] < 1e10 else None


def test_alarms_in_avro_are_those_of_plain_json_to_all_of_ours_that_read_them(
    kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path, registry: SchemaRegistry
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 4)
    produce(kafka.bootstrap, topic(unique_name, "readings"), make_log(11, steps=60))
    environment = {"STREAM_DETECTOR_SCHEMA_REGISTRY_URL": registry.url, "STREAM_DETECTOR_ALARM_SCHEMA": "avro"}
    worker = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "log", environment=environment)
    worker.start()
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 120, "all is committed")
    worker.kill()
    written = read_topic(kafka.bootstrap, topic(unique_name, "alarms"))
    assert len(written) > 3
    assert {record.value[0] for record in written} == {0}
    settings = {**os.environ, **topic_environment(unique_name), **environment}
    options = ["--bootstrap", kafka.bootstrap]
    run = [sys.executable, "-m", "stream_detector"]
    audit = subprocess.run(
        [*run, "audit", "--bundle", str(bundle), *options], env=settings, capture_output=True, text=True, check=False
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert f"{len(written)} published" in audit.stdout
    told = subprocess.run(
        [*run, "alarms", "--json", "--from-beginning", "--until-idle", "2", *options],
        env=settings, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len([Alarm.model_validate_json(line) for line in told.stdout.splitlines()]) == len(written)


def test_a_worker_waits_for_its_registry_loses_nothing_and_raises_the_alarms_of_our_json(
    kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path, registry: SchemaRegistry
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    log = [plain for plain in map(in_milliseconds, make_log(11, steps=120)) if plain is not None]
    theirs = list(map(in_avro(registry), log))
    assert sum((record.value or b"")[0] == 0 for record in theirs) > 1_000
    registry.suspend()
    found = {}
    with_registry = {"STREAM_DETECTOR_SCHEMA_REGISTRY_URL": registry.url}
    for name, records, environment in (("ours", log, {}), ("theirs", theirs, with_registry)):
        prefix = f"{unique_name}-{name}"
        create_topic(kafka.bootstrap, topic(prefix, "readings"), 4)
        produce(kafka.bootstrap, topic(prefix, "readings"), records)
        worker = WorkerProcess(kafka.bootstrap, prefix, bundle, tmp_path / f"{name}.log", environment=environment)
        worker.start()
        try:
            if name == "theirs":
                wait_for(lambda log=worker.log: "nothing is read until it does" in log.read_text(), 60, "it waits")  # type: ignore[misc]
                wait_for(lambda worker=worker: "schema registry" in worker.get("/readyz")[1], 60, "it is not ready")  # type: ignore[misc]
                assert not caught_up(kafka.bootstrap, prefix)
                registry.resume()
            wait_for(lambda prefix=prefix: caught_up(kafka.bootstrap, prefix), 90, "all is committed")  # type: ignore[misc]
        finally:
            worker.kill()
        found[name] = alarms_of(kafka.bootstrap, prefix), dead_letters_of(kafka.bootstrap, prefix)
    assert len(found["ours"][0]) > 10
    assert found["theirs"] == found["ours"]
