"""Which line of a table an asset belongs to."""

from fnmatch import fnmatchcase
from itertools import product
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.decoding.asset_table import AssetTable, may_fit_one_name, specificity
from tests.support.properties import examples

GLOBS = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "[b-c]", "[]a]"]), max_size=3).map("".join)
NAMES = ["".join(name) for length in range(5) for name in product("abc]", repeat=length)]


@settings(max_examples=examples(60))
@given(GLOBS, GLOBS)
def test_two_globs_may_fit_one_name_if_there_is_such_a_name(one: str, other: str) -> None:
    found = any(fnmatchcase(name, one) and fnmatchcase(name, other) for name in NAMES)
    assert may_fit_one_name(one, other) == may_fit_one_name(other, one) == found


@pytest.mark.parametrize(
    ("asset", "owner"),
    [("line1-pump3", "pump"), ("line1-pump", "pumps"), ("line1-fan", "line"), ("line12", "any"), ("x[1]", "odd")],
)
def test_the_most_specific_line_decides_in_whatever_order_they_stand(asset: str, owner: str) -> None:
    lines = [
        ("*", "any"),
        ("line1-*", "line"),
        ("line1-pump*", "pumps"),
        ("line1-pump[0-9]", "pump"),
        ("x[[]1]", "odd"),
    ]
    assert AssetTable(lines).owner(asset) == AssetTable(reversed(lines)).owner(asset) == owner
    assert AssetTable(lines).table_id == AssetTable([*reversed(lines), lines[0]]).table_id


def test_lines_that_are_equally_specific_are_refused_only_where_they_disagree_about_a_name() -> None:
    AssetTable([("line?", "a"), ("li?e1", "a")])
    AssetTable([("line1-*", "a"), ("line2-*", "b")])
    AssetTable([("*[12]", "a"), ("*[34]", "b")])
    with pytest.raises(ValueError, match="equally specific"):
        AssetTable([("line?", "a"), ("lin?1", "b")])


def test_a_table_of_thousands_of_lines_is_looked_through_in_seconds() -> None:
    began = process_time()
    table = AssetTable((f"line{number}-*", f"{number % 3}") for number in range(1000))
    assert process_time() - began < 5
    assert table.owner("line999-pump") == "0"
    with pytest.raises(ValueError, match="equally specific"):
        AssetTable([*table.lines, ("lin?7-*", "x"), ("li?e7-*", "y")])


def test_the_longest_globs_are_held_against_each_other() -> None:
    assert may_fit_one_name("a" * 1000, "?" * 1000)
    assert may_fit_one_name("a*" * 124, "*a" * 124)


def test_characters_of_any_plane_are_held_against_each_other() -> None:
    assert may_fit_one_name("[\U0001f600]", "[\U0001f600\U0001f601]")
    assert may_fit_one_name("\U0001f600", "?")


def test_a_bracket_that_is_not_closed_stands_for_itself() -> None:
    assert specificity("a[") == (True, 2, 0, 0)
    assert specificity("a[]") == (True, 3, 0, 0)
    assert specificity("[!]") == (True, 3, 0, 0)
    assert AssetTable([("a[", "x")]).owner("a[") == "x"
