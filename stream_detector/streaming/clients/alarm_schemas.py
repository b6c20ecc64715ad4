"""How an alarm is written under a schema: as Avro, or as JSON under a JSON Schema."""

import io
import json
from collections.abc import Callable
from typing import Any, Literal

import orjson

from stream_detector.decoding.registry_records import HEAD
from stream_detector.extras import need
from stream_detector.messages import json_schemas

Form = Literal["avro", "json"]

_OPTIONAL_DOUBLE = ["null", "double"]


def _record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": each, "type": kind} for each, kind in fields.items()]}


AVRO: dict[str, Any] = {
    **_record(
        "Alarm",
        id="string",
        asset="string",
        state="string",
        raised_at="string",
        cleared_at=["null", "string"],
        expected_from="string",
        expected_until="string",
        probability=_OPTIONAL_DOUBLE,
        score="double",
        threshold="double",
        top_sensors={
            "type": "array",
            "items": _record(
                "TopSensor", sensor="string", share="double", value=_OPTIONAL_DOUBLE, expected=_OPTIONAL_DOUBLE
            ),
        },
        bundle="string",
        recipe="string",
        costs=_record("Costs", tn="double", fp="double", fn="double", tp="double"),
        step_seconds="double",
        marks="string",
        held_back="boolean",
        provisional="boolean",
    ),
    "namespace": "stream_detector",
}
"""Names and values are those of the JSON, so that either becomes the other; times are ISO 8601."""

LEFT_OUT = {"marks": "events", "held_back": False, "provisional": False}
"""What plain JSON does not say of most alarms."""


def schema_of(form: Form) -> tuple[str, str]:
    """The schema's text, and its kind as registries name it."""
    if form == "avro":
        return json.dumps(AVRO), "AVRO"
    return json.dumps(json_schemas()["alarm"]), "JSON"


def writer_of(form: Form, number: int) -> Callable[[bytes], bytes]:
    """Writes an alarm, given as plain JSON, under the schema of that number."""
    head = HEAD.pack(0, number)
    if form == "json":
        return lambda alarm: head + alarm
    need("STREAM_DETECTOR_ALARM_SCHEMA = avro", "fastavro")
    from fastavro import parse_schema, schemaless_writer

    parsed = parse_schema(AVRO)

    def write(alarm: bytes) -> bytes:
        body = io.BytesIO()
        body.write(head)
        schemaless_writer(body, parsed, LEFT_OUT | orjson.loads(alarm))
        return body.getvalue()

    return write
