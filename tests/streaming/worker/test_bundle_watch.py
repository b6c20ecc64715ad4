"""Workers that run an alias change over when it stands for another bundle: a whole group, once; nothing is lost."""

import asyncio
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry, is_alias
from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.worker import bundle_watch
from stream_detector.streaming.worker.bundle_watch import BundleMovedError, BundleWatch
from stream_detector.streaming.worker.worker import Worker
from tests.streaming.test_local_audit import audit as local_audit
from tests.streaming.worker.conftest import Start
from tests.streaming.worker.offsets.test_bundle_change import audit, plant
from tests.support.event_loop import in_event_loop
from tests.support.paths import ROOT
from tests.support.plant import make_log, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.local_workers import SETTINGS, Plant, until
from tests.support.stack.workers import WorkerProcess, alarms_of, caught_up, produce, topic, wait_for

LOG = make_log(7, steps=60)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two bundles; `champion` stands for the first."""
    registry = Registry.create(tmp_path / "registry")
    ids = []
    for number in range(2):
        folder = small_bundle(tmp_path / f"b{number}", threshold=2.75 - 0.3 * number)
        ids.append(add_bundle(registry, folder, 1_780_000_000.0 + number, "Kim").manifest.bundle_id)
    promote(registry, ids[0])
    return registry


def promote(registry: Registry, bundle_id: str) -> None:
    registry.promote("champion", bundle_id, "2026-11-01T00:00:00Z", "Kim")


def others(registry: Registry) -> tuple[str, str]:
    """(what the champion is now, the other bundle)."""
    now = registry.resolve("champion")
    return now, next(bundle_id for bundle_id in registry.ids() if bundle_id != now)


def champion(registry: Registry) -> Bundle:
    return load_bundle(registry.folder / "champion")


def watch_of(registry: Registry, clock: float = 0.0) -> BundleWatch:
    alias = registry.folder / "champion"
    return BundleWatch(alias, registry.resolve("champion"), lambda: load_bundle(alias), lambda: clock)


def worker_of(plant: Plant, registry: Registry, **changes: float) -> Worker:
    return plant.worker(champion(registry), bundle_watch=watch_of(registry), **changes)


@in_event_loop
async def test_a_promotion_ends_every_worker_of_a_group_and_each_partition_changes_once(registry: Registry) -> None:
    plant = Plant(partitions=4)
    old, new = others(registry)
    workers = [worker_of(plant, registry) for _ in range(2)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    plant.send(LOG[: len(LOG) // 2])
    await until(plant.caught_up)
    promote(registry, new)
    await asyncio.gather(*running)
    assert all(worker.begins_again for worker in workers)
    workers = [worker_of(plant, registry) for _ in range(2)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    plant.send(LOG[len(LOG) // 2 :])
    await until(plant.caught_up)
    for worker in workers:
        worker.stop()
    assert await asyncio.gather(*running) == [0, 0]
    states = [plant.broker.between(TopicPartition(SETTINGS.topic_state, number), 0)[0] for number in range(4)]
    keys = {tuple(json.loads(record.key or b"[]")) for records in states for record in records}
    switches = Counter(key[2] for key in keys if key[1:2] == ("bundle",))
    assert set(switches) == set(range(4))
    assert all(count <= 2 for count in switches.values()), switches
    engines = [load_bundle(registry.folder / bundle_id) for bundle_id in (new, old)]
    assert (await local_audit(plant, *engines)).good


@in_event_loop
async def test_a_worker_of_the_old_bundle_takes_up_no_partition_any_more(registry: Registry) -> None:
    plant = Plant()
    # Its own looks come late: it is the taking up that asks.
    worker = worker_of(plant, registry, watch_seconds=60.0)
    promote(registry, others(registry)[1])
    plant.send(LOG)
    await worker.run()
    assert isinstance(worker.lifecycle.error, BundleMovedError)
    assert worker.begins_again
    assert not plant.alarms()
    assert plant.committed() is None


@in_event_loop
async def test_a_damaged_bundle_does_not_end_the_one_in_use_and_is_named(registry: Registry) -> None:
    _, new = others(registry)
    watch = watch_of(registry)
    damaged = registry.folder_of(new) / "weights.safetensors"
    whole = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(whole[:-1] + b"x")
    plant = Plant()
    worker = plant.worker(champion(registry), bundle_watch=watch)
    running = asyncio.create_task(worker.run())
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    promote(registry, new)
    await until(lambda: new in (worker.lifecycle.why_not_ready() or ""))
    plant.send(LOG)
    await until(plant.caught_up)
    assert plant.alarms()
    registry.roll_back("champion", "2026-11-01T00:00:00Z", "Kim")
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    worker.stop()
    assert (await running, worker.begins_again) == (0, False)


@in_event_loop
async def test_a_bundle_that_was_refused_is_tried_again_after_a_while(registry: Registry) -> None:
    now, tries = 0.0, 0

    def check() -> None:
        nonlocal tries
        tries += 1
        load_bundle(registry.folder / "champion")

    _, new = others(registry)
    watch = BundleWatch(registry.folder / "champion", registry.resolve("champion"), check, lambda: now)
    manifest = registry.folder_of(new) / "manifest.json"
    manifest.rename(manifest.with_suffix(".away"))
    promote(registry, new)
    assert [await watch.moved() for _ in range(3)] == [False] * 3
    assert tries == 1
    manifest.with_suffix(".away").rename(manifest)
    now = 31.0
    assert await watch.moved()


@in_event_loop
async def test_a_registry_that_is_away_is_no_reason_to_end(registry: Registry, tmp_path: Path) -> None:
    watch = watch_of(registry)
    registry.folder.rename(tmp_path / "away")
    assert not await watch.moved()
    assert watch.trouble is None


@in_event_loop
async def test_a_registry_that_does_not_answer_keeps_no_worker_from_its_work(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_watch, "ANSWER_SECONDS", 0.01)
    watch, released = watch_of(registry), threading.Event()
    monkeypatch.setattr(watch, "_last_change", released.wait)
    plant = Plant()
    worker = plant.worker(champion(registry), bundle_watch=watch)
    running = asyncio.create_task(worker.run())
    try:
        plant.send(LOG)
        await until(plant.caught_up)
        await until(lambda: worker.lifecycle.why_not_ready() is None)
        assert plant.alarms()
        worker.stop()
        assert (await running, worker.begins_again) == (0, False)
    finally:
        released.set()


@in_event_loop
async def test_a_bundle_at_which_a_library_fails_does_not_end_the_one_in_use(registry: Registry) -> None:
    now, new = others(registry)
    watch = BundleWatch(registry.folder / "champion", now, lambda: 1 / 0, lambda: 0.0)
    promote(registry, new)
    assert not await watch.moved()
    assert new in (watch.trouble or "")


def test_only_an_alias_can_come_to_stand_for_another_bundle(registry: Registry, tmp_path: Path) -> None:
    now, _ = others(registry)
    assert is_alias(registry.folder / "champion")
    assert not any(map(is_alias, (registry.folder / now[:6], registry.folder_of(now), tmp_path / "b0")))


# -- processes ---------------------------------------------------------------------------------------------------------


def bundle_of(worker: WorkerProcess) -> str | None:
    found = re.search(r'^stream_detector_bundle_info\{bundle="(\w+)"', worker.get("/metrics")[1], re.MULTILINE)
    return found[1] if found else None


def decides_by(worker: WorkerProcess, bundle_id: str) -> bool:
    return bundle_of(worker) == bundle_id and worker.get("/readyz")[0] == 200


def kill_and_start(worker: WorkerProcess, after_seconds: float) -> None:
    """SIGKILL, and another start, as a supervisor would."""
    time.sleep(after_seconds)
    worker.kill()
    worker.start()


def change(registry: Registry, *words: str) -> None:
    command = [sys.executable, "-m", "stream_detector", *words, "--registry", str(registry.folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_promotion_and_rollback_under_load_and_kills_change_the_group_and_the_audit_balances(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, registry: Registry, tmp_path: Path
) -> None:
    name, ending, rng = topic(unique_name, "readings"), threading.Event(), random.Random(unique_name)
    create_topic(kafka.bootstrap, name, 2)
    old, new = others(registry)
    alias = registry.folder / "champion"
    workers = [start(kafka.bootstrap, unique_name, instance=f"w{i}", bundle=alias) for i in range(2)]
    for worker in workers:
        wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 90, "ready")  # type: ignore[misc]
    ids = [worker.process.pid for worker in workers if worker.process is not None]
    sending = threading.Thread(target=produce, args=(kafka.bootstrap, name, plant(ending), 1500))
    sending.start()
    try:
        time.sleep(2)
        for words, wanted in ((["promote", new], new), (["rollback"], old), (["promote", new], new)):
            change(registry, *words)
            taken = max(wait_for(partial(decides_by, worker, wanted), 240, "changed") for worker in workers)
            print(f"{words[0]}: the group decides by {wanted} {taken:.1f} s after the command")
            if words[0] == "rollback":
                assert [worker.process.pid for worker in workers if worker.process is not None] == ids
                # During the next change a worker is killed at a random moment.
                killing = threading.Thread(target=kill_and_start, args=(workers[0], rng.uniform(0.5, 6.0)))
                killing.start()
        killing.join()
    finally:
        ending.set()
        sending.join()
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    for worker in workers:
        assert worker.stop() == 0
    alarms = alarms_of(kafka.bootstrap, unique_name)  # asserts that no alarm has two contents
    raised, cleared = ({id_ for id_, state in alarms if state == wanted} for wanted in ("raised", "cleared"))
    assert raised == cleared
    found = audit(kafka.bootstrap, unique_name, tmp_path, registry.folder / old, registry.folder / new)
    assert found["good"], str(found)[-8000:]
    assert not found["not_judged"]
    assert found["alarms"] == len(alarms)
