"""One declared list of topics: the table, the resources, the script and the rights say the same of it."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed
from stream_detector.streaming.topics.declared import FIT, declared_topics
from stream_detector.streaming.topics.formats import as_rights, as_shell, as_table, as_yaml, rights
from tests.support.paths import DOCS

SETTINGS = Settings(publish_scores=True, topic_partitions=6, topic_replication=3)


def told_to_kafka(script: str) -> dict[str, dict[str, str]]:
    """{topic: options and settings} of a script."""
    found: dict[str, dict[str, str]] = {}
    for line in script.splitlines():
        if not line.startswith("create --topic"):
            continue
        words = shlex.split(line)[1:]
        options = dict(zip(words[::2], words[1::2], strict=True))
        configs = [
            value.split("=", 1) for name, value in zip(words[::2], words[1::2], strict=True) if name == "--config"
        ]
        found[options["--topic"]] = {
            "partitions": options["--partitions"], "replicas": options.get("--replication-factor", ""), **dict(configs)
        }  # fmt: skip
    return found


def test_the_script_and_the_resources_make_the_same_topics() -> None:
    script = told_to_kafka(as_shell(SETTINGS))
    resources = {
        one["metadata"]["name"]: {
            "partitions": str(one["spec"]["partitions"]), "replicas": str(one["spec"]["replicas"]),
            **one["spec"]["config"],
        }
        for one in yaml.safe_load_all(as_yaml(SETTINGS, "plant"))
    }  # fmt: skip
    assert resources == script
    assert script["detector.state"]["cleanup.policy"] == "compact"
    assert script["plant.readings"]["min.insync.replicas"] == "2"
    table = as_table(SETTINGS)
    assert [name for name in script if not re.search(rf"^{re.escape(name)} +6 +3 ", table, re.MULTILINE)] == []


def test_resources_belong_to_the_cluster_and_keep_names_that_kubernetes_does_not_take() -> None:
    first, *_ = yaml.safe_load_all(as_yaml(Settings(topic_readings="Plant_Readings"), "plant"))
    assert first["metadata"] == {"name": "plant-readings", "labels": {"strimzi.io/cluster": "plant"}}
    assert first["spec"]["topicName"] == "Plant_Readings"
    assert "replicas" not in first["spec"], "the brokers choose"


@pytest.mark.parametrize(("copies", "in_sync"), [(-1, None), (1, None), (2, None), (3, "2"), (5, "2")])
def test_from_three_copies_on_a_record_must_be_in_two(copies: int, in_sync: str | None) -> None:
    for topic in declared_topics(SETTINGS):
        assert topic.config(copies).get("min.insync.replicas") == in_sync


def test_the_page_on_security_lists_the_rights_that_are_declared() -> None:
    assert as_rights(Settings(publish_scores=True)) in (DOCS / "security.md").read_text(encoding="utf-8")


def test_a_worker_that_keys_anew_needs_more() -> None:
    rights = as_rights(Settings(sensor_assets_file=Path("map.json")))
    assert "| worker | topic | `plant.readings` | READ, WRITE, DESCRIBE |" in rights
    assert "| worker | topic | `plant.raw` | READ, DESCRIBE |" in rights
    assert "| worker | group | `stream-detector-repartition` | READ, DESCRIBE |" in rights


def test_the_script_calls_kafkas_tool_for_each_topic_with_login_where_one_is_named(tmp_path: Path) -> None:
    tool = tmp_path / "kafka-topics.sh"
    tool.write_text('#!/bin/sh\necho "$@"\n')
    tool.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "BOOTSTRAP": "k:9092", "CONFIG": "my login.properties"}
    done = subprocess.run(["sh"], input=as_shell(SETTINGS), env=environment, capture_output=True, text=True, check=True)
    calls = done.stdout.splitlines()
    assert len(calls) == len(declared_topics(SETTINGS))
    begin = "--bootstrap-server k:9092 --command-config my login.properties --create --if-not-exists --topic "
    assert [call for call in calls if not call.startswith(begin)] == []


def test_whoever_learns_from_the_topics_may_read_what_it_reads() -> None:
    settings = Settings()
    given = {name for who, _, name, operations in rights(settings) if who == FIT and "READ" in operations}
    assert given == {settings.topic_readings, *LedgerFeed(Ledger(), settings).topics}
