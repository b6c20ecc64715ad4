"""Replaying a historian's file: what is sent, in which order, at which speed."""

import json
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.__main__ import main
from stream_detector.engine.engine import Engine
from stream_detector.engine.outcome import RecordBatch
from stream_detector.errors import BrokerError, DataError, UsageError
from stream_detector.historian import History, Layout, read_history
from stream_detector.messages import Event, LoggedEvent, Reading, Row
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report
from stream_detector.streaming.clients.embedded import EmbeddedBroker
from stream_detector.streaming.sources.replay import Disorder, Replay, layout_of_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from trainer.data.dataset import Dataset, read_dataset
from trainer.fitting.fit import fit_recipe
from trainer.recipe import Recipe

FIRST = 1_777_593_600.0  # 2026-05-01T00:00:00Z


@dataclass
class FakeProducer:
    """Remembers what it was given; `full` times its queue is full, `lost` records are never acknowledged."""

    full: int = 0
    lost: int = 0
    sent: list[tuple[str, dict[str, Any], bytes]] = field(default_factory=list)

    def produce(self, topic: str, value: bytes, key: bytes) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self.sent.append((topic, json.loads(value), key))

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        return self.lost


@dataclass
class FakeClock:
    """A second passes every time that somebody looks."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def history(rows: int = 3, breaks: tuple[int, ...] = (1,), missing: bool = False) -> History:
    values = np.arange(rows * 2, dtype=np.float64).reshape(rows, 2) + 0.1
    if missing:
        values[0, 1] = np.nan
    labels = np.isin(np.arange(rows), breaks)
    return History(Path("plant.csv"), FIRST + 120.0 * np.arange(rows), ("a", 'b"'), values, labels)


def replayed(data: History, producer: FakeProducer | None = None, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    fake = producer or FakeProducer()
    Replay(data, fake, "pm1", "readings", "events", **options).run()
    assert {key for _, _, key in fake.sent} == {b"pm1"}
    return [(topic, message) for topic, message, _ in fake.sent]


def test_readings_go_row_by_row_and_the_event_of_a_row_goes_before_them_to_both_topics() -> None:
    sent = replayed(history())
    assert [(topic, message.get("event") or message["sensor"], message["time"][14:16]) for topic, message in sent] == [
        ("readings", "a", "00"),
        ("readings", 'b"', "00"),
        ("events", "break", "02"),
        ("readings", "break", "02"),
        ("readings", "a", "02"),
        ("readings", 'b"', "02"),
        ("readings", "a", "04"),
        ("readings", 'b"', "04"),
    ]


def of_two_assets(states: bool = False) -> History:
    """Rows of b lie behind those of a in the file; their times overlap. The last two rows of a are labelled."""
    times = FIRST + 60.0 * np.array([0, 2, 4, 1, 3])
    labels = np.array([False, states, True, False, False])
    codes = np.array([0, 0, 0, 1, 1])
    return History(
        Path("plant.csv"), times, ("s",), np.arange(5.0)[:, None], labels, assets=("a", "b"), asset_rows=codes
    )


def test_rows_of_several_assets_go_under_their_names_in_one_order_of_time() -> None:
    fake = FakeProducer()
    sent = Replay(of_two_assets(), fake, "unused", "readings", "events").run()
    readings = [(key, message["value"]) for topic, message, key in fake.sent if "value" in message]
    assert readings == [(b"a", 0), (b"b", 3), (b"a", 1), (b"b", 4), (b"a", 2)]
    assert [key for topic, _, key in fake.sent if topic == "events"] == [b"a"]
    assert sent.rows == 5


def test_a_state_of_one_asset_ends_with_its_own_last_row() -> None:
    fake = FakeProducer()
    Replay(of_two_assets(states=True), fake, "unused", "readings", "events", labels_are_states=True).run()
    began, over = [(message, key) for topic, message, key in fake.sent if topic == "events"]
    assert began[1] == over[1] == b"a"
    assert began[0]["id"] == over[0]["id"] == "a break 2026-05-01T00:02:00Z"
    assert over[0]["until"] == "2026-05-01T00:04:00Z"


def test_every_message_is_one_of_the_public_contract() -> None:
    for topic, message in replayed(history(missing=True)):
        model = Event if "event" in message else Reading
        assert model.model_validate(message), topic
    for _, message in replayed(history(missing=True), form="rows", event=None):
        assert Row.model_validate(message)


def test_a_missing_value_is_sent_as_null() -> None:
    assert replayed(history(missing=True))[1][1]["value"] is None
    assert replayed(history(missing=True), form="rows")[0][1]["values"] == {"a": 0.1, 'b"': None}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8), st.booleans())
def test_values_arrive_as_the_very_same_floats(values: list[float], rows: bool) -> None:
    sensors = tuple(f"x{i}" for i in range(len(values)))
    data = History(Path("plant.csv"), np.array([FIRST]), sensors, np.array([values]), None)
    sent = [message for _, message in replayed(data, form="rows" if rows else "readings")]
    got = list(sent[0]["values"].values()) if rows else [message["value"] for message in sent]
    assert got == values


def test_labelled_states_send_no_event_that_would_end_a_window_but_their_beginnings_and_ends_for_the_ledger() -> None:
    sent = replayed(history(rows=6, breaks=(1, 2, 3, 5)), labels_are_states=True)
    events = [(topic, LoggedEvent.model_validate(message)) for topic, message in sent if "event" in message]
    assert {topic for topic, _ in events} == {"events"}
    assert [
        (str(event.time)[14:16], event.ongoing, None if event.until is None else str(event.until)[14:16])
        for _, event in events
    ] == [("02", True, None), ("02", False, "06"), ("10", True, None), ("10", False, "10")]
    ledger = Ledger()
    for _, event in reversed(events):
        ledger.add_event("pm1", event)
    assert [entry.until for entry in ledger.account("pm1").events] == [FIRST + 360.0, FIRST + 600.0]


@pytest.mark.slow
def test_a_detector_of_states_is_worth_in_the_ledger_what_fit_promised(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = 2_400
    labels = np.zeros(rows, np.bool_)
    for begin in range(150, rows, 150):
        labels[begin : begin + 30] = True
    values = rng.normal(size=(rows, 2)) + 4.0 * labels[:, None]
    data = History(tmp_path / "states.csv", FIRST + 60.0 * np.arange(rows), ("a", "b"), values, labels)
    recipe = Recipe.model_validate({"name": "states",
        "title": "states", "data": {"label_column": "y"}, "grid": {"step_seconds": 60}, "window": {"steps": 4},
        "model": {"kind": "mahalanobis"}, "threshold": {"policy": "quantile", "quantile": 0.99},
    })  # fmt: skip
    dataset = Dataset("states.csv", "0" * 64, ("a", "b"), data.times, values, labels, labels_mark_events=False)
    fitted = fit_recipe(recipe, dataset, tmp_path / "bundle")
    promised = fitted.evaluation.states
    assert promised is not None
    assert promised.found == promised.states >= 2
    sent, ledger, engine = replayed(data, labels_are_states=True), Ledger(), Engine(fitted.bundle)
    for topic, message in sent:
        if topic == "events":
            ledger.add_event("pm1", LoggedEvent.model_validate(message))
    values_sent = [json.dumps(message).encode() for topic, message in sent if topic == "readings"]
    count = len(values_sent)
    outcome = engine.process(RecordBatch("readings", 0, range(count), [b"pm1"] * count, values_sent, [-1] * count))
    for alarm in outcome.alarms:
        assert alarm.marks == "states"
        ledger.add_alarm(alarm)
    judged = data.times[fitted.test.rows]
    found = report(ledger, float(judged.min()), float(judged.max()) + 1e-3).total
    assert (found.events, found.caught, found.false_alarms) == (promised.states, promised.found, promised.false_alarms)
    assert 60 * statistics.median(found.delay_minutes) == promised.median_delay_seconds
    assert found.saved == promised.never_cost - promised.cost


@pytest.mark.parametrize(
    ("data", "row"),
    [
        ({"time_column": "minute", "time_unit_seconds": 60}, "{n},{wave}"),
        ({"time_column": "Time", "form": "grafana"}, "2026-05-01 00:{n:02}:00,{wave}.5 °C"),
        ({"form": "long"}, "2026-05-01 00:{n:02}:00,T1,{wave}"),
        ({"time_column": ["Date", "Clock"], "decimal": ",", "zone": "Europe/Berlin"}, "01.05.2026;00:{n:02};{wave},5"),
    ],
)  # fmt: skip
def test_a_file_is_sent_as_the_recipe_of_the_bundle_reads_it(data: dict[str, object], row: str, tmp_path: Path) -> None:
    headers = {"long": "time,tag,value", "grafana": "Time,T1"}
    header = headers.get(str(data.get("form")), "minute,T1" if "minute" in data.values() else "Date;Clock;T1")
    path = tmp_path / "plant.csv"
    path.write_text(header + "\n" + "".join(row.format(n=n, wave=(n * 7) % 11) + "\n" for n in range(60)))
    recipe = Recipe.model_validate({
        "name": "plant", "title": "a plant", "data": data, "grid": {"step_seconds": 60}, "window": {"steps": 2},
        "model": {"kind": "mahalanobis"}, "threshold": {"policy": "quantile"},
    })  # fmt: skip
    learnt = read_dataset(path, recipe.data)
    fit_recipe(recipe, learnt, tmp_path / "bundle")
    layout, _ = layout_of_bundle(tmp_path / "bundle", Layout())
    sent = read_history(path, layout)
    assert sent.sensors == learnt.sensors
    np.testing.assert_array_equal(sent.times, learnt.times)
    np.testing.assert_array_equal(sent.values, learnt.values)


def test_no_event_is_sent_when_none_is_wanted_or_the_file_has_no_labels() -> None:
    unlabelled = History(Path("p"), np.array([FIRST]), ("a",), np.array([[1.0]]), None)
    assert len(replayed(unlabelled)) == 1
    assert all("event" not in message for _, message in replayed(history(), event=None))


def test_a_full_queue_is_waited_for() -> None:
    assert len(replayed(history(), FakeProducer(full=5))) == 8


def test_records_that_the_broker_never_acknowledges_are_an_error() -> None:
    with pytest.raises(BrokerError, match="did not acknowledge 2 of 7 records"):
        Replay(history(), FakeProducer(lost=2), "pm1", "readings", "events").run()


def test_a_speed_keeps_the_rows_apart_in_proportion() -> None:
    clock = FakeClock()
    Replay(history(rows=5), FakeProducer(), "pm1", "readings", "events", speed=6.0, clock=clock).run()
    assert 80 <= clock.now <= 100  # 480 s of event time at six times real time


def test_shuffled_readings_are_late_by_at_most_the_given_time_and_events_are_not_late() -> None:
    rows = 200
    sent = [m for t, m in replayed(history(rows, (50, 120)), disorder=Disorder(600.0, 0.2, 1)) if t == "readings"]
    times = np.array([np.datetime64(message["time"][:-1]).astype("datetime64[s]").astype(int) for message in sent])
    lateness = np.maximum.accumulate(times) - times
    assert 300 < lateness.max() <= 600
    is_event = np.array(["event" in message for message in sent])
    assert is_event.sum() == 2
    assert lateness[is_event].max() <= 120
    counts = Counter(json.dumps(message) for message in sent if "sensor" in message)
    assert len(counts) == 2 * rows
    assert 40 < sum(count == 2 for count in counts.values()) < 120


def test_the_disorder_is_a_function_of_its_seed() -> None:
    one, same, other = (replayed(history(50), disorder=Disorder(600.0, 0.2, seed)) for seed in (1, 1, 2))
    assert one == same != other


@pytest.fixture
def plant_csv(tmp_path: Path) -> Path:
    path = tmp_path / "plant.csv"
    rows = "".join(f"2026-05-01T00:{2 * i:02d}:00Z,{int(i == 3)},{i},{i * 0.5}\n" for i in range(10))
    path.write_text(f"time,y,a,b\n{rows}")
    return path


def consumed(bootstrap: str, topic: str, count: int) -> list[Any]:
    """The topic's messages; fails unless there are exactly `count`."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found: list[Any] = []
    while len(found) < count:
        message = consumer.poll(10)
        assert message is not None, f"only {len(found)} of {count} messages came"
        found.append(message)
    assert consumer.poll(0.3) is None
    consumer.close()
    return found


