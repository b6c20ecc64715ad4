"""Whole rows and blocks against their readings one by one."""

import numpy as np
import pytest

from stream_detector.detection.grid.contents import Blocks, Cells, Contents, WholeRows

ROWS = WholeRows(np.array([10.0, 20.0, 20.0]), np.arange(6.0).reshape(3, 2))
BLOCKS = Blocks(
    sensor=np.array([1, 0, 1]), first=np.array([5.0, 6.0, 7.0]), step_seconds=np.array([0.5, 1.0, 0.1]),
    count=np.array([2, 1, 3]), value=np.arange(6.0),
)  # fmt: skip
COLUMNS = ("record", "sensor", "time", "value")


def columns(cells: Cells) -> list[list[float]]:
    return [getattr(cells, name).tolist() for name in COLUMNS]


def test_a_row_is_a_reading_of_each_sensor() -> None:
    assert columns(ROWS.apart()) == [
        [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [10, 10, 20, 20, 20, 20], [0, 1, 2, 3, 4, 5],
    ]  # fmt: skip


def test_a_block_is_samples_at_even_distances() -> None:
    record, sensor, time, value = columns(BLOCKS.apart())
    assert (record, sensor, value) == ([0, 0, 1, 2, 2, 2], [1, 1, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5])
    assert time == pytest.approx([5.0, 5.5, 6.0, 7.0, 7.1, 7.2])
    assert BLOCKS.last_time.tolist() == pytest.approx([5.5, 6.0, 7.2])
    assert BLOCKS.end.tolist() == pytest.approx([6.0, 7.0, 7.3])


@pytest.mark.parametrize("contents", [ROWS, BLOCKS, ROWS.apart(), BLOCKS.apart()], ids=["rows", "blocks", "r", "b"])
@pytest.mark.parametrize("keep", [[True, False, True], [False, True, False], [False] * 3, [True] * 3], ids=str)
def test_what_is_kept_is_what_is_kept_one_by_one(contents: Contents, keep: list[bool]) -> None:
    chosen, cells = np.array(keep), contents.apart()
    kept = contents.select(chosen)
    among = chosen[cells.record]
    assert columns(kept.apart())[1:] == [column[among].tolist() for column in (cells.sensor, cells.time, cells.value)]
    assert len(kept) == among.sum()
    numbers = np.flatnonzero(chosen).tolist()
    assert [numbers[record] for record in kept.apart().record.tolist()] == cells.record[among].tolist()


@pytest.mark.parametrize("contents", [ROWS, BLOCKS, ROWS.apart(), BLOCKS.apart()], ids=["rows", "blocks", "r", "b"])
@pytest.mark.parametrize("record", [0, 1, 2])
def test_one_record_has_its_own_readings(contents: Contents, record: int) -> None:
    cells = contents.apart()
    own = cells.record == record
    for found, column in zip(contents.of(record), (cells.sensor, cells.time, cells.value), strict=True):
        assert found.tolist() == column[own].tolist()
