"""A table of bundles whose lines change one after another: who decides for an asset, and since when."""

import random

import pytest

from stream_detector.decoding.held_table import HeldTable
from tests.support.switches import line_of

GLOBS = ["*", "m*", "m?", "m[12]", "m1", "m2", "*3"]
ASSETS = ["m1", "m2", "m3", "o"]


@pytest.mark.parametrize("seed", range(60))
def test_an_asset_begins_anew_where_the_line_that_decides_for_it_changes_comes_or_goes(seed: int) -> None:
    rng, lines = random.Random(seed), {"*": "a", "m?": "b"}
    held, since = HeldTable.begun(lines.items(), term=3, id_term=0), dict.fromkeys(ASSETS, 3)
    for term in range(4, 12):
        glob, owner = rng.choice(GLOBS), rng.choice(["a", "b", "c", None])
        after = {**lines, glob: owner} if owner else {key: value for key, value in lines.items() if key != glob}
        if after == lines:
            continue
        try:
            held = held.changed(glob, owner, term, term, 10 * term)
        except ValueError:
            continue
        moved = [asset for asset in ASSETS if glob in (line_of(lines, asset), line_of(after, asset))]
        since, lines = since | dict.fromkeys(moved, term), after
        for asset in ASSETS:
            seat, line = held.seat(asset), line_of(lines, asset)
            assert held.since(asset) == since[asset]
            assert (None if seat is None else seat.owner) == (None if line is None else lines[line])
            if seat is not None:
                expected = (3, 0, None) if since[asset] == 3 else (since[asset], since[asset], 10 * since[asset])
                assert (seat.term, seat.id_term, seat.low) == expected
                assert seat in held.seats
        assert held.table.lines == tuple(sorted(lines.items()))


def test_a_line_that_contradicts_another_and_the_removal_of_the_last_one_are_refused() -> None:
    held = HeldTable.begun([("m[12]", "a")], 0, 0)
    with pytest.raises(ValueError, match="equally specific"):
        held.changed("m[23]", "b", 1, 1, None)
    with pytest.raises(ValueError, match="last line"):
        held.changed("m[12]", None, 1, 1, None)
