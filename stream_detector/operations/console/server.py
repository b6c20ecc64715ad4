"""The console's pages and API on an aiohttp application: `add_console(app, source, guard)`.

GET  /                                  the page
GET  /console/{file}                    its scripts and styles
GET  /console/api/stream                server-sent events: what changed, and a beat when nothing did
GET  /console/api/precedents?alarm=ID   past alarms like this one, with what became of them
GET  /console/api/assets/{asset}        history of one asset, with the traces of its sensors
GET  /console/api/plant                 what does not change: site, currency, and what sensors and assets are
POST /console/api/feedback              acknowledge, shelve, judge
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from msgspec import Struct
from msgspec.structs import asdict
from pydantic import ValidationError

from stream_detector.errors import StreamDetectorError, in_words
from stream_detector.messages import MOST_SHELVED_SECONDS, Feedback, Message, to_iso
from stream_detector.operations.console.guard import Guard, Visitor
from stream_detector.operations.console.views import ConsoleSource, PlantView
from stream_detector.operations.http_surface import HEADERS

TICK_SECONDS = 0.25
CHANGE_SECONDS = 0.5
BEAT_SECONDS = 3.0
MAX_STREAMS = 64
MAX_BODY_BYTES = 16_384
BODY_SECONDS = 10.0
WRITE_SECONDS = 10.0
"""A page that takes nothing for so long is gone, and makes room for another."""
MAX_TRACES = 16
DEFAULT_HOURS = 6.0
OURS = ("at", "until")
"""Fields of feedback that the server writes: no page may set an asset aside for ever, or answer in the past."""

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _default(value: Any) -> Any:
    if isinstance(value, Message):
        return value.model_dump(mode="json")
    if isinstance(value, Struct):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(value, default=_default),
        status=status,
        content_type="application/json",
        headers={**HEADERS, "Cache-Control": "no-store"},
    )


def _explained(handler: Handler) -> Handler:
    """Refusals as JSON with the same headers as everything else."""

    async def call(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            response = _json({"error": refusal.text or refusal.reason}, refusal.status)
            if "WWW-Authenticate" in refusal.headers:
                response.headers["WWW-Authenticate"] = refusal.headers["WWW-Authenticate"]
            return response

    return call


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(data)


async def _body(request: web.Request) -> bytes:
    """The whole body. Chunks are counted as they come: they announce no length.

    Raises:
        web.HTTPException: 408 or 413.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not come within {BODY_SECONDS:g} s") from None
    return bytes(body)


