"""Random groups of workers on a broker in memory, whose log says which bundle decides, against plain engines.

Workers are killed, several at a time, while acknowledgements come late; partitions are added; offsets are set back.
"""

import asyncio
import atexit
import json
import logging
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import patch

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.bundle_table import AnyBundle, BundleTable
from stream_detector.bundle.manifest import FleetRecord
from stream_detector.decoding.control_records import (
    ANNOUNCE,
    DROP_LINE,
    KEY,
    SWITCH,
    SWITCH_LINE,
    WITHDRAW,
    WITHDRAW_LINE,
    Order,
    to_value,
)
from stream_detector.engine.engine import Engine
from stream_detector.errors import BundleError
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.worker import switching
from tests.streaming.test_local_audit import audit
from tests.support.plant import CALIBRATED, FLEET, FLEET_MACHINES, SENSORS, Record, make_log, small_bundle
from tests.support.stack.local_workers import SETTINGS, Plant, until
from tests.support.switches import Said, decided_by_log, decided_by_table

LINES = {"machine-*": "plain", "machine-[135]": "fleet"}
GLOBS = ("machine-*", "machine-[135]", "machine-3", "machin*[0-3]", "machine-?")

WITHHELD = "withheld"
LATER_MACHINES = 3
"""That begin in the partitions that are added."""

CASE_SECONDS = 240.0


