"""A real InfluxDB (version 1) in a folder of its own."""

import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.stack.kafka import free_port
from tests.support.stack.workers import wait_for

CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
[monitor]
  store-enabled = false
"""


def why_no_influxdb() -> str | None:
    """The reason why no server can be started here, or None."""
    return None if shutil.which("influxd") else "no `influxd` on PATH (Debian: influxdb)"


def ask(port: int, path: str, content: str, **query: str) -> None:
    address = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(address, content.encode() or None, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        # The status comes before a query runs: only the whole body says that it has run.
        said = answer.read().decode()
    assert "error" not in said, said


@contextmanager
def influxdb(lines: str, user: str = "", password: str = "") -> Iterator[str]:
    """HOST:PORT of a fresh server whose database `plant` holds these lines; with a user it demands that one."""
    folder, port = Path(tempfile.mkdtemp(prefix="influxdb-")), free_port()
    config = folder / "influxdb.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, backup=free_port(), auth=str(bool(user)).lower()))
    server = subprocess.Popen(["influxd", "-config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return True
        except OSError:
            return False

    try:
        wait_for(answers, 60, "InfluxDB answers")
        login = {"u": user, "p": password} if user else {}
        if user:
            ask(port, "/query", "", q=f"CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
        ask(port, "/query", "", q="CREATE DATABASE plant", **login)
        ask(port, "/write", lines, db="plant", **login)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