class Console:
    """The handlers; `add_console` puts them on an application."""

    def __init__(
        self, source: ConsoleSource, guard: Guard, plant: PlantView, clock: Callable[[], float] = time.time
    ) -> None:
        self._source = source
        self._plant = plant
        self._guard = guard
        self._clock = clock
        self._streams = 0
        self._closing = False
        folder = resources.files("stream_detector.operations.console") / "static"
        self._files = {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in KINDS}

    # -- the page ----------------------------------------------------------------------------------------------------

    async def page(self, _request: web.Request) -> web.Response:
        """The page holds no data, so it needs no token."""
        return self._file("index.html")

    async def file(self, request: web.Request) -> web.Response:
        return self._file(request.match_info["file"])

    def _file(self, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound(text=f"there is no {name}")
        headers = {**HEADERS, "Cache-Control": "no-cache"}
        kind = KINDS[Path(name).suffix]
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8", headers=headers)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def series(self, request: web.Request) -> web.Response:
        self._guard.check_read(request)
        asset = request.match_info["asset"]
        try:
            hours = float(request.query.get("hours", DEFAULT_HOURS))
            until = float(request.query["until"]) if "until" in request.query else None
        except ValueError:
            raise web.HTTPBadRequest(text="hours and until are numbers") from None
        sensors = request.query.getall("sensor", [])[:MAX_TRACES]
        known = self._source.asset(asset)
        newest = self._clock() if known is None else known.time
        end = newest if until is None else until
        found = self._source.series(asset, end - 3600.0 * hours, until, sensors)
        if found is None:
            raise web.HTTPNotFound(text=f"this detector does not watch {asset}")
        return _json(found)

    async def plant(self, request: web.Request) -> web.Response:
        self._guard.check_read(request)
        return _json(self._plant)

    async def precedents(self, request: web.Request) -> web.Response:
        self._guard.check_read(request)
        return _json(self._source.precedents(request.query.get("alarm", "")))

    def _changes(self, since_version: int, visitor: Visitor) -> tuple[int, bytes]:
        """Changes after `since_version`; 0 = everything, for a page that has just been opened."""
        version = self._source.version()
        body: dict[str, Any] = {
            "now": self._clock(),
            "full": since_version == 0,
            "worker": self._source.worker(),
            "names": self._source.names(since_version),
            "assets": self._source.assets(since_version),
            "may_write": visitor.may_write,
            "user": visitor.name,
        }
        if self._source.records_version() > since_version:
            body |= {
                "alarms": self._source.alarms(),
                "open": self._source.open_counts(),
                "set_aside": self._source.set_aside(),
                "ledger": self._source.ledger(),
            }
        return version, orjson.dumps(body, default=_default)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        visitor = self._guard.check_read(request)
        if self._streams >= MAX_STREAMS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_STREAMS} pages are open already; close some")
        response = web.StreamResponse(
            headers={
                **HEADERS,
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        self._streams += 1
        try:
            await response.prepare(request)
            await self._write_changes(response, visitor)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass
        finally:
            self._streams -= 1
        return response

    async def _write_changes(self, response: web.StreamResponse, visitor: Visitor) -> None:
        sent, quiet_since = 0, self._clock()
        while not self._closing:
            since_sent = self._clock() - quiet_since
            if self._source.version() != sent and (sent == 0 or since_sent >= CHANGE_SECONDS):
                sent, body = self._changes(sent, visitor)
                await _write(response, b"event: change\ndata: " + body + b"\n\n")
                quiet_since = self._clock()
            elif since_sent >= BEAT_SECONDS:
                beat = orjson.dumps({"now": self._clock(), "worker": self._source.worker()}, default=_default)
                await _write(response, b"event: beat\ndata: " + beat + b"\n\n")
                quiet_since = self._clock()
            await asyncio.sleep(TICK_SECONDS)

    async def close(self, _app: web.Application) -> None:
        """Lets the open streams end, so that a server that stops need not wait for its pages."""
        self._closing = True

    # -- writing -----------------------------------------------------------------------------------------------------

    async def feedback(self, request: web.Request) -> web.Response:
        visitor = self._guard.check_write(request)
        feedback = self._parse(await _body(request), visitor.name)
        if feedback.alarm is not None and not self._source.has_alarm(feedback.asset, feedback.alarm):
            raise web.HTTPNotFound(text=f"{feedback.asset} has no alarm {feedback.alarm} that is remembered here")
        try:
            await self._source.send(feedback)
        except StreamDetectorError as error:
            raise web.HTTPServiceUnavailable(text=f"not written: {error}") from None
        return _json({"written": feedback})

    def _parse(self, body: bytes, signed_in: str | None) -> Feedback:
        """The times are ours, not the browser's: its clock may be wrong. `minutes` becomes the end of a shelving."""
        now = self._clock()
        try:
            given = orjson.loads(body)
            if not isinstance(given, dict):
                raise ValueError("the body is not a JSON object")  # noqa: TRY004 - both become a 400
            for name in OURS:
                given.pop(name, None)
            if signed_in is not None:
                given["who"] = signed_in
            minutes = given.pop("minutes", None)
            if minutes is not None:
                most = MOST_SHELVED_SECONDS / 60.0
                if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= most:
                    raise ValueError(f"minutes must lie between 0 and {most:.0f}")
                given["until"] = to_iso(round(now + 60.0 * minutes, 3))
            return Feedback.model_validate({**given, "at": to_iso(round(now, 3))})
        except ValidationError as error:
            text = "; ".join(
                f"{'.'.join(map(str, found['loc']))}: {in_words(found)}".lstrip(": ") for found in error.errors()
            )
            raise web.HTTPBadRequest(text=text) from None
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None


def add_console(app: web.Application, source: ConsoleSource, guard: Guard, plant: PlantView | None = None) -> None:
    """Serves the console on an application that may have routes of its own; `/` and `/console/` are the console's."""
    console = Console(source, guard, plant or PlantView())
    app.on_shutdown.append(console.close)
    app.router.add_get("/", _explained(console.page))
    app.router.add_get("/console/api/stream", _explained(console.stream))
    app.router.add_get("/console/api/plant", _explained(console.plant))
    app.router.add_get("/console/api/precedents", _explained(console.precedents))
    app.router.add_get("/console/api/assets/{asset}", _explained(console.series))
    app.router.add_post("/console/api/feedback", _explained(console.feedback))
    app.router.add_get("/console/{file}", _explained(console.file))
