"""The examples of docs/plugging-in.md do what the page says."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.messages import Event, Message, Reading, Readings, Row
from tests.support.paths import DOCS, ROOT
from trainer.data.dataset import read_dataset
from trainer.recipe import DataConfig

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


def test_every_row_of_the_first_table_names_a_test_that_exists() -> None:
    table = PAGE.split("| you have |")[1].split("\n\n")[0].splitlines()[2:]
    named = [line.strip("|").split("|")[3].strip().strip("`") for line in table]
    assert len(named) >= 16
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in named if f"def {name}(" not in sources] == []


INFLUX = (
    "#group,false,false,true,false,true\n#datatype,string,long,dateTime:RFC3339,double,string\n#default,_result,,,,\n"
    ",result,table,_time,_value,_field\n,,0,2026-05-01T00:00:00Z,1.5,a\n,,0,2026-05-01T00:01:00Z,2.5,a\n"
)
FILES = {
    "one column a sensor, ISO 8601": "time,a\n2026-05-01T00:00:00Z,1.5\n2026-05-01T00:01:00Z,2.5\n",
    "semicolons and decimal comma": "time;a\n2026-05-01T00:00:00Z;1,5\n2026-05-01T00:01:00Z;2,5\n",
    "day.month.year": "time;a\n01.05.2026 00:00;1.5\n01.05.2026 00:01;2.5\n",
    "date and time in two columns": "Date,Clock,a\n2026-05-01,00:00:00,1.5\n2026-05-01,00:01:00,2.5\n",
    "times without a zone that are not UTC": "time,a\n2026-05-01T02:00:00,1.5\n2026-05-01T02:01:00,2.5\n",
    "lines above the header": "Logger 7\nsite,3\ntime,a\n2026-05-01T00:00:00Z,1.5\n2026-05-01T00:01:00Z,2.5\n",
    "a row of units under the header": "time,a\n,bar\n2026-05-01T00:00:00Z,1.5\n2026-05-01T00:01:00Z,2.5\n",
    "a column of qualities beside each sensor's": (
        "time,a,a_Q\n2026-05-01T00:00:00Z,1.5,192\n2026-05-01T00:01:00Z,2.5,192\n2026-05-01T00:02:00Z,9,0\n"
    ),
    "thousands set apart, beside decimals": (
        "time;a;b\n2026-05-01T00:00:00Z;1.5;1,234.5\n2026-05-01T00:01:00Z;2.5;2,000.5\n"
    ),
    "the newest row first": ("time,a\n2026-05-01T00:02:00Z,3.5\n2026-05-01T00:01:00Z,2.5\n2026-05-01T00:00:00Z,1.5\n"),
    "words in place of values": (
        "time,a\n2026-05-01T00:00:00Z,1.5\n2026-05-01T00:01:00Z,2.5\n2026-05-01T00:02:00Z,Bad\n"
        "2026-05-01T00:03:00Z,Kaputt\n"
    ),
    "one row a value (tag, time, value)": (
        "tag,time,value\na,2026-05-01T00:00:00Z,1.5\nb,2026-05-01T00:00:00Z,7\na,2026-05-01T00:01:00Z,2.5\n"
    ),
    "a Grafana panel's *Download CSV*": "Time,a\n2026-05-01 00:00:00,1.5 bar\n2026-05-01 00:01:00,2.5 bar\n",
    "InfluxDB's annotated CSV": INFLUX,
    "rows without a time": "a\n1.5\n2.5\n",
    "rows of several machines": (
        "time,machine,a\n2026-05-01T00:00:00Z,pm-1,1.5\n2026-05-01T00:00:00Z,pm-2,7\n2026-05-01T00:01:00Z,pm-1,2.5\n"
    ),
}
ROWS = {
    cells[0].strip(): cells[1]
    for cells in (line.strip("|").split("|") for line in PAGE.split("| the file |")[1].splitlines()[2:] if "|" in line)
    if len(cells) == 3
}


def test_every_row_of_the_table_of_files_has_a_file_and_no_file_is_without_a_row() -> None:
    assert FILES.keys() == ROWS.keys()


@pytest.mark.parametrize("row", FILES)
def test_a_file_of_the_table_is_read_with_what_the_table_says(row: str, tmp_path: Path) -> None:
    (tmp_path / "plant.csv").write_text(FILES[row])
    settings = re.findall(r"`([a-z_]+ = [^`]*)`", ROWS[row])
    config = DataConfig.model_validate(tomllib.loads("\n".join(settings)))
    found = read_dataset(tmp_path / "plant.csv", config)
    assert found.values[:2, found.sensors.index("a" if "a" in found.sensors else found.sensors[0])].tolist() == [
        1.5,
        2.5,
    ]
    wanted = [0.0, 1.0] if row == "rows without a time" else [1777593600.0, 1777593660.0]
    assert found.times[:2].tolist() == wanted


def test_the_records_that_need_no_mapping_are_understood() -> None:
    reading, row, block, event, readings, mqtt_mapping, sparkplug_mapping = INDENTED
    Readings.model_validate_json(readings)
    Reading.model_validate_json(reading)
    Row.model_validate_json(row)
    Event.model_validate_json(event)
    assert json.loads(block)["step_seconds"] > 0
    assert FieldMapping(**json.loads(mqtt_mapping)).topic_pattern
    metrics = b'{"timestamp": 1777593720000, "metrics": [{"name": "Speed", "value": 3}]}'
    placed = FieldMapping(**json.loads(sparkplug_mapping)).to_message(metrics, "spBv1.0/mill/DDATA/edge-1/pump-1", 0)
    found = Readings.model_validate_json(placed or b"")
    assert (found.asset, found.readings[0].sensor) == ("mill", "edge-1/pump-1/Speed")
