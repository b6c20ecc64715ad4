"""The list of mutations fits the product: each text that is to be replaced is there, and the tests named exist."""

from pathlib import Path

import pytest

from tests import mutations
from tests.mutations import FAST, MUTATIONS, SHARE, Mutation, first_failure, main
from tests.support.paths import ROOT
from tests.support.properties import SHARE_VARIABLE


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_mutation_finds_its_text_and_changes_it_to_code(mutation: Mutation) -> None:
    broken = mutation.broken(ROOT)
    assert broken != (ROOT / mutation.file).read_text(encoding="utf-8")
    compile(broken, mutation.file, "exec")
    assert all((ROOT / test).is_file() for test in mutation.tests)


def test_mutations_are_looked_for_by_the_tests_of_make_unit() -> None:
    assert f'{SHARE_VARIABLE}={SHARE} $(BIN)/python -m pytest -q -n 2 -m "{FAST}"' in (ROOT / "Makefile").read_text()


def test_each_mutation_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 25


def test_a_text_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "product.py").write_text("x = 1\nx = 1\n")
    for before, found in (("y", 0), ("x = 1", 2)):
        with pytest.raises(ValueError, match=f"{found} times in product.py, once is wanted"):
            Mutation("m", "product.py", before, "z", ()).broken(tmp_path)


@pytest.mark.slow
def test_a_mutation_that_no_test_notices_survives_and_one_that_is_noticed_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "tree"
    source.mkdir()
    (source / "product.py").write_text("def double(x):\n    return x * 2\n\n\nUNTESTED = 1\n")
    (source / "tests").mkdir()
    (source / "tests" / "test_python_api.py").write_text(
        "from product import double\n\n\ndef test_it_doubles():\n    assert double(3) == 6\n"
    )
    monkeypatch.setattr(mutations, "ROOT", source)
    monkeypatch.setattr(mutations, "COPIED", ("product.py", "tests"))
    monkeypatch.setattr(
        mutations,
        "MUTATIONS",
        (
            Mutation("noticed", "product.py", "x * 2", "x * 3", ("tests/test_python_api.py",)),
            Mutation("not noticed", "product.py", "UNTESTED = 1", "UNTESTED = 2", ("tests/test_python_api.py",)),
        ),
    )
    monkeypatch.setattr("sys.argv", ["mutations"])
    assert main() == 1
    told = capsys.readouterr().out
    assert "caught  noticed" in told
    assert "by tests/test_python_api.py::test_it_doubles" in told
    assert "SURVIVED  not noticed" in told
    assert "2 mutations, 1 caught, 1 survived" in told
    assert first_failure(source, ["tests"]) is None
