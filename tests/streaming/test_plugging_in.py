"""A bus with other people's JSON, through a worker with a field mapping, gives the alarms of a bus with ours."""

import json
from pathlib import Path

import pytest

from tests.support.plant import Record, make_log, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import WorkerProcess, alarms_of, caught_up, dead_letters_of, produce, topic, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MAPPING = {
    "time": "header.ts", "time_unit": "ms", "sensor": "tag", "value": "payload.value", "values": "payload.all",
    "event": "payload.text", "quality": "q", "good": ["GOOD"],
}  # fmt: skip


def as_others_write(record: Record) -> Record:
    """The same record in another form; what is no JSON object stays as it is."""
    try:
        ours = json.loads(record.value or b"")
        time = float(ours["time"])
    except (ValueError, TypeError, KeyError):
        return record
    theirs = {"header": {"ts": time * 1000}, "tag": ours.get("sensor"), "q": ours.get("quality", "GOOD")}
    theirs = {name: value for name, value in theirs.items() if value is not None}
    names = {"value": "value", "values": "all", "event": "text"}
    theirs["payload"] = {theirs_: ours[name] for name, theirs_ in names.items() if name in ours}
    return Record(record.partition, record.key, json.dumps(theirs).encode())


def test_other_peoples_json_gives_the_same_alarms(
    kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    (tmp_path / "mapping.json").write_text(json.dumps(MAPPING))
    log = [record for record in make_log(11, steps=120) if record.value and b"time" in record.value]
    log = [record for record in log if json.loads(record.value or b"")["time"] < 1e10]
    theirs = [as_others_write(record) for record in log]
    assert sum(a.value != b.value for a, b in zip(log, theirs, strict=True)) > 2_000
    found = {}
    mapped = {"STREAM_DETECTOR_FIELD_MAPPING_FILE": str(tmp_path / "mapping.json")}
    for name, records, environment in (("ours", log, {}), ("theirs", theirs, mapped)):
        prefix = f"{unique_name}-{name}"
        create_topic(kafka.bootstrap, topic(prefix, "readings"), 4)
        produce(kafka.bootstrap, topic(prefix, "readings"), records)
        worker = WorkerProcess(kafka.bootstrap, prefix, bundle, tmp_path / f"{name}.log", environment=environment)
        worker.start()
        try:
            wait_for(lambda prefix=prefix: caught_up(kafka.bootstrap, prefix), 90, "all is committed")  # type: ignore[misc]
        finally:
            worker.kill()
        found[name] = alarms_of(kafka.bootstrap, prefix), dead_letters_of(kafka.bootstrap, prefix)
    assert len(found["ours"][0]) > 10
    assert found["theirs"] == found["ours"]
