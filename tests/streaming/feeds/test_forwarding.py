"""The forwarder as a process of its own, between a real broker and real receivers."""

import copy
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from aiokafka.admin import NewPartitions
from confluent_kafka import Consumer, Producer, TopicPartition

from stream_detector.__main__ import main
from stream_detector.messages import Alarm, AlarmStateChange, Feedback, LoggedEvent, from_iso, to_bytes, to_iso
from stream_detector.operations.signing import verify
from tests.fuzz.corpus import OPERATIONS_RECORDS
from tests.support.messages import make_alarm, make_feedback
from tests.support.paths import DEPLOY
from tests.support.stack.http_receiver import HttpReceiver
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic, with_admin
from tests.support.stack.monitoring import Alertmanager, why_no_monitoring

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ALERTMANAGER_CONFIG = DEPLOY / "alertmanager" / "alertmanager.yml"


class Forwarder:
    """`stream-detector forward` on topics of its own; it can be killed and started again."""

    def __init__(self, bootstrap: str, name: str, folder: Path, **settings: object) -> None:
        self.bootstrap, self.folder = bootstrap, folder
        self.topics = {part: f"{name}-{part}" for part in ("alarms", "feedback", "events", "alarm_states")}
        for topic in self.topics.values():
            create_topic(bootstrap, topic, partitions=2)
        self.environment = {
            **os.environ,
            "STREAM_DETECTOR_BOOTSTRAP": bootstrap,
            "STREAM_DETECTOR_GROUP": name,
            **{f"STREAM_DETECTOR_TOPIC_{part.upper()}": topic for part, topic in self.topics.items()},
            **{
                f"STREAM_DETECTOR_TOPIC_{part}": f"{name}-{part.lower()}"
                for part in ("READINGS", "STATE", "DEAD_LETTERS", "OPERATING")
            },
            "STREAM_DETECTOR_FORWARD_METRICS_PORT": "0",
            "STREAM_DETECTOR_FORWARD_TIMEOUT_SECONDS": "2",
            "STREAM_DETECTOR_FORWARD_LONGEST_RETRY_SECONDS": "1",
            **{f"STREAM_DETECTOR_FORWARD_{key}": str(value) for key, value in settings.items()},
        }
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        self.process: subprocess.Popen[str]

    def start(self) -> Self:
        with (self.folder / "forwarder.log").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream_detector", "forward"],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        first = self.process.stdout.readline()
        found = re.search(r"http://\S+", first)
        assert found, f"{first!r}; log: {self.log}"
        self.metrics_url = found[0]
        deadline = time.monotonic() + 90
        while not self.ready():
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
        return self

    @property
    def log(self) -> str:
        return (self.folder / "forwarder.log").read_text()

    def ready(self) -> bool:
        try:
            return urllib.request.urlopen(self.metrics_url.replace("metrics", "readyz"), timeout=2).status == 200
        except OSError:
            return False

    def why_not_ready(self) -> str:
        try:
            urllib.request.urlopen(self.metrics_url.replace("metrics", "readyz"), timeout=2)
        except urllib.error.HTTPError as refusal:
            return refusal.read().decode()
        return ""

    def metric(self, name: str) -> dict[str, float]:
        text = urllib.request.urlopen(self.metrics_url, timeout=5).read().decode()
        return {
            line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith(f"stream_detector_{name}")
        }

    def send(self, part: str, *messages: Alarm | Feedback | LoggedEvent) -> None:
        for message in messages:
            self.producer.produce(self.topics[part], to_bytes(message), key=message.asset.encode())
        assert self.producer.flush(20) == 0

    def changes(self) -> list[AlarmStateChange]:
        topic = self.topics["alarm_states"]
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "none", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(2)])
        found = consumer.consume(1_000, 2.0)
        consumer.close()
        return [AlarmStateChange.model_validate_json(message.value()) for message in found]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, seconds: float = 15) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self.process.stdout.close()
        return code


StartForwarder = Callable[..., Forwarder]
Found = TypeVar("Found")


