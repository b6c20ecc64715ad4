"""TLS, mutual TLS, SASL PLAIN and SCRAM-SHA-512, and access control lists, against a real broker that demands them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_detector.errors import BrokerError, StreamDetectorError
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka
from stream_detector.streaming.clients.diagnosis import why_unreachable
from stream_detector.streaming.topics.topics import ensure_topics
from tests.support.stack.certificates import Authority
from tests.support.stack.kafka import why_no_kafka
from tests.support.stack.secured import DOORS, Secured, secured_kafka
from tests.support.stack.tokens import SECRET, TokenServer
from tests.support.stack.workers import wait_for

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    reason = why_no_kafka()
    if reason is not None:
        pytest.skip(reason)
    with secured_kafka(tmp_path_factory.mktemp("secured")) as running:
        yield running


def settings_for(
    secured: Secured, door: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str | None
) -> Settings:
    for variable, given in secured.variables(door, folder).items():
        monkeypatch.setenv(variable, given)
    monkeypatch.setattr(librdkafka, "CONNECT_SECONDS", 3.0)  # a refusal is the same after three seconds
    for name, value in changes.items():
        variable = f"STREAM_DETECTOR_{name.upper()}"
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
    return Settings.load()


@pytest.mark.parametrize("door", DOORS)
def test_both_kafka_clients_come_in_through_every_door(
    door: str, secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(secured, door, tmp_path, monkeypatch, topic_readings=f"readings-{door.lower()}")

    made = asyncio.run(ensure_topics(settings))
    producer = librdkafka.producer(settings)

    assert settings.topic_readings in made
    # A broker tells of a topic a moment after it has made it.
    wait_for(lambda: settings.topic_readings in librdkafka.topics_of(producer, settings), 20, "the topic is known")


def test_a_client_with_a_secret_comes_in_with_the_token_that_it_is_given(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TokenServer()
    (tmp_path / "secret").write_text(SECRET)
    settings = settings_for(
        secured, "TOKEN", tmp_path, monkeypatch, topic_readings="readings-client", sasl_token_callback=None,
        sasl_token_url=server.url, sasl_username="detector", sasl_password_file=str(tmp_path / "secret"),
    )  # fmt: skip
    assert settings.topic_readings in asyncio.run(ensure_topics(settings))
    assert settings.topic_readings in librdkafka.topics_of(librdkafka.producer(settings), settings)
    assert asyncio.run(why_unreachable(settings)) is None
    server.close()


def test_a_token_that_the_broker_does_not_take_lets_nobody_in(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(
        secured, "TOKEN", tmp_path, monkeypatch, sasl_token_callback="tests.support.stack.tokens:stale"
    )
    with pytest.raises(BrokerError):
        librdkafka.producer(settings)


@pytest.mark.parametrize("door", ["PASSWORD", "SCRAM"])
def test_a_wrong_password_is_named_within_five_seconds(
    door: str, secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(secured, door, tmp_path, monkeypatch)
    wait_for(lambda: asyncio.run(why_unreachable(settings)) is None, 60, "the right password lets us in")
    (tmp_path / "password").write_text("not-the-password")

    began = time.monotonic()
    found = asyncio.run(why_unreachable(settings))

    assert time.monotonic() - began < 5
    assert found is not None
    assert found.refused
    assert "refuses the login of user 'detector'" in found.reason
    assert "not-the-password" not in found.reason


def test_a_certificate_of_somebody_else_is_named(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Authority(tmp_path / "stranger", "somebody else")
    settings = settings_for(secured, "TLS", tmp_path, monkeypatch, ssl_ca_file=str(stranger.file))
    found = asyncio.run(why_unreachable(settings))
    assert found is not None
    assert "is not trusted" in found.reason


@pytest.mark.parametrize("door", ["PASSWORD", "SCRAM"])
def test_a_wrong_password_is_refused_and_never_shown(
    door: str, secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(secured, door, tmp_path, monkeypatch)
    (tmp_path / "password").write_text("not-the-right-one")

    with pytest.raises(BrokerError) as refused:
        librdkafka.producer(settings)

    assert "not-the-right-one" not in str(refused.value)
    assert "not-the-right-one" not in repr(settings)


def test_a_broker_with_a_certificate_of_a_stranger_is_refused(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Authority(tmp_path / "stranger", "a stranger")
    settings = settings_for(secured, "TLS", tmp_path, monkeypatch, ssl_ca_file=str(stranger.file))

    with pytest.raises(BrokerError):
        librdkafka.producer(settings)


def test_mutual_tls_refuses_a_client_without_a_certificate(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(secured, "MUTUAL", tmp_path, monkeypatch, ssl_cert_file=None, ssl_key_file=None)

    with pytest.raises(BrokerError):
        librdkafka.producer(settings)


def test_files_that_are_no_certificates_are_named_in_the_error(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    settings = settings_for(secured, "TLS", tmp_path, monkeypatch, ssl_ca_file=str(junk))

    with pytest.raises(StreamDetectorError, match=r"junk\.pem"):
        asyncio.run(ensure_topics(settings))
