"""`python -m tests.chaos.moment_worker run ...`: a worker that the kernel kills at a moment of its flush, or whose plan
takes long.

`CHAOS_STRIKES` is a folder: the worker kills itself at the next of `POINTS` and leaves a file there, until there are
`CHAOS_STRIKE_TIMES` of them. `CHAOS_SLOW_PLAN_SECONDS` makes every plan take so much longer.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_detector.__main__ import main
from stream_detector.streaming.clients.producer import Burst, ConfirmedProducer
from stream_detector.streaming.worker import composition
from stream_detector.streaming.worker.offsets.planning import Planner
from stream_detector.streaming.worker.pipeline import Pipeline

POINTS = ("taken", "sent", "acknowledged", "declared", "committed", "alarms sent")
MOST_PASSES = 4
"""A point is passed so often at most before the worker dies there."""


class Moment:
    """When this process dies: at its point, the n-th time that it passes there."""

    def __init__(self, folder: Path | None, times: int, seed: str) -> None:
        self._folder = folder
        self._number = 0 if folder is None else len(list(folder.iterdir()))
        self._over = folder is None or self._number >= times
        self._point = POINTS[self._number % len(POINTS)]
        self._left = random.Random(f"{seed}-{self._number}").randint(1, MOST_PASSES)

    def pass_by(self, point: str) -> None:
        if self._over or point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            assert self._folder is not None
            (self._folder / f"{self._number}").write_text(point)
            print(f"killed at: {point}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


class StruckProducer(ConfirmedProducer):
    async def confirm(self, burst: Burst) -> list[int | None]:
        topics = {message.topic for message in burst.messages}
        if any(topic.endswith(".state") for topic in topics):
            moment.pass_by("sent")
        if any(topic.endswith(".alarms") for topic in topics):
            moment.pass_by("alarms sent")
        return await super().confirm(burst)


class StruckPipeline(Pipeline):
    async def _acknowledge(self, flushed: Sequence[Any]) -> None:
        if flushed:
            moment.pass_by("taken")
        await super()._acknowledge(flushed)
        if flushed:
            moment.pass_by("acknowledged")

    async def flush(self) -> None:
        await super().flush()
        if self.to_commit():
            moment.pass_by("declared")

    def committed(self, offsets: Mapping[int, int]) -> None:
        moment.pass_by("committed")
        super().committed(offsets)


class SlowPlanner(Planner):
    async def plan(self, *arguments: Any) -> Any:
        seconds = float(os.environ.get("CHAOS_SLOW_PLAN_SECONDS", "0"))
        if seconds:
            print("plan begins", file=sys.stderr, flush=True)
            await asyncio.sleep(seconds / 2)
        planned = await super().plan(*arguments)
        await asyncio.sleep(seconds / 2)
        return planned


if __name__ == "__main__":
    strikes = os.environ.get("CHAOS_STRIKES")
    moment = Moment(
        None if strikes is None else Path(strikes), int(os.environ.get("CHAOS_STRIKE_TIMES", "0")),
        os.environ.get("CHAOS_STRIKE_SEED", ""),
    )  # fmt: skip
    composition.Pipeline = StruckPipeline  # type: ignore[attr-defined]
    composition.Planner = SlowPlanner  # type: ignore[attr-defined]
    composition.ConfirmedProducer = StruckProducer  # type: ignore[attr-defined]
    sys.exit(main())
