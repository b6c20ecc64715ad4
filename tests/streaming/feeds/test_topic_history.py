import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.detection.config import GridConfig, LeadConfig, WindowConfig
from stream_detector.errors import DataError
from stream_detector.messages import to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.topic_history import HistoryCollector
from stream_detector.streaming.readers.topic_reader import TopicRecord
from tests.support.messages import make_alarm, make_event, make_feedback
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from trainer.data.examples import cut_examples
from trainer.data.topic_dataset import to_dataset, to_fleet_dataset
from trainer.recipe import DataConfig

SETTINGS = Settings()


def collect(*records: tuple[Any, ...], settings: Settings = SETTINGS) -> HistoryCollector:
    collector = HistoryCollector(settings)
    for offset, (topic, message) in enumerate(records):
        value = message if isinstance(message, bytes | None) else json.dumps(message).encode()
        collector.take([TopicRecord(topic, 0, offset, 0, b"pm-1", value)])
    return collector


def reading(sensor: str, time: int | str, value: float, **more: str) -> tuple[str, dict[str, float | str]]:
    return SETTINGS.topic_readings, {"sensor": sensor, "time": time, "value": value, **more}


def test_readings_and_rows_become_one_table_in_order_of_time() -> None:
    history = collect(
        reading("x2", 120, 2.0),
        (SETTINGS.topic_readings, {"time": 0, "values": {"x1": 1.0, "x2": None}}),
        reading("x1", 120, 3.0),
    ).history()
    assert (history.asset, history.sensors, history.times.tolist()) == ("pm-1", ("x2", "x1"), [0.0, 120.0])
    np.testing.assert_array_equal(history.values, [[np.nan, 1.0], [2.0, 3.0]])


def test_of_a_line_of_a_table_the_readings_of_other_assets_are_not_kept() -> None:
    collector = HistoryCollector(SETTINGS, lambda asset: asset.startswith("line1-"))
    for asset in ("line1-a", "line2-a", "line1-b", "line2-a"):
        body = {"sensor": "x1", "time": 0, "value": 1.0, "asset": asset}
        collector.take([TopicRecord(SETTINGS.topic_readings, 0, 0, 0, asset.encode(), json.dumps(body).encode())])
    assert collector.assets == ["line1-a", "line1-b"]
    with pytest.raises(DataError, match=r"2 assets that the line decides about \(1 belong to others\); choose one"):
        collector.history()


def test_the_first_reading_of_a_cell_counts_and_a_bad_quality_is_missing() -> None:
    history = collect(reading("x1", 0, 1.0), reading("x1", 0, 9.0), reading("x1", 60, 5.0, quality="bad")).history()
    np.testing.assert_array_equal(history.values, [[1.0], [np.nan]])


def test_events_come_from_both_topics_with_their_corrections_and_from_judged_alarms() -> None:
    prevented, useful = make_alarm(50, 52), make_alarm(8, 10)
    history = collect(
        *(reading("x1", make_event(step).time, 1.0) for step in range(60)),
        (SETTINGS.topic_readings, to_bytes(make_event(10))),
        (SETTINGS.topic_events, to_bytes(make_event(10))),
        (SETTINGS.topic_events, to_bytes(make_event(20, id="e", logged_at=1.0))),
        (SETTINGS.topic_events, to_bytes(make_event(30, id="e", logged_at=2.0))),
        *((SETTINGS.topic_alarms, to_bytes(alarm)) for alarm in (prevented, useful)),
        *((SETTINGS.topic_feedback, to_bytes(make_feedback("real", alarm.id))) for alarm in (prevented, useful)),
    ).history()
    assert np.flatnonzero(history.events).tolist() == [10, 30, 51]
    assert history.judged_events == 1


