"""A receiver for tries: prints each notification that Alertmanager or the forwarder's webhook posts.

    python receiver.py [PORT]

Standard library only, so that it runs in a bare Python image. Not for production: it keeps nothing.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY_BYTES = 1 << 20


def lines(path: str, body: dict[str, Any], now: float) -> list[str]:
    """One line an alert, as a pager would show it."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    return [
        f"{clock} {path.strip('/')} {alert.get('status', '?')}: "
        f"{alert.get('annotations', {}).get('summary') or alert.get('labels', {})}"
        for alert in body.get("alerts", [body])
    ]


class Receiver(BaseHTTPRequestHandler):
    """Answers 200 to every JSON object that is posted."""

    def do_POST(self) -> None:
        try:
            length = min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES)
            body = json.loads(self.rfile.read(length))
        except ValueError:
            self.send_error(400, "the body is not JSON")
            return
        if not isinstance(body, dict):
            self.send_error(400, "the body is not a JSON object")
            return
        sys.stdout.write("".join(f"{line}\n" for line in lines(self.path, body, time.time())))
        sys.stdout.flush()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
        """Quiet: each notification is a line already."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else 8080), Receiver).serve_forever()
