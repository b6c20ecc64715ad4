"""/metrics, /healthz and /readyz, in a thread of their own: a long batch does not make them late."""

import hmac
import logging
import ssl
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from stream_detector.errors import UsageError
from stream_detector.settings import Settings

log = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: CollectorRegistry
    token: str | None
    health: Callable[[], str | None]
    readiness: Callable[[], str | None]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    server_version = "stream-detector"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    routes: ClassVar[dict[str, str]] = {"/metrics": "_metrics", "/healthz": "_healthz", "/readyz": "_readyz"}

    def do_GET(self) -> None:
        route = self.routes.get(self.path.partition("?")[0])
        if route is None:
            self._answer(HTTPStatus.NOT_FOUND, b"try /metrics, /healthz or /readyz\n")
        else:
            getattr(self, route)()

    def _metrics(self) -> None:
        if self.server.token is not None:
            given = self.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
                self._answer(HTTPStatus.UNAUTHORIZED, b"a bearer token is needed\n")
                return
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, encode(self.server.registry), kind)

    def _healthz(self) -> None:
        self._verdict(self.server.health())

    def _readyz(self) -> None:
        self._verdict(self.server.readiness())

    def _verdict(self, reason: str | None) -> None:
        if reason is None:
            self._answer(HTTPStatus.OK, b"ok\n")
        else:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{reason}\n".encode())

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
        log.debug(format, *args)


class MetricsServer:
    """Listens from `start` to `stop`. `health` and `readiness` return the reason why not, or None.

    Raises (from `start`):
        UsageError: the address is taken, or a TLS file cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        health: Callable[[], str | None],
        readiness: Callable[[], str | None],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._health = health
        self._readiness = readiness
        self._server: _Server | None = None
        self.port = settings.metrics_port

    def start(self) -> None:
        settings = self._settings
        try:
            server = _Server((settings.metrics_host, settings.metrics_port), _Handler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {settings.metrics_host}:{settings.metrics_port} for metrics: {error.strerror}; "
                "choose another with --metrics-port, 0 takes any free one"
            ) from None
        server.registry, server.token = self._registry, settings.token()
        server.health, server.readiness = self._health, self._readiness
        if settings.metrics_cert_file is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            try:
                context.load_cert_chain(settings.metrics_cert_file, settings.metrics_key_file)
            except OSError as error:
                server.server_close()
                raise UsageError(f"{settings.metrics_cert_file} cannot be used for metrics over TLS: {error}") from None
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._server = server
        self.port = int(server.server_address[1])
        Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
