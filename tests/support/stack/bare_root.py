"""A bare Debian in a folder: a machine on which nothing of ours was ever installed (needs root and debootstrap)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SUITE = "trixie"
"""Debian 13, which has Python 3.13."""

TRUSTED = Path("/usr/local/share/ca-certificates")
TRUST_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")

ENTER = """
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp"
root=$1
shift
exec chroot "$root" "$@"
"""


def why_no_bare_root() -> str | None:
    """The reason why none can be made here, or None."""
    if os.geteuid() != 0:
        return "a bare Debian root needs root"
    if shutil.which("debootstrap") is None:
        return "no `debootstrap` on PATH (Debian: debootstrap)"
    return None


def make(root: Path, packages: Sequence[str]) -> None:
    """Debian's smallest system with these packages; it trusts whom this machine trusts and asks the same name servers.

    SystemExit where debootstrap fails, with the end of what it said.
    """
    wanted = ",".join(["ca-certificates", *packages])
    # In a namespace of its own, which takes the mounts along that debootstrap leaves when it is killed.
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={wanted}", SUITE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    if TRUSTED.is_dir():
        shutil.copytree(TRUSTED, root / TRUSTED.relative_to("/"), dirs_exist_ok=True)
    run(root, ["update-ca-certificates"], {})


def run(root: Path, command: Sequence[str], environment: Mapping[str, str], folder: str = "/") -> None:
    """Run a command inside, with nothing of this machine's environment; SystemExit where it fails.

    Its mounts are those of a namespace of its own, and end with it, as do all processes that it leaves.
    """
    trust = {name: os.environ[name] for name in TRUST_VARIABLES if name in os.environ}
    variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **trust}
    inside = [
        "env",
        "-i",
        f"--chdir={folder}",
        *(f"{name}={value}" for name, value in {**variables, **environment}.items()),
    ]
    separate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    done = subprocess.run([*separate, "sh", "-ec", ENTER, "sh", str(root), *inside, *command], check=False)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` in {root} ended with {done.returncode}")


def megabytes(folder: Path) -> float:
    """Size on disk of a folder, links counted once."""
    done = subprocess.run(
        ["du", "-s", "--block-size=1", "--one-file-system", str(folder)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0]) / 1e6
