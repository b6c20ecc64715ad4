"""Who reads the load, and how their speed is measured: each in a process of its own, pinned to one core."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.broker.load import Load
from benchmarks.broker.progress import DONE, WARM
from benchmarks.broker.streams import streams_command
from benchmarks.broker.worker import pinned, pinned_worker
from tests.support.paths import ROOT

RECEIVED = "stream_detector_readings_received_total"
SCRAPE_SECONDS = 5.0
"""As Prometheus is set in `deploy/prometheus`."""

QUIX_PYTHON = ROOT / ".venv-quix" / "bin" / "python"
TIMEOUT_SECONDS = 300.0


class ContenderError(RuntimeError):
    """A contender ended without a figure."""


def why_no_quix() -> str | None:
    """The reason why Quix Streams cannot be measured here, or None."""
    return None if QUIX_PYTHON.exists() else "no .venv-quix: `make bench` installs Quix Streams there"


@dataclass(frozen=True)
class Figure:
    """What one contender reached in one round. `peak_rss_mb`: where it was looked at."""

    readings_per_s: float
    peak_rss_mb: float | None = None


def printed_rate(core: int, command: Sequence[str]) -> Figure:
    """Readings/s as the contender's last JSON line says."""
    done = subprocess.run(
        pinned(core, command), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, cwd=ROOT
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return Figure(float(json.loads(line)["readings_per_s"]))
    raise ContenderError(
        f"{' '.join(command)} printed no figure (exit {done.returncode}):\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    )


def limit(core: int, bootstrap: str, topic: str, load: Load, _bundle: Path) -> Figure:
    form = "readings" if load.form == "readings" else "rows"
    return printed_rate(
        core, [sys.executable, "-m", "benchmarks.broker.limit", bootstrap, topic, form, str(load.exact_readings)]
    )


def stock_faust(core: int, bootstrap: str, topic: str, load: Load, bundle: Path) -> Figure:
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


def quix(core: int, bootstrap: str, topic: str, load: Load, bundle: Path) -> Figure:
    script = str(ROOT / "benchmarks" / "broker" / "quix.py")
    return printed_rate(core, [str(QUIX_PYTHON), script, *_windows_of(bootstrap, topic, load, bundle)])


def kafka_streams(core: int, bootstrap: str, topic: str, load: Load, bundle: Path) -> Figure:
    return printed_rate(core, [*streams_command(), *_windows_of(bootstrap, topic, load, bundle)])


def _windows_of(bootstrap: str, topic: str, load: Load, bundle: Path) -> list[str]:
    """The arguments of a contender that keeps windows and knows no bundle."""
    steps = json.loads((bundle / "manifest.json").read_text())["window"]["steps"]
    return [bootstrap, topic, load.form, str(load.exact_readings), str(load.sensors), str(steps)]


def agent(core: int, bootstrap: str, topic: str, load: Load, bundle: Path) -> Figure:
    """This product as a user runs it, everything on and scraped; its own counter of received readings is the clock."""
    with pinned_worker(core, bootstrap, topic, bundle) as worker:
        warm: tuple[float, float] | None = None
        deadline = time.monotonic() + TIMEOUT_SECONDS
        scraped = time.monotonic()
        while time.monotonic() < deadline and worker.alive:
            time.sleep(0.2)
            try:
                count = worker.metrics(RECEIVED).get(RECEIVED, 0.0)
            except OSError:
                continue
            now = time.perf_counter()
            if warm is None:
                if count >= WARM * load.exact_readings:
                    warm = (now, count)
            elif count >= DONE * load.exact_readings:
                return Figure((count - warm[1]) / (now - warm[0]), worker.peak_megabytes())
            if time.monotonic() > scraped + SCRAPE_SECONDS:
                worker.metrics()
                scraped = time.monotonic()
        raise ContenderError(f"the worker read too little (exit {worker.process.poll()}):\n{worker.log_text()}")
