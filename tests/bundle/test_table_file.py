"""The file of a table, and what is refused in one sentence."""

from pathlib import Path

import pytest

from stream_detector.__main__ import main
from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.bundle.table_file import is_table, load_table
from stream_detector.errors import BundleError, UsageError
from tests.support.bundles import write_small_bundle

GOOD = """
[[bundles]]
assets = ["line1-*", "oven"]
bundle = "one"
[[bundles]]
assets = "*"
bundle = "other"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small_bundle(tmp_path / "one")
    write_small_bundle(tmp_path / "other", recipe="other")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    (folder / "plant.toml").write_text(text)
    return folder / "plant.toml"


def test_folders_lie_where_the_file_lies_and_each_bundle_is_loaded_once(folder: Path) -> None:
    loaded: list[str] = []

    def load(path: Path) -> Bundle:
        loaded.append(path.name)
        return load_bundle(path)

    table = load_table(written(folder, GOOD + '[[bundles]]\nassets = "press"\nbundle = "one"\n'), load)
    assert loaded == ["one", "other"]
    ids = {path.name: load_bundle(path).manifest.bundle_id for path in (folder / "one", folder / "other")}
    owners = {asset: table.assets.owner(asset) for asset in ("line1-a", "oven", "press", "line2")}
    assert owners == {"line1-a": ids["one"], "oven": ids["one"], "press": ids["one"], "line2": ids["other"]}
    assert table.manifest.bundle_id.startswith("table-")
    assert table.manifest.recipe in ("small, other", "other, small")
    assert table.manifest.of_asset("oven") == load_bundle(folder / "one").manifest


def test_how_an_editor_saved_the_file_is_of_no_account(folder: Path) -> None:
    table = load_table(written(folder, GOOD), load_bundle)
    other = folder / "PLANT.TOML"
    other.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert is_table(other)
    assert load_table(other, load_bundle).manifest.bundle_id == table.manifest.bundle_id


def test_a_line_without_assets_is_refused_in_words(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"bundles\.0\.assets: [^;]*at least 1 item[^;]*; wanted is"):
        load_table(written(folder, '[[bundles]]\nassets = []\nbundle = "one"\n'), load_bundle)


def test_a_table_hangs_on_its_lines_and_bundles_alone(folder: Path) -> None:
    table = load_table(written(folder, GOOD), load_bundle)
    split = GOOD.replace('["line1-*", "oven"]', '"oven"') + '[[bundles]]\nassets = "line1-*"\nbundle = "./one"\n'
    assert load_table(written(folder, split), load_bundle).manifest.bundle_id == table.manifest.bundle_id
    others = (GOOD.replace("oven", "ovens"), GOOD.replace('"other"', '"one"'))
    assert table.manifest.bundle_id not in {
        load_table(written(folder, text), load_bundle).manifest.bundle_id for text in others
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "bundles: "),
        ("bundles = 3", "wanted is for each bundle"),
        ("[[bundles]]\nassets = []\nbundle = 'one'", "bundles.0.assets"),
        ("[[bundles]]\nassets = '*'\nbundles = 'one'", "bundles.0.bundle"),
        ("[[bundles", "cannot be used: "),
        ("bundles = " + "[" * 5000, "cannot be used: maximum recursion depth"),
        ('[[bundles]]\nassets = "*"\nbundle = "a\\u0000b"', "bundles.0.bundle"),
        ('[[bundles]]\nassets = "*"\nbundle = "one\\n"', "bundles.0.bundle"),
        (GOOD + "[[bundles]]\nassets = 'lin?1-*'\nbundle = 'other'\n[[bundles]]\nassets = 'lin?1-*'\nbundle = 'one'",
         "'lin?1-*' and 'lin?1-*' are equally specific, fit the same assets and name different bundles"),
        (GOOD + "[[bundles]]\nassets = '*-line1'\nbundle = 'other'", "make one of them more specific"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_one_sentence(folder: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_table(written(folder, text), load_bundle)
    assert words in str(refused.value)
    assert "plant.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_bundle_that_is_not_there_is_named_with_its_line(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"plant.toml: bundle = 'nowhere': .*nowhere"):
        load_table(written(folder, "[[bundles]]\nassets = '*'\nbundle = 'nowhere'"), load_bundle)


def test_an_alias_is_refused_for_a_table_must_not_change_by_itself(folder: Path) -> None:
    from stream_detector.bundle.registration import add_bundle

    registry = Registry.create(folder / "registry")
    bundle_id = add_bundle(registry, folder / "one", 0.0, "me").manifest.bundle_id
    registry.promote("champion", bundle_id, "2026-01-01T00:00:00Z", "me")
    with pytest.raises(UsageError, match="is an alias"):
        load_table(written(folder, "[[bundles]]\nassets = '*'\nbundle = 'registry/champion'"), load_bundle)
    by_id = load_table(written(folder, f"[[bundles]]\nassets = '*'\nbundle = 'registry/{bundle_id}'"), load_bundle)
    assert by_id.bundles[0].manifest.bundle_id == bundle_id


def test_check_bundle_says_which_bundle_of_a_table_is_for_which_assets(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-bundle", str(written(folder, GOOD))]) == 0
    shown = capsys.readouterr().out
    assert "plant.toml: table-" in shown
    assert "assets line1-*, oven: whole, unchanged" in shown
    assert "assets *: whole, unchanged" in shown


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert is_table(tmp_path / "gone.toml")
    assert not is_table(tmp_path)
    with pytest.raises(UsageError, match=r"gone.toml cannot be read: No such file"):
        load_table(tmp_path / "gone.toml", load_bundle)
