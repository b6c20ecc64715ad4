"""A worker on real Kafka whose bundles come from an object store: by the alias, by the log, and while it is away."""

import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from tests.streaming.worker.conftest import Start
from tests.streaming.worker.offsets.test_bundle_change import audit
from tests.streaming.worker.test_bundle_watch import decides_by
from tests.streaming.worker.test_promote_in_log import PER_SECOND, STEP_SECONDS, plant
from tests.support.paths import ROOT
from tests.support.plant import small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.object_store import object_store, why_no_object_store
from tests.support.stack.workers import alarms_of, caught_up, produce, topic, topic_environment, wait_for


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_changes_over_to_bundles_of_a_store_and_goes_on_without_it(
    kafka: Kafka | ExistingKafka,
    unique_name: str,
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reason = why_no_object_store()
    if reason is not None:
        pytest.skip(reason)
    name, ending, address = topic(unique_name, "readings"), threading.Event(), "s3://plant/bundles"
    create_topic(kafka.bootstrap, name, 2)
    with object_store() as store:
        for key, value in {**store, "STREAM_DETECTOR_BUNDLE_CACHE": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(key, value)
        registry = Registry.create(Path(address))
        folders = [
            small_bundle(tmp_path / f"b{number}", threshold=2.75 - 0.3 * number, step_seconds=STEP_SECONDS)
            for number in range(3)
        ]
        ids = [add_bundle(registry, folder, 1.78e9, "Kim").manifest.bundle_id for folder in folders]
        registry.promote("champion", ids[0], "2026-11-01T00:00:00Z", "Kim")
        worker = start(kafka.bootstrap, unique_name, bundle=f"{address}/champion")
        wait_for(lambda: worker.get("/readyz")[0] == 200, 240, "ready")
        sending = threading.Thread(target=produce, args=(kafka.bootstrap, name, plant(ending), PER_SECOND))
        sending.start()
        try:
            time.sleep(2)
            for bundle_id, more in ((ids[1], []), (ids[2], ["--bootstrap", kafka.bootstrap])):
                call = [sys.executable, "-m", "stream_detector", "promote", bundle_id, "--registry", address, *more]
                subprocess.run(call, cwd=ROOT, check=True, env={**os.environ, **topic_environment(unique_name)})
                wait_for(partial(decides_by, worker, bundle_id), 240, "changed over")
        finally:
            ending.set()
            sending.join()
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
        found = audit(kafka.bootstrap, unique_name, tmp_path, Path(address) / ids[0])
    wait_for(lambda: "the registry cannot be read" in worker.log_text(), 60, "it has looked for the store")
    assert worker.get("/readyz")[0] == 200, "it needs the store no more"
    assert worker.stop() == 0
    assert found["good"], str(found)[-8000:]
    assert not found["not_judged"]
    assert found["alarms"] == len(alarms_of(kafka.bootstrap, unique_name))
