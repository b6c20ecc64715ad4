"""Who may do what on the console, and what keeps a browser from being turned against it.

Reading is open on loopback and wherever no token is set; with a token every call of the API needs it. Writing feedback
needs a token as soon as the console listens beyond loopback. A viewer's token reads and does not write. A reverse proxy
that signs people in may name them: what it says counts only where it comes from its address, and every answer is then
written under that name. A foreign page cannot write (the body must be JSON and the origin ours, and no CORS header is
ever sent) nor hold a stream open, and on loopback a foreign name for this address (DNS rebinding) reads nothing.
"""

import ipaddress

from aiohttp import web
from msgspec import Struct, field

from stream_detector.operations.http_surface import is_foreign_name, is_loopback, same_token

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxy(Struct, frozen=True):
    """A reverse proxy that signs people in.

    Attributes:
        network: where it connects from.
        header: holds the name of who is signed in.
        operators: names that may answer; empty = everyone it signs in.
    """

    network: Network
    header: str
    operators: frozenset[str] = frozenset()


class Visitor(Struct, frozen=True):
    """Who asks. `name` None = whoever sits there; a proxy's name is what answers are written under."""

    name: str | None
    may_write: bool


class Guard(Struct):
    """`host` is the address that the server listens on; a token that is None is not set. Tokens may be exchanged."""

    host: str
    token: str | None
    viewer_token: str | None = None
    proxy: Proxy | None = field(default=None)

    def check_read(self, request: web.Request) -> Visitor:
        """Who asks.

        Raises:
            web.HTTPException: 401 or 403, with what to do.
        """
        if is_foreign_name(self.host, request):
            raise web.HTTPForbidden(text=f"this console answers to localhost only, not to {request.host}")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text="only the console's own page may ask here")
        signed_in = self._signed_in(request)
        if signed_in is not None:
            return signed_in
        if self.token is None and self.viewer_token is None:
            return Visitor(None, may_write=self.proxy is None and is_loopback(self.host))
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer" and self.token is not None and same_token(given, self.token):
            return Visitor(None, may_write=True)
        if kind == "Bearer" and self.viewer_token is not None and same_token(given, self.viewer_token):
            return Visitor(None, may_write=False)
        text = "the token is wrong" if given else "a token is needed"
        raise web.HTTPUnauthorized(text=text, headers={"WWW-Authenticate": "Bearer"})

    def check_write(self, request: web.Request) -> Visitor:
        """Who writes.

        Raises:
            web.HTTPException: 401, 403 or 415, with what to do.
        """
        visitor = self.check_read(request)
        if not visitor.may_write:
            if visitor.name is not None or self.viewer_token is not None or self.proxy is not None:
                raise web.HTTPForbidden(text=f"{visitor.name or 'this token'} may look and not answer")
            raise web.HTTPForbidden(
                text="the console listens beyond this machine without a token, so it is for reading only; "
                "set STREAM_DETECTOR_CONSOLE_TOKEN_FILE"
            )
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="the body must be application/json")
        origin = request.headers.get("Origin")
        if origin is not None and origin.rpartition("://")[2] != self._name_asked_for(request):
            raise web.HTTPForbidden(text="a page from elsewhere may not write here")
        return visitor

    def _signed_in(self, request: web.Request) -> Visitor | None:
        """Whom the proxy has signed in; None: the request does not come from it."""
        if self.proxy is None or not self._is_proxy(request):
            return None
        names = request.headers.getall(self.proxy.header, [])
        if len(names) > 1:
            raise web.HTTPUnauthorized(
                text=f"{self.proxy.header} came {len(names)} times; the proxy has to replace what browsers send in it"
            )
        name = names[0].strip() if names else ""
        if not name or not name.isprintable():
            raise web.HTTPUnauthorized(text=f"the proxy names nobody in {self.proxy.header}")
        return Visitor(name, may_write=not self.proxy.operators or name in self.proxy.operators)

    def _is_proxy(self, request: web.Request) -> bool:
        try:
            return self.proxy is not None and ipaddress.ip_address(request.remote or "") in self.proxy.network
        except ValueError:
            return False

    def _name_asked_for(self, request: web.Request) -> str:
        """Behind the proxy the browser knows the console under the proxy's name."""
        behind = request.headers.get("X-Forwarded-Host") if self._is_proxy(request) else None
        return behind or request.host
