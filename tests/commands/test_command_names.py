"""Commands that are named otherwise than they are."""

import pytest

from stream_detector.__main__ import main


@pytest.mark.parametrize(
    ("given", "said"), [("runn", "Did you mean 'run'?"), ("ledgre", "Did you mean 'ledger'?"), ("xyz", "'xyz'.")]
)
def test_a_misspelt_command_is_told_what_was_meant(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([given]) == 2
    assert said in capsys.readouterr().err
