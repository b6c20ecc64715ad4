"""From a simulated break to the text at a receiver, with every delay: `make stack` (python -m tests.programs.stack).

Broker, detector, forwarder, Alertmanager, Prometheus and a receiver run as real processes with the configuration files
of `deploy/`. A paper machine is simulated, a bundle is fitted on its past at the recipe's defaults, and of the days
after it everything up to the step before an alarm is replayed. Then that one step's row is sent, and its way is timed.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from confluent_kafka import Producer

from stream_detector.messages import Alarm
from tests.support.plant import Record
from tests.support.stack.kafka import why_no_kafka
from tests.support.stack.monitoring import why_no_monitoring
from tests.support.stack.product import Product, TopicWatcher
from tests.support.stack.workers import caught_up, produce, wait_for

DAYS = 28
FIT_DAYS = 24
PAST_ROWS = 120
LIMIT_SECONDS = 2.0
ASSET = "pm-1"


@dataclass(frozen=True)
class Delays:
    """Seconds after the closing row was sent."""

    topic: float
    alertmanager: float
    receiver: float


@dataclass(frozen=True)
class Prepared:
    """A bundle, and rows in front of it: `rows[alarm]` closes the step that raises an alarm before a break."""

    bundle: Path
    rows: list[bytes]
    events: dict[int, bytes]
    alarm: int


def prepare(folder: Path) -> Prepared:
    """Simulates, fits, and finds an alarm with a break behind it, on days that the bundle has not seen."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    plant, past, bundle, scores = (folder / name for name in ("plant.parquet", "past.parquet", "bundle", "scores.csv"))
    if not scores.exists():
        _trainer("simulate", "--out", plant, "--days", DAYS, "--start", start.strftime("%Y-%m-%dT%H:%M:%S"))
        table = pd.read_parquet(plant)
        table[pd.to_datetime(table["time"], utc=True) < start + timedelta(days=FIT_DAYS)].to_parquet(past, index=False)
        _trainer("fit", "--recipe", "simulated", "--data", past, "--out", bundle)
        _trainer("score", "--bundle", bundle, "--data", plant, "--out", scores)
    table = pd.read_parquet(plant)
    since = pd.to_datetime(table["time"], utc=True).iloc[0] + timedelta(days=FIT_DAYS)
    return choose(bundle, table, pd.read_csv(scores), since)


def choose(bundle: Path, table: pd.DataFrame, scores: pd.DataFrame, since: datetime) -> Prepared:
    """The last alarm that is raised one or two steps before a break, with rows around it."""
    times = pd.to_datetime(table["time"], utc=True)
    alarm = scores.set_index(pd.to_datetime(scores["time"], utc=True))["alarm"].reindex(times).eq(True).to_numpy()
    breaks = table["y"].to_numpy() == 1
    raised = alarm & ~np.roll(alarm, 1)
    followed = np.roll(breaks, -1) | np.roll(breaks, -2)
    quiet = ~np.convolve(breaks | alarm, np.ones(12), "full")[: len(table)].astype(bool)
    found = np.flatnonzero(raised & followed & np.roll(quiet, 1) & (times >= since).to_numpy())
    found = found[(found > PAST_ROWS) & (found < len(table) - 30)]
    if not len(found):
        sys.exit("the simulated days hold no alarm with a break behind it and quiet before it; try another seed")
    first, chosen = int(found[-1]) - PAST_ROWS, int(found[-1])
    sensors = json.loads((bundle / "manifest.json").read_bytes())["sensors"]
    part = table.iloc[first : chosen + 30]
    moments = [moment.isoformat() for moment in times.iloc[first : chosen + 30]]
    rows = [
        _json(
            {"time": moment, "values": {name: None if math.isnan(row[name]) else float(row[name]) for name in sensors}}
        )
        for moment, (_, row) in zip(moments, part.iterrows(), strict=True)
    ]
    places = np.flatnonzero(part["y"].to_numpy() == 1).tolist()
    events = {place: _json({"time": moments[place], "event": "break"}) for place in places}
    return Prepared(bundle, rows, events, chosen - first)


