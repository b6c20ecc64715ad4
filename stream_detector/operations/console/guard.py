"""Who may do what on the console, and the headers that keep a browser from being turned against it.

Reading is open on loopback and wherever no token is set; with a token every call of the API needs it. Writing feedback
needs a token as soon as the console listens beyond loopback. A foreign page cannot write (the body must be JSON and the
origin ours, and no CORS header is ever sent) and, on loopback, cannot read through a name of its own (DNS rebinding).
"""

import hmac
import ipaddress
from dataclasses import dataclass
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


def is_loopback(host: str) -> bool:
    """Whether an address to listen on, or the host of a URL, is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Guard:
    """`host` is the address that the server listens on; `token` None = none is set."""

    host: str
    token: str | None

    @property
    def may_write(self) -> bool:
        """True if feedback can be written."""
        return self.token is not None or is_loopback(self.host)

    def check_read(self, request: web.Request) -> None:
        """Raises:
        web.HTTPException: 401 or 403, with what to do.
        """
        if is_loopback(self.host) and not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise web.HTTPForbidden(text=f"this console answers to localhost only, not to {request.host}")
        if self.token is None:
            return
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not hmac.compare_digest(given.encode(), self.token.encode()):
            raise web.HTTPUnauthorized(text="a token is needed", headers={"WWW-Authenticate": "Bearer"})

    def check_write(self, request: web.Request) -> None:
        """Raises:
        web.HTTPException: 401, 403 or 415, with what to do.
        """
        self.check_read(request)
        if not self.may_write:
            raise web.HTTPForbidden(
                text="the console listens beyond this machine without a token, so it is for reading only; "
                "set STREAM_DETECTOR_CONSOLE_TOKEN_FILE"
            )
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="the body must be application/json")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text=f"a page of {origin} may not write here")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text="only the console's own page may write here")
