"""What the engine's time goes to: every part is found, and together they are all of it."""

import pytest

from benchmarks.broker.load import Load
from benchmarks.engine import Stopwatch, parts


@pytest.mark.parametrize("form", ["readings", "rows", "blocks"])
def test_the_parts_of_the_engine_are_all_of_it(form: str) -> None:
    load = Load("", form, 4, 1, 1 / 1200, 200_000) if form == "blocks" else Load("", form, 4, 10, 120.0, 60_000)
    found = parts(load, 5)
    whole = found.pop("all")
    assert set(found) == {"decode", "grid and bookkeeping", "windows", "scores", "decisions"}
    assert min(found.values()) >= 0
    assert sum(found.values()) == pytest.approx(whole)


def test_what_runs_within_itself_is_counted_once() -> None:
    class Countdown:
        def run(self, left: int) -> int:
            return sum(range(20_000)) + (self.run(left - 1) if left else 0)

    countdown, watch = Countdown(), Stopwatch()
    watch.on(countdown, "run", "inner")
    watch.on(countdown, "run", "outer")
    countdown.run(50)
    assert watch.seconds["inner"] <= watch.seconds["outer"] < 1.5 * watch.seconds["inner"]
