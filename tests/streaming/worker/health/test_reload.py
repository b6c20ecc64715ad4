"""Secrets, certificates and the log level, exchanged while the process runs."""

import asyncio
import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.security import ssl_context
from stream_detector.streaming.worker.health.reload import Reloader
from tests.streaming.worker.health.test_metrics_server import get, served
from tests.support.stack.certificates import Authority


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Levels of loggers as they were."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def write(file: Path, text: str) -> None:
    """Also within one tick of the file system's clock it is another file."""
    before = file.stat().st_mtime if file.exists() else 0.0
    file.write_text(text)
    os.utime(file, (before + 10, before + 10))


def test_what_has_changed_is_read_again_and_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    registry, now, taken = CollectorRegistry(), [100.0], list[str]()
    reloader = Reloader(registry, lambda: now[0])
    file = tmp_path / "secret"
    write(file, "one")

    def read() -> None:
        if file.read_text() == "bad":
            raise UsageError("it holds nothing that can be used")
        taken.append(file.read_text())

    def told(name: str) -> float | None:
        return registry.get_sample_value(f"stream_detector_reload_{name}", {"part": "the secret"})

    reloader.add("the secret", [file, None], read)
    reloader.add("nothing", [None], lambda: pytest.fail("there is nothing to read"))
    reloader.look()
    assert taken == [], "it was read at the start"
    now[0] = 200.0
    write(file, "two")
    reloader.look()
    reloader.look()
    assert taken == ["two"]
    assert (told("successful"), told("timestamp_seconds")) == (1.0, 200.0)
    now[0] = 300.0
    write(file, "bad")
    reloader.look()
    assert (told("successful"), told("timestamp_seconds")) == (0.0, 200.0)
    write(file, "three")
    reloader.reload()
    assert taken == ["two", "three"]
    reloader.reload()
    assert taken == ["two", "three", "three"], "SIGHUP reads all of it"


def test_a_new_token_holds_for_the_next_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    write(file, "old")
    with served(metrics_token_file=file) as (server, _):
        write(file, "new")
        server.reloader.look()
        assert get(server, "/metrics", headers={"Authorization": "Bearer old"})[0] == 401
        assert get(server, "/metrics", headers={"Authorization": "Bearer new"})[0] == 200


def test_a_new_certificate_of_the_metrics_holds_for_the_next_connection(tmp_path: Path) -> None:
    before, after = Authority(tmp_path / "before"), Authority(tmp_path / "after")
    certificate, key = before.issue("metrics")
    with served(metrics_cert_file=certificate, metrics_key_file=key) as (server, _):
        new_certificate, new_key = after.issue("metrics")
        write(certificate, new_certificate.read_text())
        server.reloader.look()
        old = ssl.create_default_context(cafile=str(before.file))
        assert get(server, "/healthz", "https", context=old)[0] == 200, "half of a pair changes nothing"
        write(key, new_key.read_text())
        server.reloader.look()
        trusting = ssl.create_default_context(cafile=str(after.file))
        assert get(server, "/healthz", "https", context=trusting)[0] == 200


def test_a_level_of_the_log_that_is_none_leaves_the_level_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "level"
    write(file, "WARNING\n")
    with served(log_level_file=file) as (server, _):
        write(file, "ERROR\n")
        server.reloader.look()
        assert logging.getLogger().level == logging.ERROR
        write(file, "LOUD\n")
        server.reloader.look()
        assert logging.getLogger().level == logging.ERROR
    with pytest.raises(UsageError, match=r"LOG_LEVEL_FILE = .* holds 'LOUD'; DEBUG, INFO, WARNING, ERROR are wanted"):
        Settings(log_level_file=file).level()


def test_a_kafka_client_trusts_a_new_authority_and_shows_a_new_certificate_at_its_next_connection(
    tmp_path: Path,
) -> None:
    before, after = Authority(tmp_path / "before"), Authority(tmp_path / "after")
    ca, certificate, key = (tmp_path / name for name in ("ca.pem", "client.pem", "client.key"))
    for file, source in zip((ca, certificate, key), (before.file, *before.issue("client")), strict=True):
        write(file, source.read_text())
    context = ssl_context(
        Settings(security_protocol="SSL", ssl_ca_file=ca, ssl_cert_file=certificate, ssl_key_file=key)
    )

    def comes_in(authority: Authority) -> bool:
        return asyncio.run(_shakes_hands(context, authority))

    assert comes_in(before)
    assert not comes_in(after)
    write(ca, "no certificate")
    assert comes_in(before), "what cannot be used changes nothing"
    for file, source in zip((ca, certificate, key), (after.file, *after.issue("client")), strict=True):
        write(file, source.read_text())
    assert comes_in(after)


async def _shakes_hands(context: ssl.SSLContext, authority: Authority) -> bool:
    """Whether a client with this context and a broker of this authority, which asks for one, come together."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*authority.issue("broker"))
    theirs.load_verify_locations(authority.file)
    theirs.verify_mode = ssl.CERT_REQUIRED

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=theirs)
    async with server:
        try:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=context)
            writer.write(b"x")
            return await reader.read(1) == b"x"
        except (ssl.SSLError, ConnectionError):
            return False
