"""The least that the broker must allow, as docs/security.md lists it: with it a worker works, with less it gives up."""

import re
from collections.abc import Collection
from pathlib import Path

import pytest

from stream_detector.detection.config import OperatingConfig
from tests.support.paths import ROOT
from tests.support.plant import make_log, small_bundle
from tests.support.stack.kafka import create_topic, why_no_kafka
from tests.support.stack.secured import PASSWORD, Secured, secured_kafka
from tests.support.stack.workers import WorkerProcess, alarms_of, caught_up, produce, topic, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LISTED = re.compile(r"^\| (worker) \| (topic|group) \| `([^`]+)` \| ([A-Z, ]+) \|", re.MULTILINE)
LEDGERS_ONLY = "detector.operating"
"""A worker goes on without the right to write it."""


def documented() -> list[tuple[str, str, list[str]]]:
    """(kind, name, operations) of every line that docs/security.md has for the worker."""
    text = (ROOT / "docs" / "security.md").read_text()
    return [(kind, name, operations.split(", ")) for _, kind, name, operations in LISTED.findall(text)]


def allow(secured: Secured, prefix: str, leave_out: Collection[str] = ()) -> None:
    for kind, name, operations in documented():
        if name in leave_out:
            continue
        known_as = prefix if kind == "group" else topic(prefix, name.partition(".")[2].replace("-", "_"))
        for operation in operations:
            secured.allow(kind, known_as, operation)


def make_topics(secured: Secured, prefix: str) -> None:
    # Somebody else makes the topics: a worker with the least rights may not.
    for name in ("readings", "events", "alarms", "scores", "dead_letters", "alarm_states", "feedback", "operating"):
        create_topic(secured.kafka.bootstrap, topic(prefix, name), 4)
    create_topic(secured.kafka.bootstrap, topic(prefix, "state"), 4, cleanup_policy="compact")


def test_a_worker_with_the_documented_rights_works_and_shows_no_secret(tmp_path: Path) -> None:
    reason = why_no_kafka()
    if reason is not None:
        pytest.skip(reason)
    with secured_kafka(tmp_path, acls=True) as secured:
        prefix = "guarded"
        make_topics(secured, prefix)
        produce(secured.kafka.bootstrap, topic(prefix, "readings"), make_log(seed=5, steps=120))
        environment = {
            **secured.variables("SCRAM", tmp_path),
            "STREAM_DETECTOR_CREATE_TOPICS": "false",
            "STREAM_DETECTOR_LOG_LEVEL": "DEBUG",
            "STREAM_DETECTOR_START_SECONDS": "20",
        }
        bundle = small_bundle(tmp_path / "bundle", operating=OperatingConfig(when="s1 > -1000"))
        worker = WorkerProcess(
            secured.kafka.address("SCRAM"), prefix, bundle, tmp_path / "worker.log", environment=environment
        )

        secured.allow("topic", topic(prefix, "operating"), "DESCRIBE")
        allow(secured, prefix, leave_out=("detector.alarms", "stream-detector", LEDGERS_ONLY))
        worker.start()
        wait_for(lambda: not worker.alive, 60, "a worker that may not write alarms gives up")
        assert worker.process is not None
        assert worker.process.returncode in (1, 75), worker.log_text()[-3000:]
        assert topic(prefix, "alarms") in worker.log_text() or "uthoriz" in worker.log_text()

        allow(secured, prefix, leave_out=("stream-detector", LEDGERS_ONLY))
        worker.start()
        wait_for(lambda: not worker.alive, 60, "a worker that may not use its group gives up")
        assert worker.process.returncode == 1, worker.log_text()[-3000:]
        assert "this user may not use the consumer group" in worker.log_text()

        allow(secured, prefix, leave_out=(LEDGERS_ONLY,))
        worker.start()
        try:
            wait_for(lambda: caught_up(secured.kafka.bootstrap, prefix), 60, "everything is committed", each=0.5)
            assert alarms_of(secured.kafka.bootstrap, prefix)
            assert worker.get("/readyz")[0] == 200
        finally:
            worker.stop()

        log = worker.log_text()
        assert f"may not write the topic {topic(prefix, 'operating')}; the worker goes on without it" in log
        assert "DEBUG" in log, "the log was not read at its most talkative"
        assert PASSWORD not in log
        assert PASSWORD not in worker.get("/metrics")[1]
