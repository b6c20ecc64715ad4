"""Metrics and health over HTTP: reachable while the worker computes, refused without the token, errors in words."""

import asyncio
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.worker.health import connections
from stream_detector.streaming.worker.health.metrics_server import MetricsServer
from tests.support.stack.certificates import Authority


class State:
    """What the server is told when it asks."""

    unhealthy: str | None = None
    not_ready: str | None = None


@contextmanager
def served(state: State | None = None, extend: Any = None, **settings: Any) -> Iterator[tuple[MetricsServer, State]]:
    state = state or State()
    registry = CollectorRegistry()
    Counter("things", "Things", registry=registry).inc(3)
    server = MetricsServer(
        Settings(metrics_port=0, **settings), registry, lambda: state.unhealthy, lambda: state.not_ready, extend
    )
    server.start()
    try:
        yield server, state
    finally:
        server.stop()


def get(server: MetricsServer, path: str, scheme: str = "http", **options: Any) -> tuple[int, str]:
    headers = options.pop("headers", {})
    request = urllib.request.Request(f"{scheme}://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5, **options) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_metrics_are_served_as_prometheus_reads_them() -> None:
    with served() as (server, _):
        status, text = get(server, "/metrics")
        assert status == 200
        assert "things_total 3.0" in text
        _, openmetrics = get(server, "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert openmetrics.endswith("# EOF\n")


def test_a_scrape_may_ask_for_some_metrics_alone() -> None:
    with served() as (server, _):
        status, text = get(server, "/metrics?name[]=things_total")
        assert status == 200
        assert "things_total 3.0" in text
        assert "things_total" not in get(server, "/metrics?name[]=others_total")[1]


def test_health_and_readiness_say_why_not() -> None:
    with served() as (server, state):
        assert get(server, "/healthz") == (200, "ok\n")
        state.unhealthy, state.not_ready = "the loop hangs", "rebuilding"
        assert get(server, "/healthz") == (503, "the loop hangs\n")
        assert get(server, "/readyz") == (503, "rebuilding\n")


def test_it_answers_while_the_process_is_busy() -> None:
    with served() as (server, _):
        assert get(server, "/healthz")[0] == 200
        started = time.monotonic()
        found: list[int] = []
        asking = Thread(target=lambda: found.append(get(server, "/healthz")[0]))
        asking.start()
        while asking.is_alive() and time.monotonic() - started < 5:
            sum(range(10_000))
        assert found == [200]


def test_metrics_need_the_token_where_one_is_set_and_health_does_not() -> None:
    with served(metrics_token="secret") as (server, _):
        assert get(server, "/metrics")[0] == 401
        assert get(server, "/metrics", headers={"Authorization": "Bearer wrong"})[0] == 401
        assert get(server, "/metrics", headers={"Authorization": "Bearer secret"})[0] == 200
        assert get(server, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_a_usage_error_that_says_what_to_do() -> None:
    with served() as (server, _):
        second = MetricsServer(Settings(metrics_port=server.port), CollectorRegistry(), lambda: None, lambda: None)
        with pytest.raises(UsageError, match="--metrics-port"):
            second.start()
        second.stop()


def test_a_server_that_ends_by_itself_meanwhile_is_stopped_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowToEnd(asyncio.SelectorEventLoop):
        def close(self) -> None:
            super().close()
            time.sleep(0.3)

    with served() as (server, _):
        monkeypatch.setattr(asyncio, "new_event_loop", SlowToEnd)
        second = MetricsServer(Settings(metrics_port=server.port), CollectorRegistry(), lambda: None, lambda: None)
        with pytest.raises(UsageError, match="--metrics-port"):
            second.start()
        time.sleep(0.1)
        second.stop()


def test_a_tls_file_that_cannot_be_used_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "broken.pem").write_text("not a certificate")
    broken = {"metrics_cert_file": tmp_path / "broken.pem", "metrics_key_file": tmp_path / "broken.pem"}
    with pytest.raises(UsageError, match=r"broken\.pem"), served(**broken):
        pass


@pytest.mark.slow
def test_a_stopped_server_is_gone_at_once_whatever_is_still_open() -> None:
    started = []

    async def forever(request: web.Request) -> web.StreamResponse:
        started.append(1)
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(3600)
        return response

    with served(extend=lambda app: app.router.add_get("/forever", forever)) as (server, _):
        stream = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/forever", timeout=5)
        assert started
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 3.5
        with pytest.raises(urllib.error.URLError):
            get(server, "/healthz")
        stream.close()


def test_what_is_added_is_served_beside_the_metrics() -> None:
    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    with served(extend=lambda app: app.router.add_get("/", hello)) as (server, _):
        assert get(server, "/") == (200, "hello")
        assert get(server, "/metrics")[0] == 200


def raw(server: MetricsServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request)
        return connection.recv(4096)


def test_a_token_of_bytes_that_are_no_text_is_refused_not_a_fault() -> None:
    with served(metrics_token="secret") as (server, _):
        answer = raw(server, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\r\n\r\n")
        assert b" 401 " in answer.splitlines()[0]


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/nothing"])
def test_every_answer_has_the_headers_and_names_no_software(path: str) -> None:
    with served() as (server, _):
        answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).lower()
        assert b"x-content-type-options: nosniff" in answer
        assert b"frame-ancestors 'none'" in answer
        assert b"\r\nserver:" not in answer


@pytest.mark.parametrize("name", ["evil.example", "["])
def test_on_loopback_no_path_answers_to_a_foreign_name(name: str) -> None:
    with served() as (server, _):
        for path in ("/metrics", "/healthz"):
            answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            assert answer.splitlines()[0].split()[1] in (b"400", b"403")
        assert b" 200 " in raw(server, b"GET /healthz HTTP/1.0\r\n\r\n").splitlines()[0]


def test_health_is_answered_while_more_half_open_connections_are_held_than_files_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    with served() as (server, _), ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5)) for _ in range(60)]
        assert get(server, "/healthz")[0] == 200
        held[0].settimeout(5)
        with suppress(ConnectionResetError):
            assert held[0].recv(1) == b""


def test_a_connection_that_asks_for_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections.Connections.__init__, "__defaults__", (None, 0.1))
    with served() as (server, _), socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: lo")
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_metrics_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("metrics")
    context = ssl.create_default_context(cafile=str(authority.file))
    with served(metrics_cert_file=certificate, metrics_key_file=key) as (server, _):
        assert get(server, "/healthz", "https", context=context) == (200, "ok\n")
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            get(server, "/healthz", "http")
