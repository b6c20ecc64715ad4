"""The audit of a local log that a whole worker has processed, and of one that somebody tampered with."""

import asyncio
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.bundle_table import AnyBundle, BundleTable, bundles_of
from stream_detector.decoding.held_table import HeldTable
from stream_detector.engine.limits import Limits
from stream_detector.engine.table_engine import engine_of
from stream_detector.errors import BrokerError, UsageError
from stream_detector.messages import Alarm
from stream_detector.settings import Settings
from stream_detector.streaming.audit.audit import Patience, audit_log, services
from stream_detector.streaming.audit.report import Audit
from stream_detector.streaming.audit.topics import AuditTopics
from stream_detector.streaming.local.clients import LocalConsumer, LocalGroupOffsets, local_groups, local_topics
from stream_detector.streaming.readers.translation import policies_of
from stream_detector.streaming.state.group_facts import BundleSwitch, fact_message
from stream_detector.streaming.worker.offsets.takeover import alarm_message
from stream_detector.streaming.worker.ports import DetectionEngine
from tests.support.event_loop import in_event_loop
from tests.support.plant import make_log, small_bundle
from tests.support.properties import fast_first
from tests.support.stack.local_workers import SETTINGS, Plant, until
from tests.support.state_topic import SETTINGS as STATE_SETTINGS
from tests.support.state_topic import StateTopic

LOG = make_log(7, steps=60)
AT_ONCE = Patience(wait_seconds=0.0)
ALARMS, LETTERS = SETTINGS.topic_alarms, SETTINGS.topic_dead_letters


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(small_bundle(tmp_path_factory.mktemp("bundles") / "small"))


async def processed(bundle: Bundle, settings: Settings = SETTINGS) -> Plant:
    """A plant whose log one worker has read to its end."""
    plant = Plant(partitions=2, settings=settings)
    plant.send(LOG)
    await plant.run_to_the_end(bundle)
    return plant


async def audit(plant: Plant, bundle: AnyBundle, *others: AnyBundle, patience: Patience = AT_ONCE) -> Audit:
    def open_topics(settings: Settings) -> AuditTopics:
        committed = partial(LocalGroupOffsets(plant.broker).read, settings.group)
        broker = plant.broker
        topics, groups = partial(local_topics, broker), partial(local_groups, broker)
        return AuditTopics(settings, LocalConsumer(broker), topics, committed, groups)

    def new_engine(limits: Limits) -> DetectionEngine:
        return engine_of(bundle, limits, unknown=policies_of(plant.settings))

    engines = {other.manifest.bundle_id: partial(engine_of, other) for other in others}
    tables = {
        each.manifest.bundle_id: frozenset(one.manifest.bundle_id for one in bundles_of(each))
        for each in (bundle, *others)
    }
    by_id = {one.manifest.bundle_id: one for each in (bundle, *others) for one in bundles_of(each)}

    def new_table(held: HeldTable, limits: Limits) -> DetectionEngine | None:
        if not by_id.keys() >= {*held.owners}:
            return None
        return engine_of(BundleTable(held.table, tuple(by_id[owner] for owner in held.owners)), limits, held=held)

    mine = bundle.manifest.bundle_id
    return await audit_log(plant.settings, new_engine, mine, engines, open_topics, patience, tables, new_table)


def tamper(plant: Plant, topic: str, place: int, **changes: Any) -> None:
    """One published message is another one; None in place of changes = it is gone."""
    (records,) = [log.records for log in plant.broker._topics[topic] if len(log.records) > place][:1]
    if not changes:
        del records[place]
        return
    old = records[place]
    body = json.dumps({**json.loads(old.value or b""), **changes}, separators=(",", ":")).encode()
    plant.broker.append(topic, body, old.key, old.partition)


@in_event_loop
async def test_what_a_worker_published_is_accounted_for(bundle: Bundle) -> None:
    plant = await processed(bundle)
    found = await audit(plant, bundle)
    assert found.good
    assert found.alarms == len(plant.alarms()) > 5
    assert found.dead_letters == len(plant.broker.values(LETTERS)) > 0
    assert sum(partition.received for partition in found.partitions) > 500