@pytest.fixture
def forwarder(kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path) -> Iterator[StartForwarder]:
    made: list[Forwarder] = []

    def make(**settings: object) -> Forwarder:
        made.append(Forwarder(kafka.bootstrap, unique_name, tmp_path, **settings).start())
        return made[-1]

    yield make
    for running in made:
        if running.process.poll() is None:
            running.kill()


def until(condition: Callable[[], Found], seconds: float = 60.0) -> Found:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def ids(receiver: HttpReceiver) -> list[tuple[str, str]]:
    return [(body["alarm"]["id"], body["status"]) for body in receiver.bodies]


def test_a_webhook_gets_signed_texts_in_korean_within_seconds(forwarder: StartForwarder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret\n")
    with HttpReceiver() as receiver:
        running = forwarder(
            WEBHOOK_URLS=receiver.url, WEBHOOK_SECRET_FILE=tmp_path / "secret", LANGUAGE="ko", ZONE="Asia/Seoul"
        )
        sent_at = time.monotonic()
        running.send("alarms", make_alarm(1))
        assert receiver.wait_for(1)
        assert time.monotonic() - sent_at < 5.0
        headers, body = receiver.accepted[0]
        assert verify(b"a secret", body, headers, time.time())
        assert headers["Idempotency-Key"] == f"{make_alarm(1).id}:raised"
        assert "사이에 이상 발생 예상" in receiver.bodies[0]["annotations"]["summary"]
        assert running.stop() == 0


def test_a_receiver_that_fails_hangs_and_comes_back_loses_nothing_and_holds_up_nobody(
    forwarder: StartForwarder,
) -> None:
    with HttpReceiver() as broken, HttpReceiver() as healthy:
        running = forwarder(WEBHOOK_URLS=f"{broken.url},{healthy.url}")
        alarms = [make_alarm(step, asset=f"pm-{step % 3}") for step in range(12)]
        broken.mode = "refuse"
        running.send("alarms", *alarms[:4])
        assert healthy.wait_for(4)
        until(lambda: broken.attempts >= 2)
        broken.mode = "hang"
        running.send("alarms", *alarms[4:8])
        assert healthy.wait_for(8)
        broken.stop()
        running.send("alarms", *alarms[8:])
        assert healthy.wait_for(12)
        until(
            lambda: running.metric("forwarder_oldest_pending")["stream_detector_forwarder_oldest_pending_seconds"] > 1
        )
        assert not broken.accepted
        broken.mode = "ok"
        broken.start()
        assert broken.wait_for(12)
        assert sorted(ids(broken)) == sorted(ids(healthy)) == sorted((alarm.id, "firing") for alarm in alarms)
        until(lambda: running.metric("forwarder_pending")["stream_detector_forwarder_pending_alarms"] == 0)


def test_a_kill_while_the_receiver_is_down_loses_nothing(forwarder: StartForwarder) -> None:
    with HttpReceiver() as receiver:
        running = forwarder(WEBHOOK_URLS=receiver.url)
        running.send("alarms", make_alarm(1))
        assert receiver.wait_for(1)
        time.sleep(1.0)
        receiver.mode = "refuse"
        running.send("alarms", make_alarm(1, 3), make_alarm(5), make_alarm(6))
        attempts = receiver.attempts
        until(lambda: receiver.attempts > attempts)
        running.kill()
        receiver.mode = "ok"
        running.start()
        assert receiver.wait_for(4)
        time.sleep(1.0)
        # The first was accepted and committed before the kill, so it does not come again.
        assert ids(receiver) == [
            (make_alarm(1).id, "firing"), (make_alarm(1).id, "resolved"),
            (make_alarm(5).id, "firing"), (make_alarm(6).id, "firing"),
        ]  # fmt: skip


@pytest.mark.prometheus
def test_alertmanager_holds_an_alarm_past_its_resolve_time_and_clears_it(forwarder: StartForwarder) -> None:
    if reason := why_no_monitoring():
        pytest.skip(reason)
    now = datetime.now(UTC).timestamp()
    raised, cleared = to_iso(now - 60), to_iso(now - 1)
    times = {"raised_at": raised, "expected_from": to_iso(now + 60), "expected_until": to_iso(now + 180)}
    with HttpReceiver() as operators, Alertmanager(ALERTMANAGER_CONFIG, {"operators": operators.url}) as alertmanager:
        running = forwarder(ALERTMANAGER_URLS=alertmanager.url, REPEAT_SECONDS=10)
        running.send("alarms", make_alarm(1, **times))
        alert = until(alertmanager.alerts)[0]
        assert alert["labels"] == {
            "alertname": "PlantEventExpected", "asset": "pm-1", "severity": "warning", "bundle": "b1",
            "recipe": "paper-mill-calibrated",
        }  # fmt: skip
        assert from_iso(alert["startsAt"]) == pytest.approx(now - 60, abs=0.01)
        assert alert["annotations"]["action"].startswith("Slow the machine down")
        assert operators.wait_for(1)
        assert operators.bodies[0]["status"] == "firing"
        # Its end lies a few repeats ahead, and only the repeats move it; those after a restart too.
        until(lambda: _end(alertmanager) > from_iso(alert["endsAt"]))
        running.kill()
        before = _end(alertmanager)
        running.start()
        until(lambda: _end(alertmanager) > before)
        running.send("alarms", make_alarm(1, 2, **(times | {"cleared_at": cleared})))
        until(lambda: not alertmanager.alerts())
        assert operators.wait_for(2)
        assert operators.bodies[-1]["status"] == "resolved"


def _end(alertmanager: Any) -> float:
    return max((from_iso(alert["endsAt"]) for alert in alertmanager.alerts()), default=0.0)


def test_states_are_events_with_who_when_and_why_and_a_shelf_outlives_a_restart(forwarder: StartForwarder) -> None:
    with HttpReceiver() as receiver:
        running = forwarder(WEBHOOK_URLS=receiver.url)
        now = time.time()
        said = {"at": to_iso(now), "until": to_iso(now + 3_600), "reason": "x7 is being calibrated"}
        running.send("feedback", make_feedback("shelve", **said))
        until(lambda: running.metric("forwarder_shelved")["stream_detector_forwarder_shelved_alarms"] == 1)
        running.kill()
        running.start()
        running.send("alarms", make_alarm(1))
        until(lambda: len(running.changes()) == 2)
        assert not receiver.accepted
        running.send("feedback", make_feedback("unshelve", at=to_iso(now + 1)))
        assert receiver.wait_for(1), "the asset is back and the alarm is up"
        running.send("feedback", make_feedback("acknowledge", make_alarm(1).id, at=to_iso(now + 2)))
        until(lambda: len(running.changes()) == 5)
        running.send("alarms", make_alarm(1, 3))
        until(lambda: len(running.changes()) == 6)
        told = [(change.alarm is None, change.previous, change.state, change.who) for change in running.changes()]
        assert told == [
            (True, "normal", "shelved", "shift leader"),
            (False, "normal", "shelved", "detector"),
            (False, "shelved", "unacknowledged", "shift leader"),
            (True, "shelved", "normal", "shift leader"),
            (False, "unacknowledged", "acknowledged", "shift leader"),
            (False, "acknowledged", "normal", "detector"),
        ]
        assert running.changes()[0].why == "x7 is being calibrated"


def test_no_record_that_anybody_writes_keeps_the_next_alarm_from_people(
    forwarder: StartForwarder,
    kafka: Kafka | ExistingKafka,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HttpReceiver() as receiver:
        running = forwarder(WEBHOOK_URLS=receiver.url)

        def poison() -> None:
            for part in running.topics:
                for number, value in enumerate(OPERATIONS_RECORDS):
                    running.producer.produce(running.topics[part], value, key=b"pm-1", partition=number % 2)
            assert running.producer.flush(20) == 0

        poison()
        running.send("alarms", make_alarm(100, asset="pm-9"))
        until(lambda: (make_alarm(100, asset="pm-9").id, "firing") in ids(receiver))
        running.kill()
        poison()
        running.start()
        running.send("alarms", make_alarm(200, asset="pm-9"))
        until(lambda: (make_alarm(200, asset="pm-9").id, "firing") in ids(receiver))
        skipped = running.metric("forwarder_records_skipped")
        assert sum(skipped.values()) > len(OPERATIONS_RECORDS)
        assert "is skipped (malformed)" in running.log
        assert not any('reason="fault"' in name for name in skipped), running.log
        assert running.log.count("\n") < 200
    for part, topic in running.topics.items():
        monkeypatch.setenv(f"STREAM_DETECTOR_TOPIC_{part.upper()}", topic)
    assert main(["alarms", "--from-beginning", "--until-idle", "2", "--bootstrap", kafka.bootstrap]) == 0
    assert "pm-9" in capsys.readouterr().out
    assert main(["ledger", "--bootstrap", kafka.bootstrap]) == 0
    assert "pm-9" in capsys.readouterr().out


def test_an_alarm_that_the_receiver_refuses_for_good_holds_up_none_of_the_next(forwarder: StartForwarder) -> None:
    with HttpReceiver() as receiver:
        receiver.never = [make_alarm(1).id]
        running = forwarder(WEBHOOK_URLS=receiver.url)
        running.send("alarms", make_alarm(1), make_alarm(5), make_alarm(6))
        assert receiver.wait_for(2)
        assert ids(receiver) == [(make_alarm(5).id, "firing"), (make_alarm(6).id, "firing")]
        assert sum(running.metric("forwarder_notifications_refused_total").values()) == 1
        assert f"refuses alarm {make_alarm(1).id}" in running.log


def test_an_alarm_held_back_is_told_though_partitions_were_added_and_the_forwarder_was_killed(
    forwarder: StartForwarder, kafka: Kafka | ExistingKafka
) -> None:
    with HttpReceiver() as receiver:
        running = forwarder(WEBHOOK_URLS=receiver.url)
        now = time.time()
        until_later = {"until": to_iso(now + 3_600), "reason": "calibration"}
        running.send("feedback", make_feedback("shelve", at=to_iso(now), **until_later))
        until(lambda: running.metric("forwarder_shelved")["stream_detector_forwarder_shelved_alarms"] == 1)
        running.send("alarms", make_alarm(1))
        until(lambda: make_alarm(1).id in committed_notes(running))
        topic = running.topics["alarms"]
        with_admin(kafka.bootstrap, lambda admin: admin.create_partitions({topic: NewPartitions(4)}))
        until(lambda: "new partitions" in running.log)
        time.sleep(1.0)
        assert make_alarm(1).id in committed_notes(running)
        running.kill()
        running.send("feedback", make_feedback("unshelve", at=to_iso(now + 1)))
        # While it is down, an alarm comes in a partition that did not exist when it last looked.
        with_admin(kafka.bootstrap, lambda admin: admin.create_partitions({topic: NewPartitions(6)}))
        running.producer = Producer({"bootstrap.servers": kafka.bootstrap})
        running.producer.produce(topic, to_bytes(make_alarm(9, asset="pm-9")), key=b"pm-9", partition=5)
        assert running.producer.flush(10) == 0
        running.start()
        assert receiver.wait_for(2)
        assert sorted(ids(receiver)) == sorted(
            [(make_alarm(1).id, "firing"), (make_alarm(9, asset="pm-9").id, "firing")]
        )


def committed_notes(running: Forwarder) -> str:
    """What the commits of the webhook's progress carry."""

    async def ask(admin: Any) -> str:
        groups = [name for name, *_ in await admin.list_consumer_groups()]
        group = next(name for name in groups if name.startswith(f"{running.environment['STREAM_DETECTOR_GROUP']}-f")
                     and "webhook" in name)  # fmt: skip
        found = await admin.list_consumer_group_offsets(group)
        return "".join(entry.metadata for entry in found.values())

    return with_admin(running.bootstrap, ask)


def test_two_forwarders_by_mistake_tell_each_alarm_once_or_twice_and_their_states_agree(
    forwarder: StartForwarder, tmp_path: Path
) -> None:
    with HttpReceiver() as receiver:
        first = forwarder(WEBHOOK_URLS=receiver.url)
        (tmp_path / "second").mkdir()
        second = copy.copy(first)
        second.folder = tmp_path / "second"
        second.start()
        try:
            now = time.time()
            alarms = [make_alarm(step, asset=f"pm-{step % 5}") for step in range(0, 60, 3)]
            for number, alarm in enumerate(alarms):
                first.send("alarms", alarm)
                if number % 4 == 0:
                    said = {"asset": alarm.asset, "at": to_iso(now + number)}
                    first.send("feedback", make_feedback("acknowledge", alarm.id, **said))
                if number == 10:
                    second.kill()
                    second.start()
            assert receiver.wait_for(len(alarms))
            wanted = len(alarms) + len(alarms[::4])
            until(lambda: len({(c.alarm, c.state) for c in first.changes()}) == wanted)
            time.sleep(2.0)
        finally:
            second.kill()
        told = Counter(ids(receiver))
        assert told.keys() == {(alarm.id, "firing") for alarm in alarms}
        # The second was killed once, and what it had not committed may come a third time.
        assert sum(told.values()) <= 2 * len(alarms) + 10
        last = {}
        for change in first.changes():
            last[change.alarm] = change.state
        assert last == {
            alarm.id: "acknowledged" if number % 4 == 0 else "unacknowledged" for number, alarm in enumerate(alarms)
        }


def test_in_an_outage_it_says_that_it_is_blind_and_does_not_fill_the_log(
    own_kafka: Kafka, unique_name: str, tmp_path: Path
) -> None:
    with HttpReceiver() as receiver:
        running = Forwarder(own_kafka.bootstrap, unique_name, tmp_path, WEBHOOK_URLS=receiver.url).start()
        try:
            lines = running.log.count("\n")
            own_kafka.brokers[0].kill()
            until(lambda: not running.ready(), 90)
            assert "have not answered" in running.why_not_ready()
            unanswered = running.metric("forwarder_unanswered_seconds")
            assert unanswered["stream_detector_forwarder_unanswered_seconds"] > 0
            time.sleep(20)
            # Under a hundred in ten minutes: what is said at all is said once a minute.
            assert running.log.count("\n") - lines < 10, running.log
            own_kafka.brokers[0].start()
            until(lambda: running.ready() or running.process.poll() is not None, 120)
            assert running.ready(), running.log
        finally:
            running.kill()


def test_the_ledger_shows_in_the_metrics(forwarder: StartForwarder) -> None:
    with HttpReceiver() as receiver:
        running = forwarder(WEBHOOK_URLS=receiver.url)
        running.send("alarms", make_alarm(8), make_alarm(8, 10))
        running.producer.produce(
            running.topics["events"], b'{"time":"2026-05-01T00:20:00Z","event":"break"}', key=b"pm-1"
        )
        running.producer.flush(10)
        until(lambda: running.metric("ledger_saved").get('stream_detector_ledger_saved{asset="pm-1"}') == 95.0)


def test_a_broker_that_goes_away_and_comes_back_costs_no_alarm(
    own_kafka: Kafka, unique_name: str, tmp_path: Path
) -> None:
    with HttpReceiver() as receiver:
        running = Forwarder(own_kafka.bootstrap, unique_name, tmp_path, WEBHOOK_URLS=receiver.url).start()
        try:
            running.send("alarms", make_alarm(1))
            assert receiver.wait_for(1)
            own_kafka.brokers[0].kill()
            time.sleep(3)
            own_kafka.brokers[0].start()
            running.producer = Producer({"bootstrap.servers": own_kafka.bootstrap})
            running.send("alarms", make_alarm(1, 3), make_alarm(5))
            assert receiver.wait_for(3, 60)
            assert ids(receiver)[-2:] == [(make_alarm(1).id, "resolved"), (make_alarm(5).id, "firing")]
            until(lambda: len(running.changes()) == 3)
            own_kafka.brokers[0].kill()
            # Nothing answers a last commit now; the end must come all the same.
            assert running.stop(seconds=20) == 0
        finally:
            if running.process.poll() is None:
                running.kill()


@pytest.mark.parametrize(("settings", "wanted"), [({}, "no receiver is named"), ({"LANGUAGE": "tlh"}, "en, ko")])
def test_a_mistake_in_the_settings_is_told_in_a_sentence(settings: dict[str, str], wanted: str) -> None:
    environment = {
        **os.environ,
        "STREAM_DETECTOR_BOOTSTRAP": "127.0.0.1:1",
        "STREAM_DETECTOR_FORWARD_METRICS_PORT": "0",
    }
    environment |= {f"STREAM_DETECTOR_FORWARD_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "stream_detector", "forward"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
