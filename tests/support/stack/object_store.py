"""A real S3 server of a test's own: moto's, a process that keeps objects in memory and answers one request at a time.

One at a time, for its check of `If-Match` and its write are two steps, which in S3 are one.
"""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

SERVER = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.server_port, flush=True)
server.serve_forever()
"""


def why_no_object_store() -> str | None:
    """The reason why no server can be started here, or None."""
    absent = [name for name in ("obstore", "moto", "flask", "flask_cors") if find_spec(name) is None]
    return f"{', '.join(absent)} not installed" if absent else None


@contextmanager
def object_store(bucket: str = "plant") -> Iterator[dict[str, str]]:
    """The environment in which clients find a fresh server with this bucket."""
    environment = {**os.environ, "MOTO_ALLOW_NONEXISTENT_REGION": "true"}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    )
    try:
        assert server.stdout is not None
        address = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        with urllib.request.urlopen(urllib.request.Request(f"{address}/{bucket}", method="PUT"), timeout=30):
            pass
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "plant",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-central-1",
        }
    finally:
        server.kill()
        server.wait()