def test_rows_of_an_alarm_that_people_acted_on_are_marked_unless_they_judged_it_or_it_broke_all_the_same() -> None:
    heeded, judged, useful = make_alarm(30, 32), make_alarm(50, 52), make_alarm(8, 10)
    history = collect(
        *(reading("x1", make_event(step).time, 1.0) for step in range(60)),
        (SETTINGS.topic_events, to_bytes(make_event(10))),
        *((SETTINGS.topic_alarms, to_bytes(alarm)) for alarm in (heeded, judged, useful)),
        *((SETTINGS.topic_feedback, to_bytes(make_feedback("acted", alarm.id))) for alarm in (heeded, judged, useful)),
        (SETTINGS.topic_feedback, to_bytes(make_feedback("real", judged.id))),
    ).history()
    # Up on steps 30 and 31 it speaks of steps 31 to 33; step 29 looks ahead to 31 as well.
    assert np.flatnonzero(history.acted).tolist() == [29, 30, 31, 32, 33]
    assert np.flatnonzero(history.events).tolist() == [10, 51]
    dataset = to_dataset(history, DataConfig(labels_mark="events"), "topics")
    cut = cut_examples(dataset, GridConfig(step_seconds=120), WindowConfig(steps=1), LeadConfig())
    assert set(range(29, 34)).isdisjoint(cut.rows.tolist())
    assert {28, 34} <= set(cut.rows.tolist())


def test_the_machines_of_a_fleet_lie_one_after_another_each_with_its_events() -> None:
    collector = collect(
        reading("x1", 0, 1.0, asset="pm-2"),
        reading("x1", 0, 2.0),
        reading("x1", 120, 3.0),
        reading("x2", 120, 4.0, asset="pm-2"),
        (SETTINGS.topic_events, {"time": 120, "event": "break", "asset": "pm-2"}),
    )
    histories = [collector.history(name) for name in ("pm-1", "pm-2")]
    dataset = to_fleet_dataset(histories, DataConfig(labels_mark="events"), "topics")
    assert (dataset.sensors, dataset.assets) == (("x1", "x2"), ("pm-1", "pm-2"))
    assert [rows for _, rows in dataset.by_asset()] == [slice(0, 2), slice(2, 4)]
    assert dataset.times.tolist() == [0.0, 120.0, 0.0, 120.0]
    assert dataset.events.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(dataset.values, [[2, np.nan], [3, np.nan], [1, np.nan], [np.nan, 4]])
    with pytest.raises(DataError, match="'x9'; they have x1, x2"):
        to_fleet_dataset(histories, DataConfig(labels_mark="events", sensors=("x1", "x9")), "topics")


def test_an_event_between_two_readings_has_a_row_of_its_own() -> None:
    history = collect(
        reading("x1", 0, 1.0), reading("x1", 120, 2.0), (SETTINGS.topic_events, {"time": 60, "event": "break"})
    )
    table = history.history()
    assert table.times.tolist() == [0.0, 60.0, 120.0]
    assert table.events.tolist() == [False, True, False]


def test_what_is_no_reading_is_counted_and_passed_over() -> None:
    bad = [None, b"", b"[]", b"{}", b'{"sensor":"x1","value":1}', b'{"sensor":"x1","time":"soon","value":1}']
    bad.append(b'{"sensor":"x1","time":0,"step_seconds":1,"values":[1]}')
    history = collect(*((SETTINGS.topic_readings, value) for value in bad), reading("x1", 0, 1.0)).history()
    assert (history.unusable, len(history.times)) == (len(bad), 1)


def test_what_is_no_number_is_missing_as_it_is_online() -> None:
    row = b'{"time": 60, "values": {"x1": NaN, "x2": "Bad", "x3": true, "x4": 4}}'
    history = collect(reading("x1", 0, "12"), (SETTINGS.topic_readings, row)).history()
    np.testing.assert_array_equal(history.values, [[np.nan] * 4, [np.nan, np.nan, np.nan, 4.0]])
    assert history.unusable == 0


def test_several_readings_in_a_record_are_read_one_by_one() -> None:
    items = [
        {"sensor": "x2", "value": 2, "time": 60},
        {"sensor": "x1", "value": 1},
        {"sensor": "x1", "value": 9, "asset": "b"},
    ]
    history = collect((SETTINGS.topic_readings, {"time": 0, "readings": items})).history("pm-1")
    assert (history.times.tolist(), set(history.sensors)) == ([0.0, 60.0], {"x1", "x2"})