@cache
def bundles() -> dict[str, Bundle]:
    """By name: bundles of which any may follow any other."""
    folder = Path(tempfile.mkdtemp(prefix="stream-detector-groups-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = {
        "plain": small_bundle(folder / "plain"),
        "threshold": small_bundle(folder / "threshold", threshold=2.45),
        "sensors": small_bundle(folder / "sensors", threshold=1.9, sensors=SENSORS[:3]),
        "slower": small_bundle(folder / "slower", threshold=2.6, step_seconds=20.0),
        "fleet": small_bundle(folder / "fleet", threshold=2.2, kind=FLEET, fleet=fleet_record(8, 40)),
        "fleet-of-fewer": small_bundle(
            folder / "fleet-of-fewer", threshold=2.0, sensors=SENSORS[1:], kind=FLEET, fleet=fleet_record(3, 11)
        ),
        "head": small_bundle(folder / "head", threshold=0.2, kind=CALIBRATED),
        WITHHELD: small_bundle(folder / WITHHELD, threshold=2.2),
    }
    return {name: load_bundle(path) for name, path in made.items()}


def fleet_record(least: int, provisional: int) -> FleetRecord:
    own = {FLEET_MACHINES[0]: 1.9}
    return FleetRecord(assets=FLEET_MACHINES, provisional_steps=provisional, least_steps=least, thresholds=own)


@dataclass
class GroupCase:
    """One draw. `lines`: of the table that the group is started with; None: it is started with the bundle `first`."""

    rng: random.Random
    lines: dict[str, str] | None
    first: str = "plain"
    plant: Plant = field(default_factory=lambda: Plant(partitions=2))
    now: dict[str, str] = field(default_factory=dict)
    stands_before: str | None = None
    """Glob of the line whose record names the bundle that is withheld."""

    def __post_init__(self) -> None:
        self.now.update(self.lines or {})

    @property
    def bundle(self) -> AnyBundle:
        found = bundles()
        return (
            found[self.first]
            if self.lines is None
            else BundleTable.of((g, found[name]) for g, name in self.lines.items())
        )

    def fetch(self, bundle_id: str) -> Bundle:
        (name,) = (name for name, each in bundles().items() if each.manifest.bundle_id == bundle_id)
        if name == WITHHELD:
            raise BundleError("it is not there")
        return bundles()[name]

    def write(self, control: str, name: str, glob: str) -> None:
        of_line = {SWITCH: SWITCH_LINE, WITHDRAW: WITHDRAW_LINE}
        if self.lines is not None:
            control = of_line.get(control, control)
        order = Order(
            control, SETTINGS.group, bundles()[name].manifest.bundle_id, "2026-11-01T00:00:00Z", "Kim", "a case",
            glob if self.lines is not None else "",
        )  # fmt: skip
        for number in range(self.plant.partitions):
            self.plant.broker.append(SETTINGS.topic_readings, to_value(order), KEY, number)

    async def run(self) -> None:
        """The log comes in parts, between which the bundles change, partitions are added and blows fall."""
        rng, changes = self.rng, self.rng.randint(1, 5)
        grows_at = rng.choice([None, *range(changes)])
        log = make_log(rng.randrange(10**6), steps=rng.choice([30, 60, 120]), assets=6, partitions=2)
        size = len(log) // (changes + 1) + 1
        self.plant.send(log[:size])
        for place in range(changes):
            await self._blows()
            if place == grows_at:
                self._grow()
            self._change()
            if rng.random() < 0.4:
                await self._blows()  # the record is the newest of the log
            self.plant.send(log[(place + 1) * size : (place + 2) * size])
            await self._blows()
            if self.stands_before is not None:
                await self._withdraw()
        await self._blows()
        await self._read_to_the_end()

    async def _read_to_the_end(self) -> None:
        """By one worker, in peace."""
        worker = self.plant.worker(self.bundle, load_bundle=self.fetch)
        running = asyncio.create_task(worker.run())
        await until(self.plant.caught_up, CASE_SECONDS)
        worker.stop()
        assert await running == 0

    def _grow(self) -> None:
        """More partitions, with machines of their own."""
        old = self.plant.partitions
        self.plant.partitions = old + self.rng.choice([1, 2])
        self.plant.broker.create_topic(SETTINGS.topic_readings, self.plant.partitions)
        self.plant.group.rebalance()
        for machine in range(LATER_MACHINES):
            own = make_log(self.rng.randrange(10**6), steps=30, assets=1, partitions=1)
            number = old + machine % (self.plant.partitions - old)
            self.plant.send([Record(number, b"machine-%d" % (6 + machine), record.value) for record in own])

    def _change(self) -> None:
        rng, glob = self.rng, self.rng.choice(GLOBS)
        name = rng.choice([name for name in bundles() if name != WITHHELD])
        if rng.random() < 0.3:
            self.write(ANNOUNCE, name, glob)
        if rng.random() < 0.2:
            self.stands_before = glob
            self.write(SWITCH, WITHHELD, glob)
        elif rng.random() < 0.2 and len(self.now) > 1:
            glob = rng.choice(sorted(self.now))
            self.write(DROP_LINE, self.now.pop(glob), glob)
        else:
            self._switch(glob, name)

    def _switch(self, glob: str, name: str) -> None:
        self.write(SWITCH, name, glob)
        if self.lines is not None:
            self.now[glob] = name

    async def _withdraw(self) -> None:
        """Workers may stand before a record by now; it is taken back, and at times the bundle comes after all."""
        glob, self.stands_before = str(self.stands_before), None
        name = self.now.get(glob, "plain")
        self.write(WITHDRAW, WITHHELD, glob)
        if self.lines is not None and glob not in self.now:
            self.write(DROP_LINE, name, glob)
        else:
            self._switch(glob, name)

    async def _blows(self) -> None:
        rng, plant = self.rng, self.plant
        for _ in range(rng.randint(0, 3)):
            if rng.random() < 0.15:
                for number in range(plant.partitions):
                    if rng.random() < 0.7 and plant.committed(number) is not None:
                        plant.commit_of_another(rng.randint(1, plant.committed(number) or 1), number=number)
            await plant.kill_some(lambda: plant.worker(self.bundle, load_bundle=self.fetch), rng)
            await _end_all_tasks()
            plant.streams.clear()
            plant.forget_held()

    def truth(self) -> Said:
        records = self.plant.broker.records(SETTINGS.topic_readings)

        def engine_of(bundle_id: str) -> Engine:
            return Engine(self.fetch(bundle_id), limits_of(SETTINGS))

        found = bundles()
        if self.lines is None:
            return decided_by_log(records, SETTINGS.group, found[self.first].manifest.bundle_id, engine_of)
        lines = {glob: found[name].manifest.bundle_id for glob, name in self.lines.items()}
        return decided_by_table(records, SETTINGS.group, lines, engine_of)


async def says_what_its_log_says(case: GroupCase) -> None:
    """Nothing lost, different, invented or unaccounted; and an audit says so."""
    await case.run()
    said, plant = case.truth(), case.plant
    found = [(alarm["id"], alarm["state"]) for alarm in map(json.loads, plant.alarms())]
    twice = [key for key, count in Counter(found).items() if count > 1]
    assert not twice, f"alarms with two contents: {twice}"
    wanted = set(said.alarms)
    assert plant.alarms() == set(said.alarms.values()), (
        f"lost {sorted(wanted - {*found})[:3]}, invented {sorted({*found} - wanted)[:3]}, of {len(wanted)}"
    )
    letters = {
        (letter["partition"], letter["offset"])
        for letter in map(json.loads, filter(None, plant.broker.values(SETTINGS.topic_dead_letters)))
    }
    # A malformed record of an asset that nobody decides about is one too: plain engines are not shown it, an audit is.
    lost = set(said.dead_letters) - letters
    assert not lost, f"dead letters lost {sorted(lost)[:5]}"
    report = await audit(plant, case.bundle, *bundles().values())
    assert report.good, report.as_json()
    assert not report.not_judged, report.not_judged


async def _end_all_tasks() -> None:
    """As a kill does: what a worker has begun goes on nowhere."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        # Again and again: `wait_for` may swallow a cancellation that comes as its time is up.
        await asyncio.wait(others, timeout=0.05)


def group_case(rng: random.Random) -> GroupCase:
    """Of one bundle, with a fleet or a head or neither, or of a table."""
    if rng.random() < 0.5:
        return GroupCase(rng, dict(LINES))
    return GroupCase(rng, None, first=rng.choice(["fleet", "plain", "head"]))


def run_case(case: GroupCase) -> None:
    logging.disable(logging.CRITICAL)
    try:
        with patch.object(switching, "RETRY_SECONDS", 0.05):
            asyncio.run(says_what_its_log_says(case))
    finally:
        logging.disable(logging.NOTSET)
