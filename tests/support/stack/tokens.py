"""Tokens that a test broker takes (unsecured JSON Web Tokens), and a server that gives them for a secret."""

import base64
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

SECRET = "s3cret-of-the-client"
LIFE_SECONDS = 600


def made(name: str = "detector", age_seconds: float = 0.0) -> tuple[str, float]:
    """A token without a signature, and when it expires (epoch seconds)."""
    now = time.time() - age_seconds
    parts = ({"alg": "none"}, {"sub": name, "iat": int(now), "exp": int(now) + LIFE_SECONDS})
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.", now + LIFE_SECONDS


def stale() -> tuple[str, float]:
    """One that the broker takes no longer, whatever is said of it."""
    return made(age_seconds=10 * LIFE_SECONDS)[0], time.time() + LIFE_SECONDS


class TokenServer:
    """Gives tokens to `detector` with its secret; remembers the forms that came."""

    def __init__(self) -> None:
        outer = self
        self.forms: list[str] = []
        login = "Basic " + base64.b64encode(f"detector:{SECRET}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.forms.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                granted = self.headers.get("Authorization") == login
                answer = {"access_token": made()[0], "expires_in": LIFE_SECONDS} if granted else {"error": "no"}
                body = json.dumps(answer).encode()
                self.send_response(200 if granted else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
