"""`make image`: build both container images, raise alarms on a real broker in the worker's, and fit in the trainer's.

    python -m tests.programs.image [--base IMAGE] [--only worker|trainer] [--folder FOLDER]

Needs buildah and root (chroot isolation: neither an engine nor namespaces), Java for the broker, and 20 GB of disk
(2 GB for the worker's alone).
Without --base the images stand on a bare Debian made by debootstrap, so no registry of images is asked. Images and
containers lie in a store of their own, which is removed at the end.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.stack import bare_root
from tests.support.stack.kafka import Kafka, create_topic, free_port, why_no_kafka
from tests.support.stack.processes import megabytes
from tests.support.stack.workers import fetch, wait_for

BASE_PACKAGES = ("python3", "python3-venv", "python3-pip")
BARE = "localhost/python:bare"
TARGETS = ("worker", "trainer")
DOCKERFILE = "deploy/docker/Dockerfile"
USER = 10001
READY_SECONDS = 600.0
ABOVE_BASE_MEGABYTES = 500
IN_IMAGE = Path("/opt/stream-detector/bin")
MOUNTED = "/mnt"
"""Where the bundles are in a container. Not at /bundles: with this isolation the image's volume would hide them."""


@dataclass(frozen=True)
class Store:
    """buildah with its images and containers in a folder of its own."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return ["buildah", "--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """buildah leaves parts of its work where it keeps temporary files."""
        return {**os.environ, "TMPDIR": str(self.folder)}

    def call(self, *arguments: str) -> str:
        """What buildah prints; SystemExit with all that it said where it fails."""
        done = subprocess.run(
            self.command(*arguments), cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
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
    """A container whose commands run as the image's user, with the machine's network and `bundles` at MOUNTED."""

    store: Store
    container: str
    bundles: Path

    def command(self, *command: str, **environment: object) -> list[str]:
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        mounted = f"{self.bundles}:{MOUNTED}"
        options = ["--isolation", "chroot", "--network", "host", "--volume", mounted, *variables]
        program, *arguments = command
        return self.store.command("run", *options, self.container, "--", str(IN_IMAGE / program), *arguments)

    def run(self, *command: str) -> str:
        """What the command prints; SystemExit where it fails."""
        done = subprocess.run(
            self.command(*command), env=self.store.environment, capture_output=True, text=True, check=False
        )
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


def worker_process() -> int | None:
    """The worker's own process, among those of buildah that run it; it belongs to the image's user."""
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and path.stat().st_uid == USER:
                program, *arguments = (path / "cmdline").read_text().split("\0")
                if program == str(IN_IMAGE / "python") and "run" in arguments:
                    return int(path.name)
        except OSError:
            continue
    return None


def fit(program: Callable[..., object], folder: str) -> None:
    """Simulate a plant and fit a bundle, `current`, in that folder."""
    program("trainer", "simulate", "--out", f"{folder}/plant.csv", "--days", "9")
    program("trainer", "fit", "--recipe", "simulated", "--data", f"{folder}/plant.csv", "--out", f"{folder}/current")


def own_program(name: str, *arguments: str) -> None:
    """Run a command of this checkout."""
    subprocess.run([str(Path(sys.executable).with_name(name)), *arguments], stdout=subprocess.DEVNULL, check=True)


def watch(running: Running, bootstrap: str) -> None:
    """A worker in the image scores a replay from the image; its alarms are read by the image."""
    create_topic(bootstrap, "plant.readings", 4)
    port = free_port()
    command = running.command(
        "stream-detector", "run", "--bundle", f"{MOUNTED}/current", "--instance", "worker-0",
        STREAM_DETECTOR_BOOTSTRAP=bootstrap, STREAM_DETECTOR_METRICS_PORT=port,
        STREAM_DETECTOR_METRICS_HOST="127.0.0.1",
    )  # fmt: skip
    log = running.bundles / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            command,
            env=running.store.environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        wait_for(
            lambda: fetch(port, "/readyz")[0] == 200 or worker.poll() is not None, READY_SECONDS,
            "the worker in the image is ready",
        )  # fmt: skip
        inner = worker_process()
        if inner is None:
            sys.exit(f"no worker runs as user {USER}:\n{log.read_text()[-3000:]}")
        files = ["--data", f"{MOUNTED}/plant.csv", "--bundle", f"{MOUNTED}/current"]
        running.run("stream-detector", "replay", *files, "--bootstrap", bootstrap)
        follow = ["alarms", "--bootstrap", bootstrap, "--json", "--from-beginning", "--until-idle", "5"]
        alarms = [json.loads(line) for line in running.run("stream-detector", *follow).splitlines()]
        raised = sum(alarm["state"] == "raised" for alarm in alarms)
        print(f"the worker, user {USER}, raised {raised} alarms; resident {megabytes(inner, 'status', 'VmRSS'):.0f} MB")
        if not raised:
            sys.exit("the replay holds breaks with precursors, and no alarm came")
        os.kill(inner, signal.SIGTERM)
        worker.wait(30)
    finally:
        # buildah's end is not that of what it runs.
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.image", description=__doc__)
    parser.add_argument("--base", help="image with Python and pip to build on (default: a bare Debian made here)")
    parser.add_argument("--only", choices=TARGETS, help="build and run this one (default: both)")
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
        try:
            targets = [options.only] if options.only else TARGETS
            build_and_run(store, options.base or bare_image(store, folder / "root"), targets, folder)
        finally:
            store.clean()
    return 0


def bare_image(store: Store, root: Path) -> str:
    """The name of an image of Debian with Python, and of nothing else."""
    bare_root.make(root, BASE_PACKAGES)
    store.import_root(root, BARE)
    return BARE


def build_and_run(store: Store, base: str, targets: Sequence[str], folder: Path) -> None:
    for target in targets:
        bundles = folder / target
        bundles.mkdir()
        os.chown(bundles, USER, USER)
        image = store.build(target, base)
        bottom = store.megabytes(base)
        size = store.megabytes(image) - bottom
        print(f"the image of the {target}: {size:,.0f} MB above its base of {bottom:,.0f} MB", flush=True)
        with store.container(image) as container:
            running = Running(store, container, bundles)
            if target == "trainer":
                fit(running.run, MOUNTED)
                continue
            fit(own_program, str(bundles))
            running.run("stream-detector", "check-bundle", f"{MOUNTED}/current")
            with Kafka() as kafka:
                watch(running, kafka.bootstrap)
        if size > ABOVE_BASE_MEGABYTES:
            sys.exit(f"the worker's image is {size:,.0f} MB above its base, wanted at most {ABOVE_BASE_MEGABYTES} MB")


if __name__ == "__main__":
    sys.exit(main())
