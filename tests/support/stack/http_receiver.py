"""A real HTTP server on loopback that takes POSTs and can be told to refuse, to hang, or to be gone."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class HttpReceiver:
    """Keeps `(headers, body)` of what it accepted. `mode`: "ok", "refuse" or "hang"; it comes back on the same port.

    `never`: texts that it answers with 400 wherever they stand in a body.
    """

    def __init__(self) -> None:
        self.accepted: list[tuple[dict[str, str], bytes]] = []
        self.attempts = 0
        self.mode = "ok"
        self.never: list[str] = []
        self._changed = threading.Condition()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alarms"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.accepted]

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.attempts += 1
                if receiver.mode == "hang":
                    time.sleep(30)
                    return
                never = any(text.encode() in body for text in receiver.never)
                if receiver.mode == "ok" and not never:
                    with receiver._changed:
                        receiver.accepted.append((dict(self.headers), body))
                        receiver._changed.notify_all()
                self.send_response(400 if never else 200 if receiver.mode == "ok" else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, count: int, seconds: float = 30.0) -> bool:
        """Waits until `count` requests were accepted; returns whether they were."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.accepted) >= count, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
