"""A worker's topics while it runs: what is named, what is made, and when the process should end."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from stream_detector.errors import StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.local.clients import local_log_reader
from stream_detector.streaming.topics.watch import TopicWatch
from stream_detector.streaming.worker.housekeeping import Housekeeping
from tests.support.event_loop import in_event_loop
from tests.support.pipelines import Rig

SETTINGS = Settings.load()
NAMES = (SETTINGS.topic_readings, SETTINGS.topic_state, SETTINGS.topic_alarms, SETTINGS.topic_dead_letters)
ALL = dict.fromkeys(NAMES, 2)


@dataclass
class Topics:
    """The brokers' topics; `made`: what the worker had to make or extend."""

    found: dict[str, int] = field(default_factory=lambda: dict(ALL))
    made: int = 0

    async def read(self, names: list[str]) -> Mapping[str, int]:
        return {name: count for name, count in self.found.items() if name in names}

    async def close(self) -> None: ...

    async def ensure(self, _: Settings) -> dict[str, int]:
        self.made += 1
        self.found = {**dict.fromkeys(ALL, 2), **self.found}
        self.found[SETTINGS.topic_state] = max(self.found[SETTINGS.topic_state], self.found[SETTINGS.topic_readings])
        return self.found


@dataclass
class House:
    topics: Topics
    keeping: Housekeeping
    rig: Rig

    async def look(self, at: float) -> str | None:
        self.rig.now = at
        await self.keeping.look()
        return self.keeping.trouble


def house(create: bool = True, **found: int) -> House:
    settings = Settings.load(create_topics=create)
    topics, rig = Topics({**ALL, **found}), Rig()
    watch = TopicWatch(settings, topics, topics.ensure)
    return House(
        topics,
        Housekeeping(settings, rig.pipeline, watch, lambda: local_log_reader(rig.broker, settings), rig.clock),
        rig,
    )


@in_event_loop
async def test_topics_as_they_should_be_are_left_alone() -> None:
    home = house()
    assert await home.look(0) is None
    assert home.topics.made == 0


@in_event_loop
async def test_a_deleted_topic_of_alarms_is_made_again() -> None:
    home = house()
    del home.topics.found[SETTINGS.topic_alarms]
    assert await home.look(0) is None
    assert home.topics.found == ALL


@in_event_loop
async def test_a_deleted_topic_is_named_where_it_may_not_be_made() -> None:
    home = house(create=False)
    assert await home.look(0) is None
    del home.topics.found[SETTINGS.topic_alarms]
    assert await home.look(4) == "topics detector.alarms do not exist any more; create them again"
    home.topics.found = dict(ALL)
    assert await home.look(8) is None


@in_event_loop
async def test_partitions_that_are_added_to_the_readings_are_added_to_the_state() -> None:
    home = house()
    home.topics.found[SETTINGS.topic_readings] = 5
    assert await home.look(0) is None
    assert home.topics.found[SETTINGS.topic_state] == 5


@in_event_loop
async def test_missing_partitions_of_the_state_are_named_before_anything_ends() -> None:
    home = house(create=False)
    home.topics.found[SETTINGS.topic_readings] = 5
    home.rig.pipeline.left_alone = {2, 3, 4}
    trouble = await home.look(0)
    assert trouble is not None
    assert trouble.startswith("topic detector.state has 2 partitions, 5 are needed")
    assert await home.look(10_000) == trouble
    home.topics.found[SETTINGS.topic_state] = 5
    with pytest.raises(StalledError, match="the next start reads them"):
        await home.look(10_010)


@in_event_loop
async def test_a_deleted_topic_of_readings_is_named_at_once_and_ends_the_worker_after_the_stall_limit() -> None:
    home = house()
    assert await home.look(0) is None
    del home.topics.found[SETTINGS.topic_readings]
    trouble = await home.look(4)
    assert trouble == "topics plant.readings do not exist any more; create them again"
    assert home.topics.made == 0
    with pytest.raises(StalledError, match=r"plant\.readings does not exist"):
        await home.look(4 + SETTINGS.stall_seconds + 1)
