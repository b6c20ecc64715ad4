"""What Sparkplug B messages come to, one after another."""

import json
from typing import Any

import pytest

from stream_detector.decoding.sparkplug import FIRST_WAIT_SECONDS, MAPPING, MOST_READINGS, Sparkplug, Taken
from stream_detector.decoding.sparkplug_payload import Metric, Payload, payload_of

INT16, INT32, INT64, UINT32, FLOAT, DOUBLE, BOOLEAN, STRING, DATASET, TEMPLATE = 2, 3, 4, 7, 9, 10, 11, 12, 16, 19
BIRTH_SECOND = 1_777_593_720


class Plant:
    """Sends an edge node's messages; `send` leaves out what it is told to."""

    def __init__(self, node: str = "edge-1") -> None:
        self.sparkplug = Sparkplug()
        self.now = float(BIRTH_SECOND)
        self.seq = 0
        self._node = node

    def message(self, kind: str, *metrics: Any, device: str = "", seq: int | None = None) -> Taken:
        if seq is not None:
            self.seq = seq
        payload = Payload(timestamp=round(self.now * 1000), metrics=metrics)
        if kind != "NDEATH":
            payload.seq = self.seq
            self.seq = (self.seq + 1) % 256
        topic = f"spBv1.0/mill/{kind}/{self._node}" + (f"/{device}" if device else "")
        return self.sparkplug.read(topic, payload.SerializeToString(), self.now)

    def born(self) -> "Plant":
        self.message(
            "NBIRTH", number_of_birth(7), Metric(name="Load", alias=1, datatype=DOUBLE, double_value=0.5), seq=0
        )
        pump = [
            Metric(name="Temperature", alias=10, datatype=FLOAT, float_value=20.5),
            Metric(name="Speed", alias=11, datatype=INT32, int_value=3),
        ]
        self.message("DBIRTH", *pump, device="pump-1")
        return self


def number_of_birth(number: int) -> Any:
    return Metric(name="bdSeq", datatype=INT64, long_value=number)


def quality(number: int) -> dict[str, Any]:
    return {"keys": ["Quality"], "values": [{"int_value": number}]}


def readings(taken: Taken) -> list[tuple[str, str, float, Any, str]]:
    """Asset, sensor, seconds after the birth, value and quality of all readings."""
    found = []
    for topic, record in taken.records:
        message = json.loads(MAPPING.to_message(record, topic, 0) or b"")
        found += [
            (message["asset"], each["sensor"], each["time"] - BIRTH_SECOND, each["value"], each.get("quality", "good"))
            for each in message["readings"]
        ]
    return found


def test_births_are_readings_and_data_go_by_their_aliases() -> None:
    plant = Plant()
    born = plant.message(
        "NBIRTH", number_of_birth(7), Metric(name="Node Control/Rebirth", datatype=BOOLEAN, boolean_value=False),
        Metric(name="Load", alias=1, datatype=DOUBLE, double_value=0.5),
    )  # fmt: skip
    assert readings(born) == [("edge-1", "Load", 0.0, 0.5, "good")]
    device = plant.message("DBIRTH", Metric(name="Speed", alias=2, datatype=INT32, int_value=3), device="pump-1")
    assert readings(device) == [("pump-1", "Speed", 0.0, 3, "good")]
    plant.now += 60
    data = plant.message("DDATA", Metric(alias=2, int_value=2**32 - 4), device="pump-1")
    assert readings(data) == [("pump-1", "Speed", 60.0, -4, "good")]
    assert (data.refused, data.command) == ("", None)
    assert readings(plant.message("NDATA", Metric(alias=1, double_value=0.75))) == [
        ("edge-1", "Load", 60.0, 0.75, "good")
    ]


@pytest.mark.parametrize(
    ("metric", "value", "how"),
    [
        (Metric(datatype=INT16, int_value=2**16 - 2), -2, "good"),  # either form of two's complement
        (Metric(datatype=INT16, int_value=2**32 - 2), -2, "good"),
        (Metric(datatype=INT64, long_value=2**64 - 2), -2, "good"),
        (Metric(datatype=UINT32, long_value=2**32 - 2), 2**32 - 2, "good"),
        (Metric(datatype=BOOLEAN, boolean_value=True), 1, "good"),
        (Metric(datatype=STRING, string_value="RUNNING"), "RUNNING", "good"),
        (Metric(datatype=DOUBLE, is_null=True), None, "good"),
        (Metric(datatype=DOUBLE, is_null=True, double_value=3.0), None, "good"),
        (Metric(datatype=DOUBLE, double_value=float("nan")), None, "good"),
        (Metric(datatype=DATASET, dataset_value=b""), None, "no number but dataset"),
        (Metric(datatype=DOUBLE, double_value=3.0, properties=quality(192)), 3.0, "good"),
        (Metric(datatype=DOUBLE, double_value=3.0, properties=quality(500)), 3.0, "500"),
    ],
)  # fmt: skip
def test_a_value_is_read_by_its_datatype(metric: Any, value: Any, how: str) -> None:
    metric.name = "x"
    assert readings(Plant().message("NBIRTH", metric)) == [("edge-1", "x", 0.0, value, how)]


def test_a_historical_value_keeps_its_own_time_and_one_without_has_the_messages() -> None:
    plant = Plant().born()
    plant.now += 600
    old = Metric(alias=10, float_value=19.0, timestamp=(BIRTH_SECOND + 60) * 1000)
    found = readings(plant.message("DDATA", old, Metric(alias=11, int_value=4), device="pump-1"))
    assert found == [("pump-1", "Temperature", 60.0, 19.0, "good"), ("pump-1", "Speed", 600.0, 4, "good")]


