"""The demo from start to end: prepare, start broker and worker, show, sum up, clean up."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from stream_detector.demo import preparation
from stream_detector.demo.plain import PlainView, summary
from stream_detector.demo.preparation import Prepared
from stream_detector.demo.show import LiveView, Pictures, Show
from stream_detector.demo.watch import Watch
from stream_detector.demo.worker_process import WorkerProcess
from stream_detector.errors import DataError, UsageError
from stream_detector.extras import TRAIN, need
from stream_detector.messages import Costs
from stream_detector.settings import PREFIX, Settings
from stream_detector.streaming.clients import librdkafka
from stream_detector.streaming.clients.embedded import EmbeddedBroker
from stream_detector.streaming.sources.replay import Form, Replay, need_topics
from stream_detector.streaming.topics.topics import worker_topics

SIMULATED = "paper-machine"
READINGS_PER_SECOND = 3_000.0
"""Faster than this, the plant sends one message a row instead of one a sensor."""
TOPICS = ("readings", "events", "alarms", "scores", "dead_letters", "state", "alarm_states", "feedback")


@dataclass(frozen=True)
class Demo:
    """What to show; the fields are the options of the command."""

    folder: Path
    kept: bool
    bundle: Path | None
    data: Path | None
    kafka: str | None
    plain: bool
    days: float
    past_days: float
    seconds: float
    seed: int
    json: Path | None
    picture: Path | None

    def run(self) -> None:
        """Raises the errors of the parts; Ctrl-C while the plant runs ends early, with the summary so far."""
        began = time.monotonic()
        self._check()
        prepared = self._prepare()
        grid, lead = prepared.manifest.grid, prepared.manifest.lead
        costs = Costs(**prepared.manifest.costs.model_dump())
        watch = Watch(self._asset, grid.step_seconds, (lead.until_steps + 1) * grid.step_seconds, costs)
        stopped = False
        with _terminable(), self._broker() as (settings, environment), ExitStack() as stack:
            self._say("starting a worker")
            log = self.folder / "worker.log"
            worker = stack.enter_context(WorkerProcess(prepared.bundle, settings.bootstrap, log, environment))
            worker.wait_until_ready()
            try:
                self._show(prepared, settings, watch, worker)
            except KeyboardInterrupt:
                stopped = True
        watch.over = True
        self._sum_up(watch, stopped, time.monotonic() - began)

    def _check(self) -> None:
        """Check at once what would otherwise fail after minutes of preparation."""
        if self.bundle is None or self.data is None:
            need("the demo without --bundle and --data", *TRAIN)
        if self.bundle is not None:
            preparation.manifest_of(self.bundle)
        if self.kafka is not None:
            librdkafka.producer(Settings.load(bootstrap=self.kafka))

    @property
    def _asset(self) -> str:
        return SIMULATED if self.data is None else self.data.name.split(".")[0]

    def _prepare(self) -> Prepared:
        if self.bundle is not None and self.data is not None:
            return preparation.load(self.bundle, self.data)
        self._say(f"simulating a paper machine, {self.past_days + self.days:g} days")
        past, live = preparation.simulate(self.folder, self.past_days, self.days, self.seed)
        bundle = self.bundle
        if bundle is None:
            self._say(f"fitting a detector on the first {self.past_days:g} days (recipe {preparation.RECIPE})")
            bundle = preparation.fit(past, self.folder)
        prepared = preparation.load(bundle, live)
        if len(prepared.live) < 10:
            raise DataError(f"{live} has {len(prepared.live)} rows, too few to show anything; give more --days")
        return prepared

    @contextmanager
    def _broker(self) -> Iterator[tuple[Settings, dict[str, str]]]:
        """Settings for this process, and the environment that gives the worker the same ones."""
        environment = {f"{PREFIX}OUTAGE_SECONDS": "30", f"{PREFIX}LOG_LEVEL": "INFO"}
        if self.kafka is None:
            # Unlike a real one, this broker holds a fetch back even when something comes in the meantime.
            environment[f"{PREFIX}FETCH_WAIT_SECONDS"] = "0.02"
            with EmbeddedBroker() as broker:
                settings = Settings.load(bootstrap=broker.bootstrap, publish_scores=True)
                broker.create_topics(worker_topics(settings))
                yield settings, environment
            return
        # Topics of this run alone: what is on the broker already is neither read nor touched.
        prefix = f"demo-{os.getpid()}-{int(time.time())}"
        own = {f"topic_{name}": f"{prefix}.{name.replace('_', '-')}" for name in TOPICS}
        settings = Settings.load(bootstrap=self.kafka, group=prefix, publish_scores=True, topic_partitions=1, **own)
        environment |= {f"{PREFIX}{name.upper()}": value for name, value in own.items()}
        environment |= {f"{PREFIX}GROUP": prefix, f"{PREFIX}TOPIC_PARTITIONS": "1"}
        client = librdkafka.producer(settings)
        need_topics(client, settings)
        self._say(f"topics {prefix}.* on {self.kafka}, removed at the end")
        try:
            yield settings, environment
        finally:
            librdkafka.delete_topics(settings, list(own.values()))

    def _show(self, prepared: Prepared, settings: Settings, watch: Watch, worker: Any) -> None:
        from rich.console import Console
        from rich.live import Live

        times = prepared.live.times.tolist()
        speed = max((times[-1] - times[0]) / self.seconds, 1e-6)
        client = librdkafka.producer(settings)
        # The embedded broker keeps 5 MB a partition: a worker that lags on a busy machine must not lose what it needs.
        rate = prepared.live.values.size / self.seconds
        form: Form = "readings" if rate <= READINGS_PER_SECOND else "rows"
        names = settings.topic_readings, settings.topic_events
        replay = Replay(prepared.live, client, self._asset, *names, form=form, speed=speed)
        where = "embedded broker" if self.kafka is None else self.kafka
        pictures = None if self.picture is None else Pictures(self.picture)
        show = Show(settings, watch, worker, speed, where, pictures)
        self._say(f"replaying {(times[-1] - times[0]) / 86_400:.1f} days, {speed:,.0f} times real time")
        if self.plain:
            show.run(replay, PlainView(), times)
        else:
            with Live(console=Console(), screen=True, auto_refresh=False) as live:
                show.run(replay, LiveView(live), times)

    def _sum_up(self, watch: Watch, stopped: bool, took: float) -> None:
        print("stopped early; until then:" if stopped else "what the alarms were worth:")
        for line in summary(watch):
            print(line)
        if self.kept:
            print(f"bundle, report, data and the worker's log: {self.folder}")
        else:
            print(
                "--keep DIR keeps the bundle, its report, the data and the worker's log; next: README.md, your own data"
            )
        if self.picture is not None:
            print(f"picture of the screen: {self.picture}")
        if self.json is not None:
            self._write_json(self.json, watch, took)

    def _write_json(self, path: Path, watch: Watch, took: float) -> None:
        tally = watch.tally()
        content = {name: getattr(tally, name) for name in (*tally.__dataclass_fields__, "saved", "saved_share")}
        content |= {"readings": watch.readings, "steps_scored": watch.scored, "delay_seconds": watch.delay_seconds}
        try:
            path.write_bytes(orjson.dumps(content | {"took_seconds": took}, option=orjson.OPT_INDENT_2) + b"\n")
        except OSError as error:
            raise UsageError(f"--json {path} cannot be written: {error.strerror or error}") from error

    def _say(self, text: str) -> None:
        print(f"- {text}", flush=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does: the worker is a process of its own and must not outlive this one."""

    def interrupt(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
