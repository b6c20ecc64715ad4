"""The plant's own list of sensors and assets."""

from pathlib import Path

import pytest

from stream_detector.errors import UsageError
from stream_detector.operations.console.tags import read_tags
from stream_detector.operations.console.views import Tag


def test_columns_may_be_missing_and_stand_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "tags.csv"
    file.write_text("\ufeffUnit,Name,description\nm/min,x7,press draw\n,pm-1,\n,,nothing\n", encoding="utf-8")
    assert read_tags(file) == {"x7": Tag("press draw", "m/min"), "pm-1": Tag()}


@pytest.mark.parametrize("content", [b"sensor,unit\nx,m\n", b"", b"\xff\xfe\x00"])
def test_a_file_that_is_no_such_list_is_refused_with_what_is_wanted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tags.csv"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"name, description, unit, area|cannot be read"):
        read_tags(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_tags(tmp_path / "none.csv")
