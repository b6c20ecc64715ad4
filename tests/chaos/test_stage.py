"""What a trial of chaos demands of the alarms around what it has destroyed."""

import json

import pytest

from stream_detector.messages import to_iso
from tests.chaos.stage import forgives
from tests.support.plant import BASE

AROUND = (BASE + 100.0, BASE + 400.0)


@pytest.mark.parametrize(
    ("raised", "cleared", "forgiven"),
    [
        (150, None, True),
        (150, 500, True),
        (90, 110, True),  # it was up when its windows were removed, and may end otherwise
        (90, None, False),
        (10, 90, False),
        (410, 420, False),
    ],
)
def test_an_alarm_that_was_up_while_windows_were_missing_may_differ_and_no_other(
    raised: float, cleared: float | None, forgiven: bool
) -> None:
    ended = None if cleared is None else to_iso(BASE + cleared)
    content = json.dumps({"raised_at": to_iso(BASE + raised), "cleared_at": ended}).encode()
    assert forgives(AROUND, content) is forgiven
    assert not forgives(None, content)
