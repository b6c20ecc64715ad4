"""Timelines: one observation a second, on a clock that the test turns."""

from collections.abc import Iterable

import pytest

from stream_detector.settings import Settings
from stream_detector.streaming.worker.health.watchdog import Observation, PartitionObservation, Watchdog

AWAY = Observation(False, None)
HOMELESS = Observation(True, None)


def seen(end: int, position: int, processed: int, commit_waiting_seconds: float = 0.0) -> Observation:
    return Observation(True, {0: PartitionObservation(end, position, processed, commit_waiting_seconds)})


@pytest.fixture
def watchdog() -> Watchdog:
    settings = Settings(
        stall_seconds=10, commit_stall_seconds=20, rebalance_stall_seconds=30, outage_seconds=60, bootstrap="h:1"
    )
    return Watchdog(settings, started=0.0)


def verdicts(watchdog: Watchdog, observations: Iterable[Observation]) -> list[int]:
    """The seconds at which the watchdog wants an exit."""
    return [second for second, sight in enumerate(observations) if watchdog.look(sight, float(second)) is not None]


def test_an_idle_topic_is_no_stall(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [seen(5, 5, 5)] * 1_000) == []


def test_a_fetch_that_stays_while_the_log_grows_is_a_stall(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [seen(second + 6, 5, 5) for second in range(12)]) == [11]
    assert "the log ends at 17" in str(watchdog.reason)


def test_processing_that_stays_behind_the_fetches_is_a_stall(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [seen(9, 9, 5)] * 12) == [11]


def test_slow_progress_is_progress(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [seen(10_000, second // 9 + 1, second // 9) for second in range(500)]) == []


def test_reading_the_windows_of_a_bundle_that_takes_over_is_progress(watchdog: Watchdog) -> None:
    timeline = [Observation(True, {0: PartitionObservation(9, 9, 5, windows_read=second)}) for second in range(50)]
    assert verdicts(watchdog, [*timeline, *timeline[-1:] * 11]) == [60]


def test_an_outage_shorter_than_its_setting_is_forgiven_with_all_its_consequences(watchdog: Watchdog) -> None:
    timeline = [seen(9, 5, 5)] * 8 + [AWAY] * 59 + [seen(9, 5, 5)] * 8 + [seen(9, 9, 9)] * 50
    assert verdicts(watchdog, timeline) == []


def test_an_outage_beyond_its_setting_is_an_exit(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [AWAY] * 62) == [61]


def test_an_endless_rebalance_is_a_stall(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [HOMELESS] * 32) == [31]


def test_a_rebalance_that_ends_is_none(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, ([HOMELESS] * 29 + [seen(5, 5, 5)]) * 5) == []


def test_a_worker_without_partitions_stands_by(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [Observation(True, {})] * 500) == []
    assert watchdog.reason is None


def test_a_commit_that_is_pending_for_long_is_a_stall(watchdog: Watchdog) -> None:
    assert verdicts(watchdog, [seen(99, second, second, float(second)) for second in range(22)]) == [21]


def test_the_reason_for_not_being_ready_is_told_before_the_exit(watchdog: Watchdog) -> None:
    watchdog.look(AWAY, 0.0)
    assert "has not answered" in str(watchdog.reason)
    watchdog.look(seen(5, 5, 5), 1.0)
    assert watchdog.reason is None
