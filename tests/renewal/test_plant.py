"""What the run of renewal stands on: a plant whose days follow each other, and claims that may not hold."""

from pathlib import Path

import orjson
import pytest

from stream_detector.errors import DataError
from tests.renewal.claims import Claims
from tests.renewal.plant import BEHIND_MIDNIGHT_SECONDS, DAY, Plant
from tests.renewal.story import Days, Story


@pytest.fixture(scope="module")
def plant() -> Plant:
    return Plant.simulated(1, 5, 3)


@pytest.mark.slow
def test_days_follow_each_other_with_a_little_of_the_next_and_breaks_before_their_rows(plant: Plant) -> None:
    days = [list(plant.between(first, first + 1)) for first in range(3)]
    assert days[0] + days[1] + days[2] == list(plant.between(0, 3))
    for number, day in enumerate(days):
        assert plant.at(number) <= day[0][0] < day[-1][0] < plant.at(number + 1) + BEHIND_MIDNIGHT_SECONDS
        assert len(day) > 0.5 * DAY / 120
    whole = list(plant.between(0, 3))
    breaks = [place for place, (_, _, is_event) in enumerate(whole) if is_event]
    assert breaks
    assert all(whole[place + 1][0] == whole[place][0] for place in breaks)
    assert set(orjson.loads(whole[0][1])["values"]).isdisjoint({"grade", "broke_pump", "y"})


def test_an_act_that_breaks_off_is_a_claim_that_does_not_hold_and_the_next_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gone:
        """A site of which nothing answers."""

        def __getattr__(self, name: str) -> object:
            raise DataError(f"no {name}")

    claims: Claims = Story(Gone(), tmp_path / "bad.toml", tmp_path / "out.html", Days()).tell()
    assert len(claims.held) == 6
    assert not claims.all_hold
    assert capsys.readouterr().out.count("DOES NOT HOLD") == 6
    assert claims.table().count("**no**") == 6
