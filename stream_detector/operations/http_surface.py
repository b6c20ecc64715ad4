"""What every answer of the product's web servers has in common: headers, the names that are answered, and tokens."""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether an address to listen on, or the host of a URL, is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_foreign_name(listening_on: str, request: web.Request) -> bool:
    """Whether a loopback address was reached under a name that is not loopback's, as after a DNS rebinding.

    A request without a name comes from no browser.
    """
    name = request.headers.get("Host")
    if name is None or not is_loopback(listening_on):
        return False
    try:
        return not is_loopback(urlsplit(f"//{name}").hostname or "")
    except ValueError:
        return True


def same_token(given: str, wanted: str) -> bool:
    """Compares in constant time. `given` is as aiohttp reads headers: bytes that are no UTF-8 became surrogates."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def protect(app: web.Application, listening_on: str) -> None:
    """Puts `HEADERS` on every answer, also those of paths that do not exist, and names no software versions.

    On loopback every path, not the console's alone, answers to the names of loopback only.
    """

    @web.middleware
    async def known_names(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_foreign_name(listening_on, request):
            raise web.HTTPForbidden(text="this server answers to localhost only\n")
        return await handler(request)

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.pop("Server", None)

    app.middlewares.append(known_names)
    app.on_response_prepare.append(add_headers)
