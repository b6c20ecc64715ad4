"""`stream-detector doctor`: it finds what is wrong, names it, and changes nothing."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_detector.__main__ import main
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka
from stream_detector.streaming.doctor import examine_brokers, examine_certificates
from stream_detector.streaming.topics.topics import ensure_topics
from tests.support.plant import small_bundle
from tests.support.stack.certificates import Authority
from tests.support.stack.kafka import Kafka, free_port, why_no_kafka


def test_it_names_a_broker_that_is_not_there_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, receiver = free_port(), free_port()
    monkeypatch.setenv("STREAM_DETECTOR_FORWARD_ALERTMANAGER_URLS", f"http://127.0.0.1:{receiver}")
    assert main(["doctor", "--bootstrap", f"127.0.0.1:{port}", "--json"]) == 1
    findings = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["login"] == {
        "check": "login", "state": "failed", "text": f"nothing listens at 127.0.0.1:{port}"
    }  # fmt: skip
    assert findings["bundle"]["state"] == "warning"
    assert findings["receiver"]["state"] == "failed"
    assert "disk" in findings


def test_it_says_when_certificates_expire(tmp_path: Path) -> None:
    days = {"ssl_ca_file": 400, "ssl_cert_file": 10, "metrics_cert_file": -1}
    files = {name: Authority(tmp_path / name, days=left + 0.5).file for name, left in days.items()}
    settings = Settings().model_copy(update=files)
    found = [
        (each.state, each.text.partition(f" = {files[name]}: ")[2])
        for name, each in zip(files, examine_certificates(settings), strict=True)
    ]
    assert found == [
        ("ok", "the first to expire does in 400 days"),
        ("warning", "the first to expire does in 10 days; put a new one in its place"),
        ("failed", "one has expired; put a new one in its place"),
    ]
    files["ssl_ca_file"].write_text("no certificate")
    first, *_ = examine_certificates(settings)
    assert (first.check, first.state) == ("certificate", "failed")
    assert "ca.pem cannot be read: " in first.text


def test_it_loads_the_bundle(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "small")
    assert main(["doctor", "--bootstrap", f"127.0.0.1:{free_port()}", "--bundle", str(bundle)]) == 1
    assert "ok      bundle" in capsys.readouterr().out
    (bundle / "manifest.json").write_text("{}")
    assert main(["doctor", "--bootstrap", f"127.0.0.1:{free_port()}", "--bundle", str(bundle)]) == 1
    assert "failed  bundle" in capsys.readouterr().out


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    reason = why_no_kafka()
    if reason is not None:
        pytest.skip(reason)
    with Kafka() as running:
        yield running


@pytest.mark.kafka
def test_it_sees_what_is_missing_makes_nothing_and_is_content_once_it_is_there(kafka: Kafka) -> None:
    settings = Settings(bootstrap=kafka.bootstrap, create_topics=False)
    missing = examine_brokers(settings)
    failed = [finding.text for finding in missing if finding.state == "failed"]
    assert any(settings.topic_readings in text for text in failed)
    assert any(settings.topic_state in text for text in failed)
    assert librdkafka.topics_of(librdkafka.producer(settings), settings).keys().isdisjoint({settings.topic_readings})

    asyncio.run(ensure_topics(Settings(bootstrap=kafka.bootstrap, topic_partitions=2)))
    found = examine_brokers(settings)
    assert [finding.text for finding in found if finding.state == "failed"] == []
    assert any(finding.text == "READ and WRITE on detector.state" for finding in found)
