"""Bounds how many connections clients hold open, so that health checks are answered whatever else connects."""

import asyncio
import resource
from collections.abc import Awaitable, Callable

from aiohttp import web

MOST_CONNECTIONS = 512
FIRST_REQUEST_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def most_connections() -> int:
    """At most half of the files that the process may open: the brokers need theirs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if limit == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, max(8, limit // 2))


class Connections:
    """Makes the protocol of each connection. One too many takes the place of the oldest that asks for nothing now.

    Args:
        server: gives aiohttp's server, which makes the protocols; it is there once the runner is set up.
        most: connections held open together.
        first_request_seconds: a connection without a whole request after so long is closed.
    """

    def __init__(
        self,
        server: Callable[[], web.Server | None],
        most: int | None = None,
        first_request_seconds: float = FIRST_REQUEST_SECONDS,
    ) -> None:
        self._server = server
        self._most = most_connections() if most is None else most
        self._first_request_seconds = first_request_seconds
        self._answered: set[asyncio.BaseProtocol] = set()
        self._unheard: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def __call__(self) -> asyncio.BaseProtocol:
        server = self._server()
        if server is None:
            raise RuntimeError("connections come before the server is set up")
        protocol = server()
        loop = asyncio.get_running_loop()
        self._unheard[protocol] = loop.call_later(self._first_request_seconds, self._give_up, protocol)
        # The transport of this connection is made after its protocol.
        loop.call_later(0.0, self._make_room, server)
        return protocol

    def _make_room(self, server: web.Server) -> None:
        """The oldest that are not being answered go first; while all are being answered, the newest."""
        known = [one for one in server.connections if one.transport is not None and not one.transport.is_closing()]
        excess = len(known) - self._most
        if excess <= 0:
            return
        idle = [one for one in known if one not in self._answered]
        busy = [one for one in reversed(known) if one in self._answered]
        for protocol in (idle + busy)[:excess]:
            if protocol.transport is not None:
                protocol.transport.abort()

    def _give_up(self, protocol: web.RequestHandler) -> None:
        del self._unheard[protocol]
        if protocol.transport is not None:
            protocol.transport.abort()

    @web.middleware
    async def follow(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note which connections are being answered: those are not given up."""
        protocol = request.protocol
        waiting = self._unheard.pop(protocol, None)
        if waiting is not None:
            waiting.cancel()
        self._answered.add(protocol)
        try:
            return await handler(request)
        finally:
            self._answered.discard(protocol)