def test_the_command_sends_a_file_to_the_embedded_broker(plant_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EmbeddedBroker() as broker:
        broker.create_topics(["plant.readings", "plant.events"])
        arguments = ["replay", "--data", str(plant_csv), "--bootstrap", broker.bootstrap, "--asset", "pm1"]
        assert main([*arguments, "--from", "2026-05-01T00:02:00", "--until", "2026-05-01T00:10:00"]) == 0
        assert "sent 4 rows = 8 readings and 1 events of pm1" in capsys.readouterr().out
        found = consumed(broker.bootstrap, "plant.readings", 9)
        assert len({message.partition() for message in found}) == 1
        assert json.loads(consumed(broker.bootstrap, "plant.events", 1)[0].value())["time"] == "2026-05-01T00:06:00Z"


@pytest.mark.kafka
def test_rows_arrive_in_order_on_a_real_broker(
    kafka: Kafka | ExistingKafka, unique_name: str, plant_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topic(kafka.bootstrap, unique_name, 3)
    create_topic(kafka.bootstrap, f"{unique_name}-events", 1)
    monkeypatch.setenv("STREAM_DETECTOR_TOPIC_EVENTS", f"{unique_name}-events")
    arguments = ["--data", str(plant_csv), "--bootstrap", kafka.bootstrap, "--topic", unique_name, "--as", "rows"]
    assert main(["replay", *arguments]) == 0
    found = [json.loads(message.value()) for message in consumed(kafka.bootstrap, unique_name, 11)]
    assert [message["time"] for message in found] == sorted(message["time"] for message in found)
    assert [i for i, message in enumerate(found) if "event" in message] == [3]
    assert found[4]["values"] == {"a": 3.0, "b": 1.5}


@pytest.mark.kafka
def test_missing_topics_are_made_on_a_real_broker(
    kafka: Kafka | ExistingKafka, unique_name: str, plant_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("READINGS", "EVENTS", "ALARMS", "DEAD_LETTERS", "STATE", "ALARM_STATES", "FEEDBACK"):
        monkeypatch.setenv(f"STREAM_DETECTOR_TOPIC_{name}", f"{unique_name}-{name.lower().replace('_', '-')}")
    assert main(["replay", "--data", str(plant_csv), "--bootstrap", kafka.bootstrap]) == 0
    assert len(consumed(kafka.bootstrap, f"{unique_name}-readings", 21)) == 21


def test_no_broker_is_said_in_one_line(
    plant_csv: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_detector.streaming.clients.librdkafka.CONNECT_SECONDS", 0.3)
    assert main(["replay", "--data", str(plant_csv), "--bootstrap", "127.0.0.1:9"]) == BrokerError.exit_code
    assert "no Kafka broker answers at 127.0.0.1:9" in capsys.readouterr().err


def test_a_missing_file_is_named_before_a_broker_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--data", str(tmp_path / "no.csv"), "--bootstrap", "127.0.0.1:9"]) == DataError.exit_code
    assert "no.csv is not there" in capsys.readouterr().err


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "inf", "nan"])
def test_an_impossible_speed_is_a_usage_error(plant_csv: Path, capsys: pytest.CaptureFixture[str], speed: str) -> None:
    assert main(["replay", "--data", str(plant_csv), "--speed", speed]) == UsageError.exit_code
    assert "--speed is" in capsys.readouterr().err
