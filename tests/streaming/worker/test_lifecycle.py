"""Why a worker is ready, alive or over."""

import asyncio
import threading

import pytest
from aiokafka.errors import KafkaConnectionError

from stream_detector.errors import BrokerError, BundleError, StalledError, UsageError
from stream_detector.streaming.worker.lifecycle import STARTING, Lifecycle, exit_code_of
from tests.support.event_loop import in_event_loop


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (BundleError("x"), 2),
        (BrokerError("x"), 1),
        (StalledError("x"), 75),
        (KafkaConnectionError("x"), 75),
        (ZeroDivisionError(), 70),
        (asyncio.CancelledError(), 70),
    ],
    ids=repr,
)
def test_every_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_worker_is_not_ready_before_it_says_so() -> None:
    lifecycle = Lifecycle(10.0)
    assert lifecycle.why_not_ready() == STARTING
    assert lifecycle.exit_code == 0


def test_the_first_error_counts(caplog: pytest.LogCaptureFixture) -> None:
    lifecycle = Lifecycle(10.0)
    lifecycle.fail(StalledError("the first"))
    lifecycle.fail(ZeroDivisionError("the second"))
    assert lifecycle.exit_code == 75
    assert lifecycle.ending.is_set()
    assert "ending with exit code 75: the first" in caplog.text
    assert "the second" not in caplog.text


def test_an_error_without_words_is_named(caplog: pytest.LogCaptureFixture) -> None:
    Lifecycle(10.0).fail(ZeroDivisionError())
    assert "ending with exit code 70: ZeroDivisionError()" in caplog.text


def test_a_loop_that_does_not_turn_is_not_alive() -> None:
    now = [0.0]
    lifecycle = Lifecycle(10.0, clock=lambda: now[0])
    now[0] = 10.0
    assert lifecycle.why_not_alive() is None
    now[0] = 11.0
    assert lifecycle.why_not_alive() == "the worker's loop has not turned for 11 s"
    lifecycle.beat()
    assert lifecycle.why_not_alive() is None


@in_event_loop
async def test_another_thread_can_ask_for_the_end() -> None:
    lifecycle = Lifecycle(10.0)
    lifecycle.begin()
    threading.Thread(target=lifecycle.stop).start()
    await lifecycle.ending.wait()
    assert lifecycle.exit_code == 0


@in_event_loop
async def test_another_thread_may_end_it_with_an_error() -> None:
    lifecycle = Lifecycle(10.0)
    lifecycle.begin()
    threading.Thread(target=lifecycle.fail_soon, args=(UsageError("no such template"),)).start()
    async with asyncio.timeout(5):
        await lifecycle.ending.wait()
    assert (lifecycle.exit_code, lifecycle.not_ready) == (2, "no such template")
