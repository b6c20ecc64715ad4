"""How many examples a property test tries: few and always the same in the suite, many in `make properties`."""

import os

EXAMPLES_VARIABLE = "PROPERTY_EXAMPLES"


def examples(usual: int) -> int:
    """`max_examples` for Hypothesis: `usual`, unless `make properties` asks for another number of every test."""
    return int(os.environ.get(EXAMPLES_VARIABLE, usual))