@pytest.mark.parametrize("policy", ["ignore", "dead-letter"])
@in_event_loop
async def test_a_shared_bus_is_accounted_for_under_either_policy(bundle: Bundle, policy: str) -> None:
    settings = SETTINGS.model_copy(
        update={
            "unknown_sensors": policy,
            "unknown_assets": policy,
            "allowed_assets": "m*",
            "dead_letters_per_second": 1e9,
        }
    )
    others = [
        (key, json.dumps({"sensor": sensor, "time": 1.7e9 + number, "value": 1}).encode())
        for number in range(100)
        for key, sensor in ((b"m0", f"other-{number}"), (b"boiler-%d" % number, "s1"))
    ]
    plant = Plant(partitions=2, settings=settings)
    plant.send(LOG)
    for key, value in others:
        plant.broker.append(settings.topic_readings, value, key, 0)
    await plant.run_to_the_end(bundle)
    found = await audit(plant, bundle)
    assert found.good
    ignored = sum(partition.ignored for partition in found.partitions)
    assert (ignored >= 200, found.dead_letters >= 200) == (policy == "ignore", policy == "dead-letter")
    # The alarms are those of a bus of its own.
    assert plant.alarms() == (await processed(bundle)).alarms()


@in_event_loop
async def test_an_alarm_that_is_missing_is_lost(bundle: Bundle) -> None:
    plant = await processed(bundle)
    tamper(plant, ALARMS, 0)
    found = await audit(plant, bundle)
    assert (found.good, len(found.alarms_lost)) == (False, 1)


@in_event_loop
async def test_an_alarm_that_says_something_else_is_different(bundle: Bundle) -> None:
    plant = await processed(bundle)
    tamper(plant, ALARMS, 0, score=99.0)
    found = await audit(plant, bundle)
    assert (found.good, len(found.alarms_different)) == (False, 1)


@in_event_loop
async def test_an_alarm_that_the_log_does_not_give_is_invented(bundle: Bundle) -> None:
    plant = await processed(bundle)
    tamper(plant, ALARMS, 0, id="invented")
    found = await audit(plant, bundle)
    assert found.alarms_invented == ["invented/raised"]
    assert not found.good


@in_event_loop
async def test_alarms_of_another_group_on_the_same_topic_are_not_invented(bundle: Bundle) -> None:
    plant = await processed(bundle)
    alarm = Alarm.model_validate_json(min(plant.alarms())).model_copy(update={"id": "of a later term"})
    theirs = alarm_message(SETTINGS.model_copy(update={"group": "another"}), 0, 3, alarm)
    plant.broker.append(ALARMS, theirs.value, theirs.key, 0, headers=theirs.headers)
    assert (await audit(plant, bundle)).good


@in_event_loop
async def test_a_dead_letter_that_is_missing_is_lost_and_one_too_many_is_invented(bundle: Bundle) -> None:
    plant = await processed(bundle)
    tamper(plant, LETTERS, 0)
    assert (await audit(plant, bundle)).dead_letters_lost == 1
    plant = await processed(bundle)
    tamper(plant, LETTERS, 0, offset=0)
    found = await audit(plant, bundle)
    assert (found.good, found.dead_letters_invented) == (False, 1)


@in_event_loop
async def test_what_is_published_and_not_committed_yet_is_neither_lost_nor_invented(bundle: Bundle) -> None:
    plant = await processed(bundle)
    for number in range(plant.partitions):
        plant.commit_of_another(20, number=number)
    found = await audit(plant, bundle)
    assert found.good
    tamper(plant, ALARMS, -1)
    found = await audit(plant, bundle)
    assert found.good
    assert [(span.partition, span.begin) for span in found.on_the_way] == [(0, 20), (1, 20)]


@in_event_loop
async def test_what_running_workers_have_still_to_commit_is_waited_for_and_judged(bundle: Bundle) -> None:
    plant = await processed(bundle)
    whole = dict(plant.broker.committed)
    tamper(plant, ALARMS, -1)
    for number in range(plant.partitions):
        plant.commit_of_another(20, number=number)

    async def workers_go_on(_: float) -> None:
        plant.broker.committed = whole

    found = await audit(plant, bundle, patience=Patience(sleep=workers_go_on))
    assert not found.on_the_way
    assert len(found.alarms_lost) == 1


@in_event_loop
async def test_a_group_that_commits_nothing_any_more_is_not_waited_for_long(bundle: Bundle) -> None:
    plant, now = await processed(bundle), 0.0
    plant.commit_of_another(20, number=0)

    async def nobody_works(seconds: float) -> None:
        nonlocal now
        now += seconds

    found = await audit(plant, bundle, patience=Patience(60.0, 10.0, lambda: now, nobody_works))
    assert [(span.partition, span.begin) for span in found.on_the_way] == [(0, 20)]
    assert 10.0 <= now < 12.0


@in_event_loop
async def test_a_group_that_has_committed_nothing_is_not_judged(bundle: Bundle) -> None:
    plant = await processed(bundle)
    plant.broker.committed = {("others", tp): entry for (_, tp), entry in plant.broker.committed.items()}
    with pytest.raises(UsageError, match="others"):
        await audit(plant, bundle)


