"""Reads several partitions with one engine, batches of them together, and each of them with an engine of its own."""

import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from msgspec.structs import replace as replace_struct

from stream_detector.engine.engine import Engine, Outcome, RecordBatch
from stream_detector.engine.outcome import Closed
from stream_detector.engine.table_engine import TableEngine
from tests.engine.test_engine import Record, batches

AnyEngine = Engine | TableEngine
MOST_AT_ONCE = 40
"""Records of a partition."""
RESTARTS = 0.1
"""So often a partition is given away after a batch, and comes back."""


class Reader:
    """One partition: its log, how far it is read and committed, and what its snapshots say."""

    def __init__(self, number: int, log: list[Record], alone: AnyEngine) -> None:
        self.number, self.log, self.alone = number, log, alone
        self.position = 0
        self._kept: dict[str, bytes] = {}

    def next_batch(self, rng: random.Random) -> RecordBatch:
        begin, self.position = self.position, min(self.position + rng.randint(1, MOST_AT_ONCE), len(self.log))
        [batch] = batches(self.log[: self.position], [], begin)
        return replace_struct(batch, partition=self.number)

    def keep(self, outcome: Outcome) -> None:
        for asset, data in outcome.snapshots:
            self._kept.pop(asset, None)
            if data is not None:
                self._kept[asset] = data

    def restart(self, together: AnyEngine) -> None:
        committed, low = self.position, self.alone.low(self.number)
        for engine in (together, self.alone):
            engine.forget(self.number)
            engine.restore(self.number, self._kept, committed, 1)
        self.position = committed if low is None else min(low, committed)


def check_together(make: Callable[[], AnyEngine], logs: list[list[Record]], rng: random.Random) -> int:
    """Every outcome is that of the engine that reads its partition alone; returns how many alarms there were."""
    together, alarms = make(), 0
    readers = [Reader(number, log, make()) for number, log in enumerate(logs)]
    while going := [reader for reader in readers if reader.position < len(reader.log)]:
        chosen = rng.sample(going, rng.randint(1, len(going)))
        of_each = [reader.next_batch(rng) for reader in chosen]
        found = together.process_all(of_each, publish_scores=True)
        wanted = [reader.alone.process(batch, True) for reader, batch in zip(chosen, of_each, strict=True)]
        assert _without_steps(found) == _without_steps(wanted)
        assert _closed(found) == _closed(wanted)
        assert repr(list(map(_told, found))) == repr(list(map(_told, wanted)))
        for reader, outcome in zip(chosen, found, strict=True):
            reader.keep(outcome)
            assert together.low(reader.number) == reader.alone.low(reader.number)
            assert together.snapshots(reader.number) == reader.alone.snapshots(reader.number)
            if rng.random() < RESTARTS:
                reader.restart(together)
            alarms += len(outcome.alarms)
    statuses = [status for reader in readers for status in reader.alone.status()]
    assert sorted(map(repr, together.status())) == sorted(map(repr, statuses))
    return alarms


def _without_steps(outcomes: list[Outcome]) -> list[Outcome]:
    """What became of steps is counted with one of them for all; `_closed` compares it."""
    return [replace(outcome, closed=Closed(), steps=[]) for outcome in outcomes]


def _closed(outcomes: list[Outcome]) -> dict[str, Any]:
    """What became of the steps of all."""
    names = [field.name for field in fields(Closed) if field.name not in ("ratios", "expected_events")]
    found: dict[str, Any] = {name: sum(getattr(outcome.closed, name) for outcome in outcomes) for name in names}
    ratios = [ratio for outcome in outcomes for part in outcome.closed.ratios for ratio in part.tolist()]
    return found | {"ratios": sorted(ratios)}


def _told(outcome: Outcome) -> list[tuple[Any, ...]]:
    """The steps that are told, by asset, for slots, in whose order they come, are no function of the log."""
    steps = [
        (asset, step, score)
        for found in outcome.steps
        for asset, step, score in zip(found.assets, found.step.tolist(), found.score.tolist(), strict=True)
    ]
    return sorted(steps, key=lambda each: each[0])
