"""/metrics, /healthz and /readyz, and whatever else is added, in a thread with an event loop of its own.

A thread: a long batch must not make a health check late.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Event, Thread

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from stream_detector.errors import UsageError
from stream_detector.logs import set_level
from stream_detector.operations.http_surface import protect, same_token
from stream_detector.settings import Settings
from stream_detector.streaming.clients.security import ssl_context, tls_files
from stream_detector.streaming.worker.health.connections import (
    FIRST_REQUEST_SECONDS,
    KEEP_ALIVE_SECONDS,
    Connections,
)
from stream_detector.streaming.worker.health.reload import LOOK_SECONDS, Reloader

log = logging.getLogger(__name__)

START_SECONDS = 10.0
STOP_SECONDS = 3.0

Handler = Callable[[web.Request], Awaitable[web.Response]]


class MetricsServer:
    """Listens from `start` to `stop`. `health` and `readiness` return the reason why not, or None.

    Attributes:
        reloader: reads the files of the process again when they change; whoever has others adds them.

    Args:
        extend: adds routes and background work (aiohttp's `cleanup_ctx`) to the application, which runs in the thread.

    Raises (from `start`):
        UsageError: the address is taken, or a TLS file cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        health: Callable[[], str | None],
        readiness: Callable[[], str | None],
        extend: Callable[[web.Application], None] | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._health = health
        self._readiness = readiness
        self._extend = extend
        self._token: str | None = None
        self._context: ssl.SSLContext | None = None
        self.reloader = Reloader(registry)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._listening = Event()
        self._failure: BaseException | None = None
        self.port = settings.metrics_port

    def start(self) -> None:
        self._token = self._settings.token()
        self._context = context = self._tls()
        self._add_files()
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._thread = Thread(target=self._run, args=(self._loop, context), name="metrics", daemon=True)
        self._thread.start()
        if not self._listening.wait(START_SECONDS) or self._failure is not None:
            settings, failure = self._settings, self._failure
            reason = getattr(failure, "strerror", None) or failure or f"nothing after {START_SECONDS:g} s"
            raise UsageError(
                f"cannot listen on {settings.metrics_host}:{settings.metrics_port} for metrics: {reason}; "
                "choose another with --metrics-port, 0 takes any free one"
            )

    def _tls(self) -> ssl.SSLContext | None:
        certificate = self._settings.metrics_cert_file
        if certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load_certificate(context)
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        certificate = self._settings.metrics_cert_file
        assert certificate is not None
        try:
            context.load_cert_chain(certificate, self._settings.metrics_key_file)
        except OSError as error:
            raise UsageError(f"{certificate} cannot be used for metrics over TLS: {error}") from None

    def _add_files(self) -> None:
        settings, add = self._settings, self.reloader.add
        add("log level", [settings.log_level_file], lambda: set_level(settings.level()))
        add("token of the metrics", [settings.metrics_token_file], self._renew_token)
        add(
            "certificate of the metrics",
            [settings.metrics_cert_file, settings.metrics_key_file],
            self._renew_certificate,
        )
        if settings.security_protocol.endswith("SSL"):
            # The connections take them by themselves; here it is found out whether they can.
            add("certificates for Kafka", tls_files(settings), lambda: ssl_context(settings))

    def _renew_token(self) -> None:
        self._token = self._settings.token()

    def _renew_certificate(self) -> None:
        if self._context is not None:
            # First where nothing is lost by it: a key that does not fit would leave the context without one.
            self._tls()
            self._load_certificate(self._context)

    def stop(self) -> None:
        """Ends all connections; returns when the thread has ended, or after a few seconds."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has just been closed, since the address was taken
                self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(STOP_SECONDS)

    def _run(self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve(context))
        except BaseException as error:
            if self._listening.is_set():
                log.exception("the metrics are no longer served")
            self._failure = error
        finally:
            self._listening.set()
            loop.close()

    async def _serve(self, context: ssl.SSLContext | None) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._verdict(self._health))
        app.router.add_get("/readyz", self._verdict(self._readiness))
        if self._extend is not None:
            self._extend(app)
        settings = self._settings
        protect(app, settings.metrics_host)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=KEEP_ALIVE_SECONDS)
        connections = Connections(lambda: runner.server)
        app.middlewares.insert(0, connections.follow)
        await runner.setup()
        try:
            listener = await asyncio.get_running_loop().create_server(
                connections,
                settings.metrics_host,
                settings.metrics_port,
                ssl=context,
                ssl_handshake_timeout=None if context is None else FIRST_REQUEST_SECONDS,
                reuse_address=True,
            )
            self.port = int(listener.sockets[0].getsockname()[1])
            self._listening.set()
            looking = asyncio.create_task(self._look_at_files())
            await self._ending.wait()
            looking.cancel()
            listener.close()
        finally:
            await runner.cleanup()

    async def _look_at_files(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.reloader.look()

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._token is not None:
            given = request.headers.get("Authorization", "")
            if not same_token(given, f"Bearer {self._token}"):
                return web.Response(
                    status=401, text="a bearer token is needed\n", headers={"WWW-Authenticate": "Bearer"}
                )
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        names = request.query.getall("name[]", [])
        # All of them, for thousands of assets, takes a second of the core.
        chosen = self._registry.restricted_registry(names) if names else self._registry
        return web.Response(body=encode(chosen), headers={"Content-Type": kind})

    @staticmethod
    def _verdict(reason_why_not: Callable[[], str | None]) -> Handler:
        async def answer(_request: web.Request) -> web.Response:
            reason = reason_why_not()
            return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=f"{reason}\n")

        return answer
