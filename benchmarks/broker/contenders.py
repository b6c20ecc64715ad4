"""Who reads the load, and how their speed is measured: each in a process of its own, pinned to one core."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from benchmarks.broker.load import Load
from benchmarks.broker.progress import DONE, WARM
from tests.kafka import free_port

ROOT = Path(__file__).resolve().parents[2]
QUIX_PYTHON = ROOT / ".venv-quix" / "bin" / "python"
TIMEOUT_SECONDS = 300.0


class ContenderError(RuntimeError):
    """A contender ended without a figure."""


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core; BLAS and torch on one thread."""
    return ["taskset", "-c", str(core), "env", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", *command]


def printed_rate(core: int, command: Sequence[str]) -> float:
    """Readings/s as the contender's last JSON line says."""
    done = subprocess.run(
        pinned(core, command), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, cwd=ROOT
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return float(json.loads(line)["readings_per_s"])
    raise ContenderError(
        f"{' '.join(command)} printed no figure (exit {done.returncode}):\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    )


def limit(core: int, bootstrap: str, topic: str, load: Load, _bundle: Path) -> float:
    form = "readings" if load.form == "readings" else "rows"
    return printed_rate(
        core, [sys.executable, "-m", "benchmarks.broker.limit", bootstrap, topic, form, str(load.exact_readings)]
    )


def stock_faust(core: int, bootstrap: str, topic: str, load: Load, bundle: Path) -> float:
    return printed_rate(
        core,
        [
            sys.executable,
            "-m",
            "benchmarks.broker.stock_faust",
            bootstrap,
            topic,
            load.form,
            str(load.exact_readings),
            str(bundle),
        ],
    )


def quix(core: int, bootstrap: str, topic: str, load: Load, bundle: Path) -> float:
    if not QUIX_PYTHON.exists():
        raise ContenderError("no .venv-quix: `make bench` installs Quix Streams there")
    steps = json.loads((bundle / "manifest.json").read_text())["window"]["steps"]
    script = str(ROOT / "benchmarks" / "broker" / "quix.py")
    command = [
        str(QUIX_PYTHON),
        script,
        bootstrap,
        topic,
        load.form,
        str(load.exact_readings),
        str(load.sensors),
        str(steps),
    ]
    return printed_rate(core, command)


def scrape(port: int) -> dict[str, float]:
    """The worker's metrics, summed over their labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    totals: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, _, value = line.rpartition(" ")
        name = name.split("{", 1)[0]
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals


def agent(core: int, bootstrap: str, topic: str, load: Load, bundle: Path) -> float:
    """This product as a user runs it, everything on; its own counter of received readings is the clock."""
    port = free_port()
    environment = {
        **os.environ,
        "STREAM_DETECTOR_TOPIC_READINGS": topic,
        "STREAM_DETECTOR_GROUP": f"bench-{topic}-{time.monotonic_ns()}",
    }
    command = [
        sys.executable,
        "-m",
        "stream_detector",
        "run",
        "--bundle",
        str(bundle),
        "--bootstrap",
        bootstrap,
        "--metrics-port",
        str(port),
    ]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(pinned(core, command), stdout=log, stderr=log, env=environment, cwd=ROOT)
        try:
            warm: tuple[float, float] | None = None
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.2)
                try:
                    count = scrape(port).get("stream_detector_readings_received_total", 0.0)
                except OSError:
                    continue
                now = time.perf_counter()
                if warm is None:
                    if count >= WARM * load.exact_readings:
                        warm = (now, count)
                elif count >= DONE * load.exact_readings:
                    return (count - warm[1]) / (now - warm[0])
            log.seek(0)
            raise ContenderError(f"the worker read too little (exit {process.poll()}):\n{log.read()[-3000:]}")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
