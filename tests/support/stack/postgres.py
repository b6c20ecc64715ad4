"""A real PostgreSQL in a folder of its own, reached through a socket there."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER = "postgres"
"""The server refuses to run as root."""


def programs() -> Path | None:
    """Where Debian's newest PostgreSQL has its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def why_no_postgres() -> str | None:
    """The reason why no server can be started here, or None."""
    if programs() is None:
        return "no PostgreSQL (Debian: postgresql)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no `setpriv`"
    return None


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a fresh database."""
    folder = programs()
    assert folder is not None
    root = os.geteuid() == 0
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    drop = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"] if root else []
    if root:
        shutil.chown(home, OWNER, pwd.getpwnam(OWNER).pw_gid)
    options = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off"
    control = [*drop, str(folder / "pg_ctl"), "-D", str(home / "data"), "-w"]
    try:
        initialise = [*drop, str(folder / "initdb"), "-D", str(home / "data"), "-A", "trust", "-U", OWNER, "-N"]
        subprocess.run(initialise, check=True, capture_output=True, cwd=home)
        start = [*control, "-l", str(home / "log"), "-o", options, "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home)
        yield f"postgresql:///{OWNER}?host={home}&user={OWNER}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd=home)
        shutil.rmtree(home, ignore_errors=True)
