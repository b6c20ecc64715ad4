"""How long the brokers gather records for a busy worker."""

import pytest

from stream_detector.streaming.worker.transport.pacing import LONGEST_REST_SECONDS, Pacing


class Day:
    """A worker that handles batches one after another; `rests`: what it asked for after each."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pacing = Pacing(lambda: self.now)
        self.rests: list[float] = []

    def goes_on(self, batches: int, work: float, idle: float) -> float:
        for _ in range(batches):
            self.now += work
            self.pacing.worked(work)
            self.rests.append(self.pacing.rest())
            self.now += idle
        return self.rests[-1]


def test_a_worker_with_little_to_do_fetches_at_once() -> None:
    assert Pacing().rest() == 0.0
    assert Day().goes_on(100, work=0.002, idle=0.048) == 0.0


def test_the_busier_a_worker_the_longer_its_brokers_gather_records_within_bounds() -> None:
    half, most, all_of_it = (Day().goes_on(500, 0.001, idle) for idle in (0.0015, 0.001, 0.0))
    assert 0.005 < half < most == all_of_it == LONGEST_REST_SECONDS


def test_one_long_batch_is_forgotten_within_half_a_second() -> None:
    day = Day()
    assert day.goes_on(1, work=0.2, idle=0.5) == LONGEST_REST_SECONDS
    assert day.pacing.rest() == 0.0


@pytest.mark.parametrize("work", [0.0005, 0.001, 0.002])
def test_what_is_gathered_settles(work: float) -> None:
    """Batches of a fixed cost and of all that came meanwhile: the rest that follows from them stays as it is."""
    day, cycle = Day(), 0.001
    for _ in range(400):
        busy = 4 * work + 0.2 * cycle
        cycle = max(busy, day.goes_on(1, busy, max(cycle - busy, 0.0)) + 0.0015)
    assert max(day.rests[-50:]) - min(day.rests[-50:]) < 0.002
