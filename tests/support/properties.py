"""How much the suite looks for by luck: little in `make unit`, more in `make test`, most in `make properties`."""

import os
from collections.abc import Iterable
from typing import Any

import pytest

EXAMPLES_VARIABLE = "PROPERTY_EXAMPLES"
"""So many examples for every property test (`make properties`)."""

SHARE_VARIABLE = "PROPERTY_SHARE"
"""So large a share of the usual examples (`make unit`)."""


def examples(usual: int) -> int:
    """`max_examples` for Hypothesis: `usual` in the whole suite, always the same ones; see the variables above."""
    share = float(os.environ.get(SHARE_VARIABLE, "1"))
    return int(os.environ.get(EXAMPLES_VARIABLE, max(1, round(usual * share))))


def fast_first(values: Iterable[Any], fast: int) -> list[Any]:
    """Values for `parametrize`: the first `fast` of them in every run, the others where slow tests run as well."""
    return [value if at < fast else pytest.param(value, marks=pytest.mark.slow) for at, value in enumerate(values)]
