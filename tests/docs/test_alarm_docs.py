"""docs/alarms.md and docs/ledger.md say what the code does."""

import re

from stream_detector.messages import LoggedEvent
from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
from stream_detector.operations.notify.notification import Writer
from tests.support.messages import make_alarm
from tests.support.paths import DOCS

ALARMS = (DOCS / "alarms.md").read_text(encoding="utf-8")
LEDGER = (DOCS / "ledger.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_generated_one():
    assert ALARMS.endswith(ForwarderSettings.table())


def test_the_text_shown_is_what_is_sent():
    alarm = make_alarm(300)
    alarm = alarm.model_copy(update={"top_sensors": [alarm.top_sensors[0].model_copy(update={"share": 0.61})]})
    texts = Writer("en").write(alarm, "raised").texts
    shown = re.findall(r"```text\n(.*?)\n```", ALARMS, re.DOTALL)
    assert shown == [f"{texts['summary']}\n{texts['description']}"]


def test_the_corrections_shown_are_understood_in_any_order():
    shown = re.findall(r'^    (\{"id".*\})$', LEDGER, re.MULTILINE)
    assert [LoggedEvent.model_validate_json(record).retracted for record in shown] == [False, False, True]
