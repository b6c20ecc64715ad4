"""Property tests take the number of their examples from `tests.support.properties`: `make properties` sets it."""

import ast

import pytest

from tests.support.paths import ROOT


@pytest.mark.slow
def test_no_property_test_fixes_its_number_of_examples() -> None:
    fixed = [
        f"{file.relative_to(ROOT)}:{node.value.lineno}: max_examples={ast.unparse(node.value)}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.keyword)
        and node.arg == "max_examples"
        and not ast.unparse(node.value).startswith("examples(")
    ]
    assert not fixed, "wanted max_examples=examples(...), from tests.support.properties"
