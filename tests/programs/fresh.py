"""`make fresh`: from a clone to the demo and the fast tests, in a bare Debian with nothing but Python, make and git.

    python -m tests.programs.fresh [--folder FOLDER]

Needs root and debootstrap, the package registries, and 10 GB of disk. What it makes is removed at the end.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.stack import bare_root

PACKAGES = ("python3", "python3-venv", "make", "git")
CHECKOUT = "root/stream-detector"


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took."""
    started = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - started:.0f} s", flush=True)


def clone(checkout: Path) -> None:
    """The last commit, as somebody else would get it."""
    subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", str(checkout)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.fresh", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="where the root is made (default /var/tmp)"
    )
    arguments = parser.parse_args()
    reason = bare_root.why_no_bare_root()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="stream-detector-fresh-", dir=arguments.folder) as temporary:
        root = Path(temporary) / "root"
        checkout = root / CHECKOUT
        with timed(f"Debian {bare_root.SUITE} with {', '.join(PACKAGES)}"):
            bare_root.make(root, PACKAGES)
        print(f"the bare root: {bare_root.megabytes(root):,.0f} MB", flush=True)
        with timed("clone"):
            clone(checkout)
        for target in ("setup", "demo", "unit"):
            with timed(f"make {target}"):
                bare_root.run(root, ["make", target], {"LC_ALL": "C.UTF-8"}, f"/{CHECKOUT}")
        print(f"the installed packages: {bare_root.megabytes(checkout / '.venv'):,.0f} MB")
        print(f"all of the root: {bare_root.megabytes(root):,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