@in_event_loop
async def test_records_that_retention_removed_are_told_and_their_alarms_not_compared(bundle: Bundle) -> None:
    plant = await processed(bundle)
    plant.broker.remove_before(plant.tp(), 50)
    found = await audit(plant, bundle)
    assert found.incomplete == [0]
    assert found.alarms_lost == found.alarms_invented == []


@in_event_loop
async def test_records_of_others_are_translated_as_the_worker_does(bundle: Bundle, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.json"
    mapping.write_text('{"time":"ts","sensor":"tag","value":"val"}')
    settings = SETTINGS.model_copy(update={"field_mapping_file": mapping})
    plant = Plant(settings=settings)
    for second in range(60):
        value = json.dumps({"ts": 1_700_000_000 + 10 * second, "tag": "s1", "val": 0.5}).encode()
        plant.broker.append(settings.topic_readings, value, b"machine-0", 0)
    worker = plant.worker(bundle)
    running = asyncio.create_task(worker.run())
    await until(plant.caught_up)
    worker.stop()
    await running
    found = await audit(plant, bundle)
    assert found.good
    assert found.partitions[0].windowed == 60


@in_event_loop
async def test_a_log_that_is_not_there_is_told(bundle: Bundle) -> None:
    plant = await processed(bundle)
    plant.broker.delete_topic(SETTINGS.topic_readings)
    with pytest.raises(BrokerError, match="does not exist at local:1"):
        await audit(plant, bundle)


@in_event_loop
async def test_brokers_that_are_away_are_told(bundle: Bundle) -> None:
    plant = await processed(bundle)
    plant.broker.up = False
    with pytest.raises(BrokerError, match="local:1 cannot be read"):
        await audit(plant, bundle)


@pytest.mark.slow
@pytest.mark.parametrize("seed", fast_first(range(6), 1))
@in_event_loop
async def test_bundles_that_take_turns_under_kills_say_nothing_that_an_audit_cannot_follow(
    bundle: Bundle, tmp_path: Path, seed: int
) -> None:
    other = load_bundle(small_bundle(tmp_path / "other", threshold=2.76))
    rng, plant = random.Random(seed), Plant(partitions=2)
    plant.send(LOG)
    for number in range(8):
        await plant.run_and_kill((bundle, other)[number % 2], rng, 60)
    await plant.run_to_the_end(bundle)
    found = await audit(plant, bundle, other)
    assert found.good, (found.alarms_lost, found.alarms_different, found.alarms_invented)
    said: dict[tuple[str, str], bytes] = {}
    for value in plant.alarms():
        alarm = Alarm.model_validate_json(value)
        assert said.setdefault((alarm.id, alarm.state), value) == value, "one alarm, two contents"


@pytest.mark.slow
@pytest.mark.parametrize("seed", fast_first(range(6), 1))
@in_event_loop
async def test_limits_that_take_turns_under_kills_say_nothing_that_an_audit_cannot_follow(
    bundle: Bundle, seed: int
) -> None:
    rng, plant = random.Random(seed), Plant(partitions=2)
    narrow, wide = ({"other_limits": "accept", "max_assets": most} for most in (2, 20_000))
    plant.send(LOG)
    for number in range(8):
        plant.settings = SETTINGS.model_copy(update=(narrow, wide)[number % 2])
        await plant.run_and_kill(bundle, rng, 60)
    plant.settings = SETTINGS.model_copy(update=wide)
    await plant.run_to_the_end(bundle)
    found = await audit(plant, bundle)
    assert found.good, (found.alarms_lost, found.alarms_different, found.alarms_invented)
    said: dict[tuple[str, str], bytes] = {}
    for value in plant.alarms():
        alarm = Alarm.model_validate_json(value)
        assert said.setdefault((alarm.id, alarm.state), value) == value, "one alarm, two contents"


def test_what_was_decided_anew_counts_as_decided_by_whoever_did_so_last() -> None:
    topic = StateTopic()
    switches = [
        BundleSwitch(0, 0, "A"),
        BundleSwitch(0, 100, "B", 60, None, 1, 1),
        BundleSwitch(0, 50, "A", 9, None, 2, 2),
    ]
    topic.write([fact_message(STATE_SETTINGS, switch) for switch in switches])
    found = services(topic.read(), "A", 0, 300)
    assert [(each.bundle_id, each.begin, each.end) for each in found] == [("A", 0, 50), ("B", 100, 100), ("A", 50, 300)]
