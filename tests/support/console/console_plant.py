"""A plant for the console: four machines with a day behind them, alarms caught and missed, and steps that go on.

    python -m tests.support.console.console_plant [--port 8900] [--every 1.0]

serves the console on it until Ctrl-C.
"""

import argparse
import asyncio
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from aiohttp import web

from stream_detector.messages import Alarm, Costs, Feedback, LoggedEvent, TopSensor, to_iso
from stream_detector.operations.console.glances import Held, Turns
from stream_detector.operations.console.guard import Guard
from stream_detector.operations.console.history import History
from stream_detector.operations.console.server import add_console
from stream_detector.operations.console.views import PlantView, RecordsState, Sample, SensorShare, WorkerView
from stream_detector.operations.downtime.planned import Planner

STEP_SECONDS = 120.0
STEPS = 360
BUNDLE = "3f9c2a7be41d8056"
THRESHOLD = 0.05
SENSORS = tuple(f"x{number}" for number in range(1, 13))
GUILTY = ("x7", "x3", "x11")


class Machine:
    """One machine: sensors that wander slowly, and drift apart before an event."""

    def __init__(self, asset: str, seed: int, events_at: tuple[int, ...], silent: int = 0) -> None:
        self.asset = asset
        self._random = random.Random(seed)
        self._phase = [self._random.uniform(0, 2 * math.pi) for _ in SENSORS]
        self._level = [10 ** self._random.uniform(-0.5, 2.3) for _ in SENSORS]
        self.events_at = set(events_at)
        self.silent = silent
        self.trouble = 0.0

    def sample(self, step: int, time_: float, *, alarm: bool, warming_up: bool) -> Sample:
        expected, values = [], []
        for index, sensor in enumerate(SENSORS):
            usual = self._level[index] * (1 + 0.06 * math.sin(self._phase[index] + step / (25 + 4 * index)))
            noise = self._level[index] * self._random.gauss(0, 0.004)
            away = self._level[index] * 0.05 * self.trouble if sensor in GUILTY else 0.0
            expected.append(usual)
            values.append(usual + noise + away * (1 - 0.3 * GUILTY.index(sensor) if sensor in GUILTY else 0))
        for index in range(self.silent):
            values[-1 - index] = math.nan
        error = np.abs(np.asarray(values) - np.asarray(expected)) / np.asarray(self._level)
        error = np.where(np.isfinite(error), error, 0.0) ** 2
        shares = error / error.sum()
        order = np.argsort(-shares)[:5]
        probability = min(0.92, 0.009 + 0.004 * self._random.random() + 0.16 * self.trouble**1.5)
        return Sample(
            asset=self.asset,
            time=time_,
            step_seconds=STEP_SECONDS,
            score=None if warming_up else float(error.mean() * 1e4),
            threshold=THRESHOLD,
            probability=None if warming_up else probability,
            alarm=alarm,
            degraded=self.silent,
            warming_up=warming_up,
            bundle=BUNDLE,
            top_sensors=tuple(
                SensorShare(SENSORS[i], float(shares[i]), round(values[i], 4), round(expected[i], 4)) for i in order
            ),
            sensors=SENSORS,
            values=np.asarray(values, dtype=np.float32),
            expected=np.asarray(expected, dtype=np.float32),
        )


def alarm_of(sample: Sample, raised_at: float, cleared_at: float | None = None) -> Alarm:
    """The alarm that a sample at `raised_at` would raise."""
    return Alarm(
        id=f"{sample.asset}-{int(raised_at / STEP_SECONDS)}-{BUNDLE}",
        asset=sample.asset,
        state="raised" if cleared_at is None else "cleared",
        raised_at=to_iso(raised_at),
        cleared_at=None if cleared_at is None else to_iso(cleared_at),
        expected_from=to_iso(raised_at + STEP_SECONDS),
        expected_until=to_iso(raised_at + 2 * STEP_SECONDS),
        probability=sample.probability,
        score=sample.score or 0.0,
        threshold=THRESHOLD,
        top_sensors=[
            TopSensor(sensor=top.sensor, share=top.share, value=top.value, expected=top.expected)
            for top in sample.top_sensors
        ],
        bundle=BUNDLE,
        recipe="paper-mill",
        costs=Costs(),
        step_seconds=STEP_SECONDS,
    )


