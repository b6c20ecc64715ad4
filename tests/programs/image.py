"""`make image`: build both container images, fit in the trainer's, and raise alarms on a real broker in the worker's.

    python -m tests.programs.image [--base IMAGE] [--folder FOLDER]

Needs buildah and root (chroot isolation: neither an engine nor namespaces), Java for the broker, and 20 GB of disk.
Without --base the images stand on a bare Debian made by debootstrap, so no registry of images is asked. Images and
containers lie in a store of their own, which is removed at the end.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import bare_root
from tests.support.kafka import Kafka, create_topic, free_port, why_no_kafka
from tests.support.paths import ROOT
from tests.support.processes import megabytes
from tests.support.workers import wait_for

BASE_PACKAGES = ("python3", "python3-venv", "python3-pip")
BARE = "localhost/python:bare"
DOCKERFILE = "deploy/docker/Dockerfile"
USER = 10001
ABOVE_BASE_MEGABYTES = 500
IN_IMAGE = Path("/opt/stream-detector/bin")


@dataclass(frozen=True)
class Store:
    """buildah with its images and containers in a folder of its own."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return ["buildah", "--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"), *arguments]

    def call(self, *arguments: str) -> str:
        """What buildah prints; SystemExit with all that it said where it fails."""
        environment = {**os.environ, "TMPDIR": str(self.folder)}
        done = subprocess.run(
            self.command(*arguments), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(
                f"`buildah {' '.join(arguments)}` ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
            )
        return done.stdout.strip()

    def import_root(self, root: Path, name: str) -> None:
        """Make an image of a folder that holds a whole system."""
        container = self.call("from", "scratch")
        self.call("copy", "--quiet", container, str(root), "/")
        self.call("commit", "--quiet", "--rm", container, name)

    def build(self, target: str, base: str) -> str:
        """Build one target of the Dockerfile; the image's name."""
        started = time.monotonic()
        name = f"localhost/stream-detector-{target}"
        options = ["--isolation", "chroot", "--network", "host", "--layers=false", "--format", "docker"]
        self.call(
            "build",
            *options,
            "--build-arg",
            f"BASE={base}",
            "--target",
            target,
            "--file",
            DOCKERFILE,
            "--tag",
            name,
            ".",
        )
        print(f"built the image of the {target} in {time.monotonic() - started:.0f} s", flush=True)
        return name

    def megabytes(self, image: str) -> float:
        """What the files of an image take on disk."""
        with self.container(image) as container:
            return bare_root.megabytes(Path(self.call("mount", container)))

    @contextmanager
    def container(self, image: str) -> Iterator[str]:
        container = self.call("from", image)
        try:
            yield container
        finally:
            self.call("rm", container)

    def clean(self) -> None:
        self.call("rm", "--all")
        self.call("rmi", "--all", "--force")


@dataclass(frozen=True)
class Running:
    """A container whose commands run as the image's user, with the machine's network and `bundles` at /bundles."""

    store: Store
    container: str
    bundles: Path

    def command(self, *command: str, **environment: object) -> list[str]:
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        mounted = f"{self.bundles}:/bundles"
        options = ["--isolation", "chroot", "--network", "host", "--volume", mounted, *variables]
        program, *arguments = command
        return self.store.command("run", *options, self.container, "--", str(IN_IMAGE / program), *arguments)

    def run(self, *command: str) -> str:
        """What the command prints; SystemExit where it fails."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"`{' '.join(command)}` in the image ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        print(f"ran {' '.join(command)}", flush=True)
        return done.stdout


def why_no_images() -> str | None:
    """The reason why no image can be built here, or None."""
    if os.geteuid() != 0:
        return "images are built as root here"
    if shutil.which("buildah") is None:
        return "no `buildah` on PATH (Debian: buildah, with --no-install-recommends)"
    return why_no_kafka()


def process_of_user(pattern: str) -> int | None:
    """The process of the image's user whose command line holds `pattern`."""
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and path.stat().st_uid == USER and pattern in (path / "cmdline").read_text():
                return int(path.name)
        except OSError:
            continue
    return None


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def fit(running: Running) -> None:
    running.run("trainer", "simulate", "--out", "/bundles/plant.csv", "--days", "9")
    running.run("trainer", "fit", "--recipe", "simulated", "--data", "/bundles/plant.csv", "--out", "/bundles/current")


def watch(running: Running, bootstrap: str) -> None:
    """A worker in the image scores a replay from the image; its alarms are read by the image."""
    create_topic(bootstrap, "plant.readings", 4)
    port = free_port()
    command = running.command(
        "stream-detector", "run", "--bundle", "/bundles/current", "--instance", "worker-0",
        STREAM_DETECTOR_BOOTSTRAP=bootstrap, STREAM_DETECTOR_METRICS_PORT=port,
        STREAM_DETECTOR_METRICS_HOST="127.0.0.1",
    )  # fmt: skip
    log = running.bundles / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_ready(port) or worker.poll() is not None, 120, "the worker in the image is ready")
        inner = process_of_user("--instance")
        if inner is None:
            sys.exit(f"no worker runs as user {USER}:\n{log.read_text()[-3000:]}")
        replay = ["replay", "--data", "/bundles/plant.csv", "--bundle", "/bundles/current", "--bootstrap", bootstrap]
        running.run("stream-detector", *replay)
        follow = ["alarms", "--bootstrap", bootstrap, "--json", "--from-beginning", "--until-idle", "5"]
        alarms = [json.loads(line) for line in running.run("stream-detector", *follow).splitlines()]
        raised = sum(alarm["state"] == "raised" for alarm in alarms)
        print(f"the worker, user {USER}, raised {raised} alarms; resident {megabytes(inner, 'status', 'VmRSS'):.0f} MB")
        if not raised:
            sys.exit("the replay holds breaks with precursors, and no alarm came")
        os.kill(inner, 15)
        worker.wait(30)
    finally:
        worker.kill()
        worker.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.image", description=__doc__)
    parser.add_argument("--base", help="image with Python and pip to build on (default: a bare Debian made here)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where all is made (default /var/tmp)")
    options = parser.parse_args(arguments)
    reason = why_no_images() or (None if options.base else bare_root.why_no_bare_root())
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="stream-detector-image-", dir=options.folder) as temporary:
        folder = Path(temporary)
        store = Store(folder / "store")
        store.folder.mkdir()
        bundles = folder / "bundles"
        bundles.mkdir()
        os.chown(bundles, USER, USER)
        try:
            build_and_run(store, options.base, bundles, folder / "root")
        finally:
            store.clean()
    return 0


def build_and_run(store: Store, base: str | None, bundles: Path, root: Path) -> None:
    if base is None:
        bare_root.make(root, BASE_PACKAGES)
        store.import_root(root, BARE)
        base = BARE
    images = {target: store.build(target, base) for target in ("worker", "trainer")}
    bottom = store.megabytes(base)
    sizes = {target: store.megabytes(image) - bottom for target, image in images.items()}
    for target, size in sizes.items():
        print(f"the image of the {target}: {size:,.0f} MB above its base of {bottom:,.0f} MB", flush=True)
    with store.container(images["trainer"]) as container:
        fit(Running(store, container, bundles))
    with store.container(images["worker"]) as container, Kafka() as kafka:
        running = Running(store, container, bundles)
        running.run("stream-detector", "check-bundle", "/bundles/current")
        watch(running, kafka.bootstrap)
    if sizes["worker"] > ABOVE_BASE_MEGABYTES:
        sys.exit(f"the worker's image is {sizes['worker']:,.0f} MB above its base, wanted {ABOVE_BASE_MEGABYTES} MB")


if __name__ == "__main__":
    sys.exit(main())
