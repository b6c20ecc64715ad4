"""The examples of docs/plugging-in.md do what the page says."""

import json
import re

import pytest

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.messages import Event, Message, Reading, Readings, Row
from tests.support.paths import DOCS

PAGE = (DOCS / "plugging-in.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = [BLOCKS[place : place + 3] for place in range(0, len(BLOCKS), 3)]
FORMS: dict[str, type[Message]] = {"values": Row, "readings": Readings}
INDENTED = [line.strip() for line in PAGE.splitlines() if line.startswith('    {"')]


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_record_with_its_mapping_becomes_what_the_page_shows(example: list[str]) -> None:
    record, mapping, wanted = example
    key = b"umh.v1.acme.seoul.paper.pm-1._historian.x7"
    found = FieldMapping(**json.loads(mapping)).to_message(record.encode(), "plant.pm-1.x7", 0, key)
    assert json.loads(found) == json.loads(wanted)
    model: type[Message] = next((model for name, model in FORMS.items() if name in json.loads(wanted)), Reading)
    model.model_validate_json(found)


def test_there_are_examples_and_none_is_cut_short() -> None:
    assert len(EXAMPLES) >= 4
    assert all(len(example) == 3 for example in EXAMPLES)


def test_the_records_that_need_no_mapping_are_understood() -> None:
    reading, row, block, event, readings, mqtt_mapping = INDENTED
    Readings.model_validate_json(readings)
    Reading.model_validate_json(reading)
    Row.model_validate_json(row)
    Event.model_validate_json(event)
    assert json.loads(block)["step_seconds"] > 0
    assert FieldMapping(**json.loads(mqtt_mapping)).topic_pattern