class ConsolePlant:
    """Feeds a `History`. `sent` keeps the feedback that was written; `clock` gives the wall clock."""

    def __init__(self, clock: Callable[[], float] = time.time, planner: Planner | None = None) -> None:
        self.clock = clock
        self.sent: list[Feedback] = []
        self.ready = True
        self.records: RecordsState = "live"
        self.started_at = clock()
        self.others = True
        self.expects_changes = False
        self.notice: str | None = None
        self.partitions = (4, 4)
        self.history = History(self._worker, self._keep, clock, planner=planner)
        self.history.advise = lambda alarm: f"Slow down and look at {alarm.top_sensors[0].sensor} first."
        self.machines = [
            Machine("pm-1", 1, (60, 205, 290)),
            Machine("pm-2", 2, (140,)),
            Machine("pm-3", 3, (250,), silent=2),
            Machine("pm-4", 4, ()),
        ]
        self.step = int(clock() / STEP_SECONDS) - STEPS
        self.first = self.step
        self.raised: dict[str, tuple[Sample, float]] = {}
        self.newest: dict[str, Sample] = {}
        for _ in range(STEPS):
            self.advance()

    def _worker(self) -> WorkerView:
        return WorkerView(
            "detector-0",
            "0.1.0",
            self.started_at,
            BUNDLE,
            "paper-mill",
            ready=self.ready,
            records=self.records,
            partitions=self.partitions[0],
            all_partitions=self.partitions[1],
            others=self.others,
            expects_changes=(BUNDLE,) if self.expects_changes else (),
            notice=self.notice,
        )

    async def _keep(self, feedback: Feedback) -> None:
        self.sent.append(feedback)

    def advance(self) -> None:
        """One step of every machine; a machine with an event ahead gets into trouble first."""
        at = self.step - self.first
        start = self.step * STEP_SECONDS
        samples = []
        for machine in self.machines:
            ahead = min((event - at for event in machine.events_at if event >= at), default=99)
            machine.trouble = max(0.0, (5 - ahead) / 5) if ahead < 5 else max(0.0, machine.trouble - 0.5)
            missed = machine.asset == "pm-2"
            if missed:
                machine.trouble *= 0.2
            up = machine.trouble > 0.55
            warming = machine.asset == "pm-4" and at < STEPS - 3 and at % 90 < 6
            sample = machine.sample(self.step, start + STEP_SECONDS, alarm=up, warming_up=warming)
            samples.append(sample)
            self._alarm(machine, sample, start, up)
            if at in machine.events_at:
                event = LoggedEvent(time=to_iso(start), event="break", logged_at=to_iso(start))
                self.history.observe_event(machine.asset, event)
        self.newest = {sample.asset: sample for sample in samples}
        self.history.observe(samples)
        self.step += 1

    def observe(self, *changed: Sample) -> None:
        """Shows these instead of the newest samples of their assets."""
        self.newest |= {sample.asset: sample for sample in changed}
        self.history.observe(list(self.newest.values()))

    def _alarm(self, machine: Machine, sample: Sample, start: float, up: bool) -> None:
        if up and machine.asset not in self.raised:
            self.raised[machine.asset] = (sample, start)
            self.history.observe_alarm(alarm_of(sample, start))
        elif not up and machine.asset in self.raised:
            first, raised_at = self.raised.pop(machine.asset)
            self.history.observe_alarm(alarm_of(first, raised_at, start))

    def tell(self, asset: str, age_seconds: float = 30.0, **changes: Any) -> None:
        """An asset of another worker, as it was so long ago."""
        time_ = self.clock() - age_seconds
        sample = Machine("", 9, ()).sample(0, time_, alarm=False, warming_up=False)
        [glance] = Turns("detector-1", self.clock).due([Held(replace(sample, asset=asset, **changes), time_)])
        self.history.observe_glance(glance, self.clock())

    def neighbours(self, count: int, areas: int = 4, in_alarm: int = 0, silent: int = 0) -> None:
        """So many assets of another worker, by area; of some no data comes any more."""
        now = self.clock()
        machine = Machine("", 9, ())
        told = Turns("detector-1", self.clock)
        for number in range(count):
            name = f"line{number % areas + 1}/dry-{number:03d}"
            up, old = number < in_alarm, in_alarm <= number < in_alarm + silent
            time_ = now - (7_200.0 if old else 30.0)
            sample = machine.sample(number, time_, alarm=up, warming_up=False)
            sample = replace(sample, asset=name, probability=0.12 if up else sample.probability)
            [glance] = told.due([Held(sample, time_)])
            self.history.observe_glance(glance, now)
            if up:
                self.history.observe_alarm(alarm_of(sample, now - 120.0))

    def break_ahead(self, asset: str, steps: int = 2) -> None:
        """An event of this machine so many steps from now."""
        machine = next(machine for machine in self.machines if machine.asset == asset)
        machine.events_at.add(self.step - self.first + steps)

    def false_alarm(self, asset: str) -> None:
        """An alarm in the past that nothing followed."""
        machine = next(machine for machine in self.machines if machine.asset == asset)
        machine.trouble = 0.7
        start = (self.step - 100) * STEP_SECONDS
        sample = replace(machine.sample(0, start, alarm=True, warming_up=False), probability=0.071)
        self.history.observe_alarm(alarm_of(sample, start, start + 3 * STEP_SECONDS))
        machine.trouble = 0.0


def application(plant: ConsolePlant, guard: Guard | None = None, words: PlantView | None = None) -> web.Application:
    """A server with nothing but the console on it."""
    app = web.Application()
    add_console(app, plant.history, guard or Guard("127.0.0.1", None), words)
    return app


async def _serve(port: int, every_seconds: float) -> None:
    plant = ConsolePlant()
    plant.false_alarm("pm-1")
    plant.break_ahead("pm-1")
    plant.advance()
    runner = web.AppRunner(application(plant))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"http://127.0.0.1:{port}/")
    while True:
        await asyncio.sleep(every_seconds)
        plant.advance()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--every", type=float, default=120.0, help="seconds between two steps")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.every))
