"""The clock of a start."""

import os
import subprocess
import sys
import time

from stream_detector.streaming.worker.start_clock import StartClock, process_age_seconds


def test_stages_are_told_in_order_from_the_beginning_of_the_process() -> None:
    clock = StartClock(age_seconds=2.0)
    clock.passed("settings")
    clock.passed("bundle")
    assert list(clock.stages) == ["settings", "bundle"]
    assert 2.0 <= clock.stages["settings"] <= clock.stages["bundle"] < 3.0
    assert str(clock).startswith("settings 2.0")


def test_a_stage_that_passes_twice_keeps_its_first_time() -> None:
    clock = StartClock(0.0)
    clock.passed("ready")
    first = clock.stages["ready"]
    time.sleep(0.002)
    clock.passed("ready")
    assert clock.stages["ready"] == first


def test_the_age_of_a_process_is_the_time_since_it_was_started() -> None:
    program = (
        "import time; time.sleep(0.3)\n"
        "from stream_detector.streaming.worker.start_clock import process_age_seconds\n"
        "print(process_age_seconds())"
    )
    started = time.monotonic()
    age = float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout)
    longest = time.monotonic() - started
    if os.path.exists("/proc/self/stat"):
        assert 0.28 <= age <= longest + 0.02
    assert process_age_seconds() >= 0.0