def test_a_template_is_its_members() -> None:
    members = [Metric(name="rpm", datatype=INT32, int_value=7), Metric(name="on", datatype=BOOLEAN, boolean_value=True)]
    motor = Metric(name="Motor", alias=4, datatype=TEMPLATE, template_value={"metrics": members})
    plant = Plant()
    assert [found[1:4:2] for found in readings(plant.message("NBIRTH", motor))] == [("Motor/rpm", 7), ("Motor/on", 1)]
    changed = Metric(alias=4, template_value={"metrics": [Metric(name="rpm", int_value=2**32 - 1)]})
    assert [found[1:4:2] for found in readings(plant.message("NDATA", changed))] == [("Motor/rpm", -1)]


def test_a_death_makes_the_sensors_of_a_device_stale_and_that_of_a_node_all_of_its_devices() -> None:
    plant = Plant().born()
    plant.now += 60
    stale = [("pump-1", "Temperature", 60.0, None, "stale"), ("pump-1", "Speed", 60.0, None, "stale")]
    assert readings(plant.message("DDEATH", device="pump-1")) == stale
    plant = Plant().born()
    plant.now += 60
    assert readings(plant.message("NDEATH", number_of_birth(7))) == [("edge-1", "Load", 60.0, None, "stale"), *stale]
    assert readings(plant.message("NDEATH", number_of_birth(7))) == []


def test_the_death_of_a_session_that_another_has_followed_is_not_one() -> None:
    plant = Plant().born()
    assert plant.message("NDEATH", number_of_birth(6)) == Taken()
    assert readings(plant.message("NDATA", Metric(alias=1, double_value=1.0)))


def test_after_a_gap_no_alias_is_believed_until_the_node_is_born_again() -> None:
    plant = Plant().born()
    taken = plant.message("DDATA", Metric(alias=10, float_value=21.0), device="pump-1", seq=5)
    assert readings(taken) == []
    assert taken.refused == "1 of 1 metrics go by a birth that is not known"
    topic, command = taken.command or ("", b"")
    assert topic == "spBv1.0/mill/NCMD/edge-1"
    (asked,) = payload_of(command).metrics
    assert (asked.name, asked.datatype, asked.boolean_value) == ("Node Control/Rebirth", BOOLEAN, True)
    named = Metric(name="Temperature", datatype=FLOAT, float_value=22.0)
    assert readings(plant.message("DDATA", named, device="pump-1"))[0][3] == 22.0
    plant.born()
    taken = plant.message("DDATA", Metric(alias=10, float_value=23.0), device="pump-1")
    assert (readings(taken)[0][3], taken.refused, taken.command) == (23.0, "", None)


def test_a_message_that_comes_twice_is_no_gap_and_the_number_goes_round() -> None:
    plant = Plant().born()
    for number in range(300):
        taken = plant.message("NDATA", Metric(alias=1, double_value=float(number)))
        assert taken.command is None
    assert plant.message("NDATA", Metric(alias=1, double_value=1.0), seq=(plant.seq - 1) % 256).command is None
    assert plant.message("NDATA", Metric(alias=1, double_value=1.0)).refused == ""


def test_a_rebirth_is_asked_for_seldom_and_more_seldom_where_none_follows() -> None:
    plant = Plant()
    asked = []
    for second in range(100):
        plant.now = BIRTH_SECOND + float(second)
        if plant.message("NDATA", Metric(alias=1, double_value=1.0)).command is not None:
            asked.append(second)
    assert asked == [0, FIRST_WAIT_SECONDS, 3 * FIRST_WAIT_SECONDS, 7 * FIRST_WAIT_SECONDS]


def test_nodes_are_not_asked_all_at_once() -> None:
    first, second = Plant("edge-1"), Plant("edge-2")
    second.sparkplug = first.sparkplug
    data = Metric(alias=1, double_value=1.0)
    assert first.message("NDATA", data).command is not None
    assert second.message("NDATA", data).command is None
    second.now += 1.0
    assert second.message("NDATA", data).command is not None


def test_a_birth_of_very_many_metrics_is_several_records() -> None:
    many = [Metric(name=f"x{n}", datatype=DOUBLE, double_value=1.0) for n in range(MOST_READINGS + 1)]
    assert [len(json.loads(record)["metrics"]) for _, record in Plant().message("NBIRTH", *many).records] == [1000, 1]


@pytest.mark.parametrize(
    "topic", ["spBv1.0/STATE/scada", "spBv1.0/mill/NCMD/edge-1", "spBv1.0/mill/DDATA/edge-1", "plant/x7", "spBv1.0", ""]
)
def test_what_is_neither_birth_nor_data_nor_death_is_passed_over(topic: str) -> None:
    assert Sparkplug().read(topic, b"\xff", 0.0) == Taken()


@pytest.mark.parametrize("content", [b"\xff", b"{}", b"\x12\x80", b'{"metrics": []}', b"\x12\x03\x0a\x01\xff"])
def test_a_payload_that_is_none_is_refused_with_the_reason(content: bytes) -> None:
    assert Sparkplug().read("spBv1.0/mill/NDATA/edge-1", content, 0.0).refused.startswith("no Sparkplug payload: ")
