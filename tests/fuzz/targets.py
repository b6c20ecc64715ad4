"""One function a decoder: any bytes in, and either a clean result or the decoder's own kind of error.

Anything else (another exception, a broken promise about the result, a call that takes seconds) is a finding, and every
finding becomes an entry of `tests/fuzz/corpus.py`.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson

from stream_detector.errors import BundleError, DataError, RecipeError, StreamDetectorError

Target = Callable[[bytes], None]


def manifest(data: bytes) -> None:
    """A bundle's manifest: parsed, or refused with a BundleError."""
    from stream_detector.bundle.manifest import parse

    try:
        parse(data)
    except BundleError as error:
        assert str(error)


def arrays(data: bytes) -> None:
    """A bundle's arrays: unpacked, or refused with a BundleError."""
    from stream_detector.bundle.files import WEIGHTS, unpack

    try:
        unpack(WEIGHTS, data)
    except BundleError as error:
        assert str(error)


def recipe(data: bytes) -> None:
    """A recipe's text: parsed, or refused with a RecipeError."""
    from trainer.recipe import parse_recipe

    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        parse_recipe(text, "fuzz")
    except RecipeError as error:
        assert str(error)


def csv(data: bytes) -> None:
    """A historian's file: read with finite times and one column a sensor, or refused with a DataError."""
    from stream_detector.historian import Layout, read_history

    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(data)
        file.flush()
        try:
            history = read_history(Path(file.name), Layout())
        except DataError as error:
            assert str(error)
            return
    assert history.values.shape == (len(history.times), len(history.sensors))
    assert np.isfinite(history.times).all()


def event_time(data: bytes) -> None:
    """ISO 8601 texts: a finite number of seconds, or a ValueError."""
    from stream_detector.messages import from_iso

    try:
        seconds = from_iso(data.decode("utf-8", "replace"))
    except (ValueError, OverflowError):
        return
    assert np.isfinite(seconds)


def settings(data: bytes) -> None:
    """A value of a setting: accepted, or refused with our error."""
    from stream_detector.settings import Settings

    text = data.decode("utf-8", "replace").replace("\0", "")
    try:
        Settings.load(bootstrap=text, metrics_port=text, security_protocol=text)
    except StreamDetectorError as error:
        assert str(error)


GOOD = (
    b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":12.5}',
    b'{"time":1777593840,"values":{"x1":1.0,"x2":null}}',
)


def record(data: bytes) -> None:
    """A record between two good ones: these are read whatever it is, and it is used or refused as if it came alone."""
    from stream_detector.decoding.asset_names import AssetNames, fitting
    from stream_detector.decoding.decoder import Decoder

    decoder = Decoder(("x1", "x2"), AssetNames(fitting("*")))
    alone = decoder.decode([b"machine-1"], [data])
    among = decoder.decode([b"machine-1"] * 3, [GOOD[0], data, GOOD[1]])
    assert {0, 2} <= set(among.index.tolist())
    assert alone.unknown == among.unknown
    if 1 not in among.index and not among.rejects and not among.unknown.readings:
        assert not orjson.loads(data)["values"], "a record with readings is neither used nor refused"
    assert (len(alone.index) == 1) == (1 in among.index)
    assert [(reject.reason, reject.readings) for reject in alone.rejects] == [
        (reject.reason, reject.readings) for reject in among.rejects
    ]
    assert np.isfinite(among.cells.time).all()
    assert not np.isinf(among.cells.value).any()


def read_by_all(kind: str) -> Target:
    """A record of a topic of alarms, feedback, events or states, before a good alarm: that is told whatever it is."""

    def target(data: bytes) -> None:
        from stream_detector.messages import to_bytes
        from tests.support.messages import make_alarm
        from tests.support.readers import read_everywhere

        good = make_alarm(500, asset="pm-9")
        assert (good.id, "raised") in read_everywhere([(kind, data), ("alarms", to_bytes(good))])

    return target


def sparkplug(data: bytes) -> None:
    """A Sparkplug payload after a birth: records that the mapping understands, and a reason or a use for the rest."""
    from stream_detector.decoding.sparkplug import MAPPING, Sparkplug
    from stream_detector.decoding.sparkplug_payload import Metric, Payload
    from stream_detector.messages import Readings

    following = Sparkplug()
    born = Payload(timestamp=1, seq=0, metrics=[Metric(name="x1", alias=1, datatype=2, int_value=1)])
    following.read("spBv1.0/g/NBIRTH/n", born.SerializeToString(), 0.0)
    for topic in ("NDATA/n", "DBIRTH/n/d", "DDATA/n/d", "NBIRTH/n", "DDEATH/n/d", "NDEATH/n"):
        taken = following.read(f"spBv1.0/g/{topic}", data, 0.0)
        for at, message in taken.records:
            record = orjson.loads(MAPPING.to_message(message, at, 0) or b"")
            assert record.keys() <= Readings.model_fields.keys(), "the mapping does not understand the record"


def under_a_schema(data: bytes) -> None:
    """A record of an Avro, a Protobuf or a JSON schema: JSON, or as it is; among many as by itself."""
    from stream_detector.decoding.registry_records import HEAD, RegistryRecords, Schema
    from tests.fuzz.corpus import AVRO_READING, PROTOBUF_READING

    schemas = {1: Schema("AVRO", AVRO_READING), 2: Schema("PROTOBUF", PROTOBUF_READING), 3: Schema("JSON", "{}")}
    records = RegistryRecords(schemas.get)
    for number in schemas:
        value = HEAD.pack(0, number) + data
        found = records.as_json(value)
        if number < 3 and found != value:
            orjson.loads(found or b"")
        assert set(records.all_as_json([value] * 64)) == {found}
    records.name(HEAD.pack(0, 3) + data)


TARGETS: dict[str, Target] = {
    "record": record,
    **{kind: read_by_all(kind) for kind in ("alarms", "feedback", "events", "alarm_states")},
    "manifest": manifest,
    "arrays": arrays,
    "recipe": recipe,
    "csv": csv,
    "event-time": event_time,
    "settings": settings,
    "sparkplug": sparkplug,
    "under-a-schema": under_a_schema,
}
