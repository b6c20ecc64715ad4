"""The running demo: the replay in a thread, messages into the watch, the watch onto the terminal or into lines."""

import asyncio
import io
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from stream_detector.demo.screen import Frame
from stream_detector.demo.watch import Watch
from stream_detector.messages import Alarm, LoggedEvent, Score
from stream_detector.settings import Settings
from stream_detector.streaming.readers.topic_reader import TopicReader, TopicRecord
from stream_detector.streaming.sources.replay import Replay, Sent

QUIET_SECONDS = 0.1
IDLE_SECONDS = 4.0
"""Nothing came for so long after the last row was sent: all is shown."""


class View(Protocol):
    """A display of the demo; `news` is an alarm or an event that has just come."""

    def show(self, frame: Frame, news: list[Alarm | LoggedEvent]) -> None: ...


@dataclass
class Show:
    """Runs a replay and shows what the detector makes of it until the last row's score has come.

    `worker` is checked now and then: it raises when the worker has ended. `broker`: where it all runs, in words.
    """

    settings: Settings
    watch: Watch
    worker: Any
    speed: float
    broker: str
    pictures: "Pictures | None" = None

    def run(self, replay: Replay, view: View, times: list[float]) -> None:
        """Until all is shown; KeyboardInterrupt ends the replay and passes on.

        Args:
            times: event time of each row that the replay sends.
        """
        sent: queue.SimpleQueue[tuple[float, int, float] | BaseException] = queue.SimpleQueue()
        done = threading.Event()

        def tell(progress: Sent) -> None:
            sent.put((times[progress.rows - 1], progress.readings, time.monotonic()))

        def send() -> None:
            try:
                replay.run()
            except BaseException as error:  # noqa: BLE001 - handed to the main thread
                sent.put(error)
            done.set()

        replay.on_progress = tell
        thread = threading.Thread(target=send, name="plant", daemon=True)
        thread.start()
        try:
            asyncio.run(self._follow(view, sent, done, times))
        finally:
            replay.stop()
            thread.join(10)

    async def _follow(
        self, view: View, sent: "queue.SimpleQueue[Any]", done: threading.Event, times: list[float]
    ) -> None:
        reached, moved = times[0], time.monotonic()
        topics = [self.settings.topic_alarms, self.settings.topic_scores, self.settings.topic_events]
        async with TopicReader(self.settings, topics) as reader:
            async for records in reader.follow(QUIET_SECONDS):
                while not sent.empty():
                    told = sent.get()
                    if isinstance(told, BaseException):
                        raise told
                    reached = told[0]
                    self.watch.sent(*told)
                now = time.monotonic()
                news = [item for record in records if (item := self._take(record, now)) is not None]
                share = (reached - times[0]) / max(times[-1] - times[0], 1e-9)
                frame = Frame(self.watch, self.speed, share, self.broker)
                view.show(frame, news)
                if self.pictures is not None:
                    self.pictures.consider(frame)
                if records or not done.is_set():
                    moved = now
                all_scored = self.watch.time is not None and self.watch.time > times[-1]
                if done.is_set() and (all_scored or now - moved > IDLE_SECONDS) and not records:
                    if self.pictures is not None:
                        self.pictures.consider(frame, last=True)
                    return
                self.worker.check()

    def _take(self, record: TopicRecord, now: float) -> Alarm | LoggedEvent | None:
        """Into the watch; what is worth a line is returned."""
        if record.value is None:
            return None
        try:
            if record.topic == self.settings.topic_scores:
                self.watch.add_score(Score.model_validate_json(record.value), now)
            elif record.topic == self.settings.topic_alarms:
                alarm = Alarm.model_validate_json(record.value)
                return alarm if self.watch.add_alarm(alarm) else None
            elif record.topic == self.settings.topic_events:
                event = LoggedEvent.model_validate_json(record.value)
                self.watch.add_event((record.key or b"").decode(errors="replace"), event)
                return event
        except ValidationError:
            return None  # others may write to the same topics
        return None


class LiveView:
    """On a terminal: one screen, redrawn a few times a second."""

    FRAMES_PER_SECOND = 8

    def __init__(self, live: Any) -> None:
        self._live, self._drawn = live, 0.0

    def show(self, frame: Frame, news: list[Alarm | LoggedEvent]) -> None:  # noqa: ARG002 - the screen shows all
        now = time.monotonic()
        if now - self._drawn >= 1 / self.FRAMES_PER_SECOND:
            self._drawn = now
            self._live.update(frame, refresh=True)


class Pictures:
    """Saves the screen as an SVG picture, once, late in the replay while an alarm is open; at the end at the latest."""

    WIDTH, HEIGHT = 120, 36

    def __init__(self, path: Path) -> None:
        self._path, self._taken = path, False

    def consider(self, frame: Frame, last: bool = False) -> None:
        open_now = any(seen.verdict == "open" for seen in frame.watch.alarms())
        if not self._taken and (last or (frame.done > 0.7 and open_now)):
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        from rich.console import Console

        self._taken = True
        console = Console(width=self.WIDTH, height=self.HEIGHT, record=True, file=io.StringIO(), force_terminal=True)
        console.print(frame)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        console.save_svg(str(self._path), title="stream-detector demo")
