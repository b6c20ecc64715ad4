"""A variable that nobody reads is refused: a slip of the pen would keep the default in silence."""

import pytest

from stream_detector.errors import UsageError
from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
from stream_detector.settings import Settings


def test_an_unknown_name_is_refused_with_the_name_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_DETECTOR_BOOTSTRP", "kafka:9092")
    with pytest.raises(UsageError, match=r"STREAM_DETECTOR_BOOTSTRP is no setting; did you mean STREAM_DETECTOR_BOOTS"):
        Settings.load()


def test_a_forwarder_refuses_its_own_slips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_DETECTOR_FORWARD_LANGUGE", "ko")
    Settings.load()
    with pytest.raises(UsageError, match="did you mean STREAM_DETECTOR_FORWARD_LANGUAGE"):
        ForwarderSettings.load()


def test_a_slip_in_the_name_of_a_variable_of_the_bridge_is_refused_too() -> None:
    (said,) = Settings.unknown({"STREAM_DETECTOR_MQTT_PASWORD_FILE": "secret"})
    assert "did you mean STREAM_DETECTOR_MQTT_PASSWORD_FILE" in said


def test_names_far_from_all_of_ours_point_to_the_list() -> None:
    assert Settings.unknown({"STREAM_DETECTOR_XYZ": "1", "OTHER": "1"}) == [
        "STREAM_DETECTOR_XYZ is no setting; docs/settings.md lists them all"
    ]


def test_every_name_of_ours_is_known() -> None:
    names = dict.fromkeys([name for name, *_ in [*Settings.describe(), *ForwarderSettings.describe()]], "")
    assert Settings.unknown(names | {"STREAM_DETECTOR_MQTT_URL": "", "STREAM_DETECTOR_DATA": ""}) == []
    assert ForwarderSettings.unknown(names) == []


def test_what_kubernetes_tells_of_our_own_services_is_no_slip() -> None:
    links = {
        "STREAM_DETECTOR_FORWARDER_SERVICE_HOST": "10.0.0.7",
        "STREAM_DETECTOR_FORWARDER_SERVICE_PORT": "9109",
        "STREAM_DETECTOR_FORWARDER_SERVICE_PORT_METRICS": "9109",
        "STREAM_DETECTOR_FORWARDER_PORT": "tcp://10.0.0.7:9109",
        "STREAM_DETECTOR_FORWARDER_PORT_9109_TCP": "tcp://10.0.0.7:9109",
        "STREAM_DETECTOR_FORWARDER_PORT_9109_TCP_PROTO": "tcp",
        "STREAM_DETECTOR_CONSOLE_PORT_80_TCP_ADDR": "10.0.0.8",
    }
    assert Settings.unknown(links) == []
