"""Control records are told from everything that a plant may write."""

import orjson
import pytest

from stream_detector.decoding.control_records import KEY, SWITCH, Order, orders_in, read_order, to_value
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.topic_history import HistoryCollector
from stream_detector.streaming.readers.topic_reader import TopicRecord
from stream_detector.streaming.readers.translation import Translation

ORDER = Order(SWITCH, "stream-detector", "0123456789abcdef", "2026-11-01T00:00:00Z", "Kim", "it saves more")
READING = b'{"sensor":"s1","time":1700000000,"value":1}'


def changed(**changes: object) -> bytes:
    return orjson.dumps({**orjson.loads(to_value(ORDER)), **changes})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (KEY, READING),
        (KEY, None),
        (KEY, b""),
        (KEY, b"[]"),
        (KEY, b"\xff\x00"),
        (KEY, b'{"control":"switch"}'),
        (KEY, changed(bundle="fedcba9876543210")),
        (KEY, changed(group="another")),
        (KEY, changed(check=None)),
        (b"m1", to_value(ORDER)),
        (None, to_value(ORDER)),
    ],
)
def test_what_a_plant_may_write_is_no_control_record(key: bytes | None, value: bytes | None) -> None:
    assert read_order(key, value) is None


def test_an_order_to_a_bundle_that_is_no_id_is_none() -> None:
    assert read_order(KEY, to_value(Order(SWITCH, "g", "../../evil"))) is None


def test_a_batch_for_the_engine_holds_no_control_record_and_everything_else() -> None:
    keys, values = [b"m1", KEY, b"m2", KEY], [READING, to_value(ORDER), READING, READING]
    assert orders_in(keys, values) == {1: ORDER}
    batch = Translation(None).batch("t", 0, range(5, 9), keys, values, [1, 2, 3, 4])
    assert (list(batch.offsets), list(batch.timestamps_ms)) == ([5, 7, 8], [1, 3, 4])
    assert (batch.keys, batch.values) == ([b"m1", b"m2", KEY], [READING] * 3)


def test_a_table_that_is_read_from_the_topics_knows_nothing_of_control_records() -> None:
    settings = Settings()
    collector = HistoryCollector(settings)
    for number, (key, value) in enumerate([(b"m1", READING), (KEY, to_value(ORDER))]):
        collector.take([TopicRecord(settings.topic_readings, 0, number, 1_700_000_000_000, key, value, ())])
    history = collector.history()
    assert (history.asset, history.unusable) == ("m1", 0)
