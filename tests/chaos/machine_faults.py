"""Faults of the machines: a disk that is full, a clock that jumps."""

import random
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.chaos.faults import PlainFault
from tests.chaos.stage import Stage, create_readings_of, random_pause
from tests.support.stack.kafka import Broker, Kafka
from tests.support.stack.workers import wait_for

DISK_MEGABYTES = 96
FULL_SECONDS = 5.0
"""So long the disk stays full."""

DIES_SECONDS = 30.0


@dataclass
class FullDisk(PlainFault):
    """The broker's disk is full and the broker dies of it; then there is room again and it is started."""

    name: str = "full disk of the broker"
    seconds: ClassVar[float] = 20.0

    def why_not(self) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            reason = _mount(Path(folder))
            if reason is None:
                _unmount(Path(folder))
            return reason

    def cluster_in(self, folder: Path) -> Kafka:
        disk = folder / "disk"
        disk.mkdir()
        reason = _mount(disk)
        assert reason is None, reason
        # Small segments, so that something is written anew all the time.
        return Kafka(1, {"log.dirs": str(disk / "data"), "log.segment.bytes": "1048576"})

    def tidy(self, folder: Path) -> None:
        _unmount(folder / "disk")

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        assert isinstance(stage.kafka, Kafka)
        ballast = stage.folder / "disk" / "ballast"
        broker = stage.kafka.brokers[0]
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 2.0, 4.0)
            deadline = time.monotonic() + DIES_SECONDS
            while broker.alive and time.monotonic() < deadline:
                _fill(ballast)
                time.sleep(0.2)
            assert _noticed(broker), f"the broker did not notice that its disk is full: {broker.log}"
            broker.kill()
            time.sleep(FULL_SECONDS)
            ballast.unlink()
            broker.start()
            recovery.append(stage.recovered(lambda: None))
        return recovery


def _fill(ballast: Path) -> None:
    """Write until nothing more fits; the broker may have given up some room meanwhile, e.g. with an old segment."""
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _noticed(broker: Broker) -> bool:
    text = broker.log.read_text(errors="replace")
    return "No space left on device" in text or "unsafe memory access" in text or not broker.alive


def _mount(folder: Path) -> str | None:
    """A small disk in memory at `folder`; the reason why not, or None."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"no small disk can be mounted: {error}"
    return None if done.returncode == 0 else f"no small disk can be mounted: {done.stderr.strip()}"


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


@dataclass
class ClockFault(PlainFault):
    """A wall clock that jumps, by libfaketime."""

    def why_not(self) -> str | None:
        return None if _library() is not None else "no libfaketime (Debian: faketime)"

    @property
    def jumps(self) -> list[int]:
        """Seconds off the right time, one a jump: ahead, back to before it was right, and right again."""
        return [(7200, -7200, 0)[number % 3] for number in range(self.times)]


@dataclass
class ClockJump(ClockFault):
    """The wall clock of the worker's machine jumps ahead, back to before it was right, and right again."""

    name: str = "clock of the worker jumps by hours"
    seconds: ClassVar[float] = 12.0

    def environment_in(self, folder: Path) -> Mapping[str, str]:
        return {**self.environment, **_under_clock(folder / "clock")}

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        (worker,) = stage.workers
        process = worker.process
        recovery = []
        for jump in self.jumps:
            random_pause(rng, 1.0, 3.0)
            wait_for(lambda: worker.get("/readyz")[0] == 200, 30, "the worker is ready")
            recovery.append(stage.recovered(lambda to=jump: _set(stage.folder / "clock", to)))  # type: ignore[misc]
            # Long enough for the watchdog to look several times.
            time.sleep(5.0)
            ready = worker.get("/readyz")
            assert ready[0] == 200, f"after a jump to {jump:+d} s: {ready}"
            assert worker.process is process, f"after a jump to {jump:+d} s the worker ended"
        return recovery


@dataclass
class BrokerClockJump(ClockFault):
    """The broker's wall clock jumps ahead and back to before it was right, away from the worker's and the plant's."""

    name: str = "clock of the broker jumps by hours"
    seconds: ClassVar[float] = 10.0

    def cluster_in(self, folder: Path) -> Kafka:
        # With the library's own way to wait a JVM never sleeps.
        return Kafka(1, environment={**_under_clock(folder / "clock"), "FAKETIME_FORCE_MONOTONIC_FIX": "0"})

    def create_readings(self, stage: Stage) -> None:
        # A broker whose clock is hours behind refuses what the plant stamps.
        create_readings_of(stage, message_timestamp_type="LogAppendTime")

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        (worker,) = stage.workers
        recovery = []
        for jump in self.jumps:
            random_pause(rng, 1.0, 3.0)
            recovery.append(stage.recovered(lambda to=jump: _set(stage.folder / "clock", to)))  # type: ignore[misc]
            random_pause(rng, 1.0, 3.0)
            recovery.append(stage.recovered(worker.kill))
        return recovery


def _under_clock(clock: Path) -> dict[str, str]:
    """Variables of a process whose wall clock is right at first; `_set` moves it."""
    clock.write_text("+0\n")
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        # Looked at once a second; at every question for the time it would slow the process down.
        "FAKETIME_CACHE_DURATION": "1",
        # A machine's monotonic clock does not jump.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _set(clock: Path, seconds: int) -> None:
    """In one go: the worker reads the file all the time."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}\n")
    fresh.rename(clock)


def _library() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
