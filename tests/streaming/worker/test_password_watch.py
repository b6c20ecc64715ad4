"""A worker takes a new password at the brokers from its file, once they do."""

import asyncio
import os
from pathlib import Path

import pytest

from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import Unreachable
from stream_detector.streaming.worker.password_watch import PasswordWatch, password_watch_of
from tests.support.plant import make_log, small_bundle
from tests.support.stack.kafka import create_topic, why_no_kafka
from tests.support.stack.secured import PASSWORD, secured_kafka
from tests.support.stack.workers import WorkerProcess, caught_up, produce, topic, wait_for


class Brokers:
    """Take one password."""

    def __init__(self, taken: str) -> None:
        self.taken = taken
        self.asked = 0

    async def __call__(self, settings: Settings) -> Unreachable | None:
        self.asked += 1
        return None if settings.password() == self.taken else Unreachable("the login is refused", refused=True)


def test_a_new_password_is_taken_when_the_brokers_take_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, now = tmp_path / "password", [0.0]
    file.write_text("old")
    settings = Settings(
        security_protocol="SASL_SSL", sasl_username="detector", sasl_password_file=file, sasl_mechanism="PLAIN"
    )
    brokers = Brokers("old")
    assert password_watch_of(settings, brokers) is not None
    watch = PasswordWatch(settings, brokers, lambda: now[0])

    def changed() -> bool:
        return asyncio.run(watch.changed())

    assert (changed(), brokers.asked) == (False, 0)
    file.write_text("new")
    assert [changed() for _ in range(3)] == [False] * 3
    assert brokers.asked == 1, "a wrong one is tried seldom"
    assert "the new password at the brokers is not used: the login is refused" in caplog.messages
    brokers.taken, now[0] = "new", 31.0
    assert changed()
    file.unlink()
    assert not changed()


def test_who_logs_in_without_a_password_watches_none(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the client")
    tokens = Settings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_username="detector",
        sasl_password_file=tmp_path / "secret", sasl_token_url="https://tokens.example/",
    )  # fmt: skip
    assert password_watch_of(tokens, Brokers("any")) is None
    assert password_watch_of(Settings(), Brokers("any")) is None


@pytest.mark.kafka
@pytest.mark.slow
def test_a_worker_begins_again_with_the_password_that_its_user_was_given(tmp_path: Path) -> None:
    reason = why_no_kafka()
    if reason is not None:
        pytest.skip(reason)
    with secured_kafka(tmp_path) as secured:
        prefix, bootstrap = "renewed", secured.kafka.bootstrap
        create_topic(bootstrap, topic(prefix, "readings"), 4)
        log = make_log(seed=5, steps=120)
        produce(bootstrap, topic(prefix, "readings"), log[: len(log) // 2])
        worker = WorkerProcess(
            secured.kafka.address("SCRAM"), prefix, small_bundle(tmp_path / "bundle"), tmp_path / "worker.log",
            environment=secured.variables("SCRAM", tmp_path),
        )  # fmt: skip
        worker.start()
        try:
            wait_for(lambda: caught_up(bootstrap, prefix), 90, "the first half is committed", each=0.5)
            assert worker.process is not None
            before = os.getpid(), worker.process.pid
            (tmp_path / "password").write_text("another")
            wait_for(lambda: "the new password at the brokers is not used" in worker.log_text(), 30, "it says so")
            secured.give_password("another")
            wait_for(lambda: worker.log_text().count("starts: bundle") == 2, 90, "it begins again", each=0.5)
            produce(bootstrap, topic(prefix, "readings"), log[len(log) // 2 :])
            wait_for(lambda: caught_up(bootstrap, prefix), 90, "the second half is committed", each=0.5)
            assert (os.getpid(), worker.process.pid) == before
            assert worker.alive
        finally:
            worker.stop()
        assert PASSWORD not in worker.log_text()
        assert "another" not in worker.log_text().replace("another one", "")