def test_a_period_and_an_asset_can_be_chosen() -> None:
    collector = collect(reading("x1", 0, 1.0), reading("x1", 60, 2.0), reading("x1", 60, 3.0, asset="pm-2"))
    assert collector.history("pm-1", since=30).times.tolist() == [60.0]
    assert collector.history("pm-1", until=60).times.tolist() == [0.0]
    for arguments, wanted in [((), "--asset"), (("pm-9",), "no readings of pm-9"), (("pm-1", 90), "between")]:
        with pytest.raises(DataError, match=wanted):
            collector.history(*arguments)


def test_a_key_as_long_as_a_book_is_named_by_its_beginning() -> None:
    collector = collect(reading("x1", 0, 1.0), reading("x1", 0, 1.0, asset="k" * 50_000))
    with pytest.raises(DataError) as refused:
        collector.history()
    assert len(str(refused.value)) < 300


def test_a_field_mapping_applies_to_history_as_it_does_online(tmp_path: Path) -> None:
    (tmp_path / "mapping.json").write_text('{"time": "ts", "value": "v"}')
    settings = Settings(field_mapping_file=tmp_path / "mapping.json")
    record = (settings.topic_readings, {"sensor": "x1", "ts": 60, "v": 2.0})
    assert collect(record, settings=settings).history().times.tolist() == [60.0]


def test_what_re_keying_has_translated_already_is_not_translated_again(tmp_path: Path) -> None:
    (tmp_path / "mapping.json").write_text('{"time": "ts", "value": "v"}')
    (tmp_path / "assets.json").write_text('{"x1": "pm-1"}')
    settings = Settings(field_mapping_file=tmp_path / "mapping.json", sensor_assets_file=tmp_path / "assets.json")
    record = (settings.topic_readings, {"sensor": "x1", "time": 60, "value": 2.0, "ts": 3.0, "v": 4.0})
    history = collect(record, settings=settings).history()
    assert (history.times.tolist(), history.values.tolist()) == ([60.0], [[2.0]])


@pytest.mark.kafka
def test_a_file_that_was_replayed_comes_back_from_the_topics_as_the_trainer_reads_it(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from stream_detector.__main__ import main
    from trainer.data.dataset import read_dataset
    from trainer.data.topic_dataset import read_topic_dataset
    from trainer.recipe import load_recipe

    topics = {name: f"{unique_name}-{name}" for name in ("readings", "events", "alarms", "feedback")}
    for name, topic in topics.items():
        create_topic(kafka.bootstrap, topic, partitions=3)
        monkeypatch.setenv(f"STREAM_DETECTOR_TOPIC_{name.upper()}", topic)
    recipe = load_recipe("paper-mill")
    sensors = recipe.data.sensors or ("x1", "x2", "x3")
    random = np.random.default_rng(1)
    lines = [f"time,y,{','.join(sensors)}"]
    for step in range(400):
        numbers = ["" if random.random() < 0.05 else repr(float(value)) for value in random.normal(size=len(sensors))]
        clock = f"{step % 300 // 30:02d}:{2 * (step % 30):02d}"
        lines.append(f"05/{1 + step // 300:02d}/99 {clock},{int(step % 50 == 49)},{','.join(numbers)}")
    file = tmp_path / "plant.csv"
    file.write_text("\n".join(lines) + "\n")
    arguments = ["--data", str(file), "--asset", "pm-1", "--time-column", "time", "--label-column", "y"]
    replay = ["replay", *arguments, "--time-format", "%m/%d/%y %H:%M", "--speed", "max", "--bootstrap", kafka.bootstrap]
    assert main(replay) == 0
    from_file = read_dataset(file, recipe.data)
    from_topics, _ = read_topic_dataset(Settings.load(bootstrap=kafka.bootstrap), recipe.data)
    assert from_topics.sensors == from_file.sensors
    np.testing.assert_array_equal(from_topics.times, from_file.times)
    np.testing.assert_array_equal(from_topics.values, from_file.values)
    np.testing.assert_array_equal(from_topics.events, from_file.events)