def _json(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode()


def _trainer(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"trainer {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def send_rows(product: Product, prepared: Prepared, begin: int, end: int) -> None:
    """Rows, each behind the break that lies in its step."""
    records = []
    for place in range(begin, end):
        if place in prepared.events:
            records.append(Record(0, ASSET.encode(), prepared.events[place]))
        records.append(Record(0, ASSET.encode(), prepared.rows[place]))
    produce(product.kafka.bootstrap, product.topic("readings"), records)


def time_an_alarm(product: Product, prepared: Prepared) -> tuple[Delays, Alarm, str, str]:
    """Sends the row that closes the step; returns the delays, the alarm, the line at the receiver, the whole text."""
    watcher = TopicWatcher(product.kafka.bootstrap, product.topic("alarms"))
    try:
        send_rows(product, prepared, 0, prepared.alarm)
        wait_for(lambda: caught_up(product.kafka.bootstrap, product.worker.prefix), 60, "the past has been worked off")
        already = len(watcher.records)
        time.sleep(1.0)
        producer = Producer({"bootstrap.servers": product.kafka.bootstrap, "acks": "all", "linger.ms": 0})
        # A plant's producer is connected long before.
        producer.list_topics(product.topic("readings"), timeout=10)
        sent = time.time()
        producer.produce(product.topic("readings"), prepared.rows[prepared.alarm], ASSET.encode(), 0)
        producer.flush(10)
        wait_for(lambda: len(watcher.records) > already, 20, "the alarm is on its topic", each=0.002)
        on_topic, record = watcher.records[already]
        alarm = Alarm.model_validate_json(record.value())

        def held() -> list[str]:
            alerts = [one["annotations"] for one in product.alertmanager.alerts()]
            return [texts["description"] for texts in alerts if texts.get("alarm_id") == alarm.id]

        wait_for(lambda: bool(held()), 20, "Alertmanager has the alarm", each=0.005)
        at_alertmanager = time.time()
        wait_for(lambda: bool(received(product, "operators firing")), 20, "the receiver got the text", each=0.005)
        at_receiver, text = received(product, "operators firing")[-1]
        return Delays(on_topic - sent, at_alertmanager - sent, at_receiver - sent), alarm, text, held()[0]
    finally:
        watcher.stop()


def received(product: Product, what: str) -> list[tuple[float, str]]:
    """Lines at the receiver that hold these words."""
    return [(when, line) for when, line in product.receiver.lines if what in line]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep simulation and bundle there, and use them again next time")
    kept = parser.parse_args().folder
    for reason in (why_no_kafka(), why_no_monitoring()):
        if reason is not None:
            sys.exit(f"the stack cannot run here: {reason}")
    with tempfile.TemporaryDirectory(prefix="stack-") as name:
        folder = Path(name) if kept is None else kept
        folder.mkdir(parents=True, exist_ok=True)
        if kept is None or not (kept / "scores.csv").exists():
            print("simulating a paper machine and fitting the recipe `simulated` on its past ...", flush=True)
        prepared = prepare(folder)
        print("starting broker, detector, forwarder, Alertmanager, Prometheus and a receiver ...", flush=True)
        started = time.monotonic()
        with Product(folder, prepared.bundle) as product:
            print(f"  all ready after {time.monotonic() - started:.1f} s", flush=True)
            delays, alarm, text, whole = time_an_alarm(product, prepared)
            print(
                f"\nbreak simulated: the row of {alarm.raised_at} is sent, two to four minutes before the sheet tears"
            )
            print(f"  {1000 * delays.topic:6.0f} ms  alarm on topic, id {alarm.id}")
            print(f"  {1000 * delays.alertmanager:6.0f} ms  Alertmanager has it")
            print(f"  {1000 * delays.receiver:6.0f} ms  receiver got the text:\n\n    {text}\n")
            print("    in full:\n" + "".join(f"      {line}\n" for line in whole.splitlines()))
            rest = time.time()
            send_rows(product, prepared, prepared.alarm + 1, len(prepared.rows))
            wait_for(lambda: bool(received(product, "operators resolved")), 30, "the alarm is resolved at the receiver")
            print(f"  the break and the rows after it sent: resolved at the receiver {time.time() - rest:.1f} s later")
            codes = product.stop()
        print(f"  everything stopped; exit codes: {', '.join(f'{name} {code}' for name, code in codes.items())}")
    clean = all(code == 0 for code in codes.values())
    quick = delays.receiver < LIMIT_SECONDS
    print(f"\nend to end {delays.receiver:.2f} s ({'under' if quick else 'OVER'} {LIMIT_SECONDS:g} s)")
    return 0 if clean and quick else 1


if __name__ == "__main__":
    sys.exit(main())
