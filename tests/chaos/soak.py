"""`make soak`: a steady load for long, with kills and rebalances; memory, lag and accounting are watched.

Two workers share the partitions. One is never touched, and its memory must stay flat; the other is killed and
restarted, and a third one joins and leaves. At the end the audit reads the whole log again.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import orjson

from stream_detector.streaming.audit.report import Audit
from tests.chaos.suite import PAGE
from tests.support.marked_page import enter
from tests.support.plant import BASE, STEP_SECONDS, Record, small_bundle
from tests.support.stack.kafka import Kafka, create_topic, why_no_kafka
from tests.support.stack.processes import resident_megabytes
from tests.support.stack.workers import (
    WorkerProcess,
    committed_of,
    ends_of,
    produce,
    topic,
    topic_environment,
    wait_for,
)

PARTITIONS = 4
ASSETS = 20
SENSORS = tuple(f"s{number}" for number in range(60))
SAMPLE_SECONDS = 5.0
FLAT = 1.10
"""The untouched worker's memory may be this much larger in the last third than in the second."""

BEGIN, END = "<!-- result of `make soak` -->", "<!-- end of the result -->"


@dataclass
class Watch:
    """What was seen, one sample every five seconds."""

    megabytes: list[float] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)


def rows(readings: int) -> Iterator[Record]:
    """Rows of 60 values, asset after asset; the values repeat after a while: making them must not be the bottleneck."""
    import random

    rng = random.Random(1)
    ready = [
        orjson.dumps({sensor: round(rng.gauss(0, 1), 3) for sensor in SENSORS if rng.random() > 0.01})
        for _ in range(997)
    ]
    sent, step = 0, 0
    while sent < readings:
        for asset in range(ASSETS):
            value = b'{"time":%d,"values":%s}' % (BASE + step * STEP_SECONDS, ready[(step * 31 + asset) % len(ready)])
            yield Record(asset % PARTITIONS, b"machine-%d" % asset, value)
            sent += len(SENSORS)
        step += 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=50_000, help="readings/s")
    parser.add_argument("--kill-every", type=float, default=300.0, help="seconds")
    parser.add_argument("--rebalance-every", type=float, default=420.0, help="seconds")
    parser.add_argument("--write", action="store_true", help="write the result into docs/reliability.md")
    arguments = parser.parse_args()
    reason = why_no_kafka()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="stream-detector-soak-") as folder, Kafka() as kafka:
        return soak(kafka, Path(folder), arguments)


def soak(kafka: Kafka, folder: Path, arguments: argparse.Namespace) -> int:
    bundle = small_bundle(folder / "bundle", threshold=8.5, sensors=SENSORS)
    prefix = "soak"
    name = topic(prefix, "readings")
    create_topic(kafka.bootstrap, name, PARTITIONS)
    calm, killed, guest = (
        WorkerProcess(kafka.bootstrap, prefix, bundle, folder / f"{who}.log", who)
        for who in ("calm", "killed", "guest")
    )
    calm.start()
    killed.start()
    wait_for(lambda: calm.get("/readyz")[0] == killed.get("/readyz")[0] == 200, 120, "both workers are ready")
    seconds = arguments.minutes * 60
    total = int(seconds * arguments.rate)
    sender = threading.Thread(
        target=produce, args=(kafka.bootstrap, name, rows(total), arguments.rate / len(SENSORS)), daemon=True
    )
    watch, started, kills, rebalances = Watch(), time.monotonic(), 0, 0
    sender.start()
    while sender.is_alive():
        time.sleep(SAMPLE_SECONDS)
        now = time.monotonic() - started
        assert calm.process is not None
        watch.megabytes.append(resident_megabytes(calm.process.pid))
        ends, committed = ends_of(kafka.bootstrap, name), committed_of(kafka.bootstrap, prefix)
        watch.lag.append(sum(end - committed.get(number, 0) for number, end in ends.items()))
        print(f"{now:6.0f} s: {watch.megabytes[-1]:.0f} MB, lag {watch.lag[-1]:,} rows", flush=True)
        assert calm.alive, calm.log_text()[-4000:]
        if now > (kills + 1) * arguments.kill_every:
            kills += 1
            killed.kill()
            killed.start()
        if now > (rebalances + 1) * arguments.rebalance_every:
            rebalances += 1
            if guest.alive:
                guest.stop()
            else:
                guest.start()
    took = time.monotonic() - started
    wait_for(
        lambda: sum(committed_of(kafka.bootstrap, prefix).values()) == sum(ends_of(kafka.bootstrap, name).values()),
        300, "all is committed", each=1.0,
    )  # fmt: skip
    for worker in (calm, killed, guest):
        if worker.alive:
            worker.stop()
    audit = read_again(kafka.bootstrap, prefix, bundle)
    return report(watch, audit, total, took, kills, rebalances, write=arguments.write)


def read_again(bootstrap: str, prefix: str, folder: Path) -> Audit:
    """The product's own audit."""
    from stream_detector.bundle.bundle import load_bundle
    from stream_detector.engine.engine import Engine
    from stream_detector.settings import Settings
    from stream_detector.streaming.audit.audit import audit_log

    with patch.dict(os.environ, topic_environment(prefix)):
        settings = Settings.load(bootstrap=bootstrap)
    bundle = load_bundle(folder)
    return asyncio.run(audit_log(settings, partial(Engine, bundle), bundle.manifest.bundle_id))


def report(watch: Watch, audit: Audit, total: int, took: float, kills: int, rebalances: int, *, write: bool) -> int:
    third = max(1, len(watch.megabytes) // 3)
    middle, last = statistics.median(watch.megabytes[third : 2 * third]), statistics.median(watch.megabytes[-third:])
    flat = last <= middle * FLAT
    behind = max(watch.lag) * len(SENSORS) * took / total
    wrong = (
        f"{len(audit.alarms_lost)} lost, {len(audit.alarms_different)} different, {len(audit.alarms_invented)} invented"
    )
    lines = [
        f"- {total:,} readings in {took:.0f} s ({total / took:,.0f}/s), {kills} kills, {rebalances} rebalances",
        f"- memory of the untouched worker: {middle:.0f} MB in the second third, {last:.0f} MB in the last",
        f"- lag: median {statistics.median(watch.lag):,.0f} rows, longest {max(watch.lag):,} rows ({behind:.1f} s)",
        f"- alarms: {audit.alarms:,} published, {wrong}; accounting {'exact' if audit.good else 'WRONG'}",
    ]
    print("\n".join(lines))
    if write:
        enter(PAGE, BEGIN, END, "\n".join(lines))
    return 0 if flat and audit.good else 1


if __name__ == "__main__":
    sys.exit(main())
