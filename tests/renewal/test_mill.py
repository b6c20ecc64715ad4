"""A plant that is renewed each day saves what the backtest says; two days of it, with a small ensemble (`make long`).

With every run of the tests, `tests/streaming/test_ledger_against_backtest.py` compares the two of one bundle.
"""

from pathlib import Path

import pytest

from tests.renewal.mill import FILE, Mill, recipe_in
from tests.support.public_data import data_set
from tests.support.stack.kafka import why_no_kafka


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_two_days_renewed_through_kafka_save_what_the_backtest_says(shared_data: Path, tmp_path: Path) -> None:
    if (reason := why_no_kafka()) is not None:
        pytest.skip(reason)
    data_set(shared_data, FILE.parent.name)
    recipe = recipe_in(tmp_path, quick=True)
    claims = Mill.of(shared_data / FILE, recipe, None, 2).live(tmp_path)
    assert claims.all_hold, claims.table()
