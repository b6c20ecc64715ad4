"""A challenger decides beside the champion: the same promise, and nobody is told."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.bundle_table import BundleTable
from stream_detector.detection.config import OperatingConfig
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed
from stream_detector.streaming.readers.topic_reader import TopicRecord
from stream_detector.streaming.worker.composition import needs_of
from tests.streaming.worker.conftest import Start
from tests.support.event_loop import in_event_loop
from tests.support.paths import ROOT
from tests.support.plant import make_log, small_bundle
from tests.support.properties import fast_first
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.local_workers import SETTINGS, Plant, alarms_of_log
from tests.support.stack.workers import alarms_of, caught_up, produce, topic, topic_environment, wait_for


def test_a_challenger_has_a_group_and_topics_of_its_own_and_no_console() -> None:
    settings = Settings(role="challenger", group="mill").in_role()
    assert (settings.group, settings.console) == ("mill-challenger", False)
    assert settings.topic_readings == Settings().topic_readings
    own = (settings.topic_alarms, settings.topic_scores, settings.topic_dead_letters)
    assert own == ("detector.challenger-alarms", "detector.challenger-scores", "detector.challenger-dead-letters")


@pytest.mark.parametrize(("role", "tells"), [("champion", True), ("challenger", False)])
def test_a_challenger_does_not_ask_whether_it_may_tell_when_machines_stand(
    tmp_path: Path, role: Literal["champion", "challenger"], tells: bool
) -> None:
    bundle = load_bundle(small_bundle(tmp_path / "bundle", operating=OperatingConfig(when="s1 > 0")))
    assert needs_of(bundle, Settings(role=role)).tells_operating is tells


def test_a_challenger_re_keys_nothing_that_the_champion_re_keys_already(tmp_path: Path) -> None:
    files = {"sensor_assets_file": tmp_path / "assets.json", "field_mapping_file": tmp_path / "mapping.json"}
    settings = Settings(role="challenger", **files).in_role()
    assert (settings.sensor_assets_file, settings.field_mapping_file) == (None, None)
    mapped = Settings(role="challenger", field_mapping_file=tmp_path / "mapping.json").in_role()
    assert mapped.field_mapping_file == tmp_path / "mapping.json"


def test_a_champion_is_as_it_always_was() -> None:
    assert Settings(group="mill").in_role() == Settings(group="mill")


@pytest.mark.slow
@pytest.mark.parametrize("seed", fast_first(range(2), 1))
@in_event_loop
async def test_beside_a_challenger_that_is_killed_the_champion_says_what_it_says_alone(
    tmp_path: Path, seed: int
) -> None:
    first, second = (load_bundle(small_bundle(tmp_path / f"b{i}", threshold=2.7 - 0.5 * i)) for i in range(2))
    champion = Plant(partitions=2)
    settings = SETTINGS.model_copy(update={"role": "challenger"}).in_role()
    challenger = Plant(partitions=2, settings=settings, broker=champion.broker)
    champion.send(make_log(7, steps=60))
    rng = Random(seed)
    for _ in range(4):
        await challenger.run_and_kill(second, rng, 30)
        await champion.run_and_kill(first, rng, 30)
    await champion.run_to_the_end(first)
    await challenger.run_to_the_end(second)
    assert champion.alarms() == alarms_of_log(first, champion)
    assert challenger.alarms() == alarms_of_log(second, champion)
    assert champion.alarms().isdisjoint(challenger.alarms())


@pytest.mark.slow
@in_event_loop
async def test_a_challenger_for_a_line_beside_a_table_is_compared_about_the_assets_of_the_line(tmp_path: Path) -> None:
    first, second, third = (load_bundle(small_bundle(tmp_path / f"b{i}", threshold=2.7 - 0.4 * i)) for i in range(3))
    champion = Plant(partitions=2)
    settings = SETTINGS.model_copy(update={"role": "challenger"}).in_role()
    challenger = Plant(partitions=2, settings=settings, broker=champion.broker)
    champion.send(make_log(7, steps=120))
    table = BundleTable.of([("machine-*", first), ("machine-[135]", second)])
    await champion.run_to_the_end(table)
    await challenger.run_to_the_end(BundleTable.of([("machine-[135]", second), ("machine-3", third)]))
    assert champion.alarms() == alarms_of_log(table, champion)
    feed = LedgerFeed(Ledger(), SETTINGS)
    for name in (SETTINGS.topic_alarms, SETTINGS.topic_challenger_alarms):
        for record in champion.broker.records(name):
            headers = tuple((key, value) for key, value in record.headers)
            feed.take([TopicRecord(name, record.partition, record.offset, 0, record.key, record.value, headers)])
    found = feed.challengers.compare(0.0)
    assert found is not None
    assert found.bundle.startswith("table-")
    books = found.by_asset()
    assert set(books) == {"machine-1", "machine-3", "machine-5"}
    # The same bundle decides about two of them.
    assert [asset for asset, (mine, other, _) in books.items() if mine.alarms != other.alarms] == ["machine-3"]


def command(prefix: str, bootstrap: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **topic_environment(prefix), "STREAM_DETECTOR_BOOTSTRAP": bootstrap}
    call = [sys.executable, "-m", "stream_detector", *arguments]
    return subprocess.run(call, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.kafka
@pytest.mark.slow
def test_the_audit_of_both_balances_and_the_ledger_compares_them(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, tmp_path: Path
) -> None:
    bundles = [small_bundle(tmp_path / f"b{i}", threshold=2.7 - 0.5 * i) for i in range(2)]
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 2)
    log = [replace(record, partition=record.partition % 2) for record in make_log(7, steps=120)]
    champion = start(kafka.bootstrap, unique_name, bundle=bundles[0], instance="w")
    role = {"STREAM_DETECTOR_ROLE": "challenger"}
    challenger = start(kafka.bootstrap, unique_name, bundle=bundles[1], instance="w", environment=role)
    for worker in (champion, challenger):
        wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 90, "ready")  # type: ignore[misc]
    produce(kafka.bootstrap, topic(unique_name, "readings"), log[: len(log) // 2])
    challenger.kill()
    produce(kafka.bootstrap, topic(unique_name, "readings"), log[len(log) // 2 :])
    challenger.start()
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "the champion is at the end")

    for bundle, words in ((bundles[0], []), (bundles[1], ["--role", "challenger"])):
        done = command(unique_name, kafka.bootstrap, "audit", "--bundle", str(bundle), *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "accounted for" in done.stdout
        assert " 0 published" not in done.stdout.splitlines()[-3]
    told = command(unique_name, kafka.bootstrap, "ledger", "--since", "1970-01-02", "--json", "-")
    found = json.loads(told.stdout)
    raised = {id_ for id_, state in alarms_of(kafka.bootstrap, unique_name) if state == "raised"}
    assert found["alarms"] == len(raised)
    both = found["challenger"]
    assert both["bundle"] == load_bundle(bundles[1]).manifest.bundle_id
    assert both["challenger"]["alarms"] > found["alarms"] == both["champion"]["alarms"]
    for worker in (champion, challenger):
        assert worker.stop() == 0
