"""docs/operators.md says what the code does."""

import re

from stream_detector.messages import LoggedEvent
from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
from stream_detector.operations.notify.last_time import LastTime
from stream_detector.operations.notify.notification import Writer
from tests.support.messages import make_alarm
from tests.support.paths import DOCS

PAGE = (DOCS / "operators.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_generated_one() -> None:
    assert ForwarderSettings.table() in PAGE


def test_the_text_shown_is_what_is_sent() -> None:
    alarm = make_alarm(300)
    alarm = alarm.model_copy(update={"top_sensors": [alarm.top_sensors[0].model_copy(update={"share": 0.61})]})
    texts = Writer("en", before=lambda _: LastTime(4, 3, 2.0, 4.0, 1)).write(alarm, "raised").texts
    shown = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert shown == [f"{texts['summary']}\n{texts['description']}"]


def test_the_corrections_shown_are_understood_in_any_order() -> None:
    shown = re.findall(r'^    (\{"id".*\})$', PAGE, re.MULTILINE)
    assert [LoggedEvent.model_validate_json(record).retracted for record in shown] == [False, False, True]
