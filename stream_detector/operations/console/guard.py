"""Who may do what on the console, and the headers that keep a browser from being turned against it.

Reading is open on loopback and wherever no token is set; with a token every call of the API needs it. Writing feedback
needs a token as soon as the console listens beyond loopback. A foreign page cannot write (the body must be JSON and the
origin ours, and no CORS header is ever sent) nor hold a stream open, and on loopback a foreign name for this address
(DNS rebinding) reads nothing.
"""

from dataclasses import dataclass

from aiohttp import web

from stream_detector.operations.http_surface import is_foreign_name, is_loopback, same_token


@dataclass(slots=True)
class Guard:
    """`host` is the address that the server listens on; `token` None = none is set. The token may be exchanged."""

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
        if is_foreign_name(self.host, request):
            raise web.HTTPForbidden(text=f"this console answers to localhost only, not to {request.host}")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text="only the console's own page may ask here")
        if self.token is None:
            return
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not same_token(given, self.token):
            text = "the token is wrong" if given else "a token is needed"
            raise web.HTTPUnauthorized(text=text, headers={"WWW-Authenticate": "Bearer"})

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
        if origin is not None and origin.rpartition("://")[2] != request.host:
            raise web.HTTPForbidden(text="a page from elsewhere may not write here")
