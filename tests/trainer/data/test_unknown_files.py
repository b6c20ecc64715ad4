"""Files as historians and loggers write them, from `trainer init` to what `trainer fit` reads."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from stream_detector.errors import DataError
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.profile import Profile, profile
from trainer.data.recipe_text import recipe_text
from trainer.recipe import load_recipe

ROWS = 40
FIRST = datetime(2025, 10, 20, tzinfo=UTC).timestamp()
STEP = 300
FLOW = 1500.25 + 10 * np.sin(np.arange(ROWS))
"""Numbers with thousands and decimals, in every row."""


def moments(form: str) -> list[str]:
    return [datetime.fromtimestamp(FIRST + STEP * row, UTC).strftime(form) for row in range(ROWS)]


def read(folder: Path, text: str, name: str = "export.csv", encoding: str = "utf-8") -> tuple[Profile, Dataset]:
    """The profile, and the file as the recipe that was written for it reads it."""
    path = folder / name
    path.write_text(text, encoding=encoding)
    return profiled(path)


def profiled(path: Path) -> tuple[Profile, Dataset]:
    found = profile(path)
    recipe = path.parent / "plant.toml"
    recipe.write_text(recipe_text(found), encoding="utf-8")
    return found, read_dataset(path, load_recipe(str(recipe)).data)


def demand(dataset: Dataset, sensors: tuple[str, ...], rows: int = ROWS) -> None:
    assert dataset.sensors == sensors
    assert len(dataset) == rows
    np.testing.assert_allclose(dataset.times, FIRST + STEP * np.arange(rows))
    np.testing.assert_allclose(dataset.values[:, 0], FLOW, atol=0.006)


def german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize("mark", [".", " ", "\u00a0", "\u202f", "'"])
def test_thousands_are_found_out_and_told(tmp_path: Path, mark: str) -> None:
    cells = [german(value).replace(".", mark) for value in FLOW]
    text = "Datum;Uhrzeit;Dampf;Druck\n;;kg/h;bar\n"
    text += "".join(
        f"{at};{cell};1,{row % 7}\n"
        for row, (at, cell) in enumerate(zip(moments("%d.%m.%Y;%H:%M:%S"), cells, strict=True))
    )
    found, dataset = read(tmp_path, text, encoding="utf-8")
    demand(dataset, ("Dampf", "Druck"))
    assert any("the mark between thousands is" in line for line in found.history.report.lines())


def test_a_comma_before_three_digits_is_asked_about(tmp_path: Path) -> None:
    text = "time;flow;temp\n" + "".join(
        f"{at};{row + 1},510;{row % 7}.5\n" for row, at in enumerate(moments("%Y-%m-%d %H:%M"))
    )
    found, dataset = read(tmp_path, text)
    assert dataset.sensors == ("temp",)
    assert "numbers of 'flow' may be thousands or decimals: say decimal and thousands" in found.questions


def test_a_report_of_a_spreadsheet_has_lines_above_a_sum_below_and_clocks_of_twelve_hours(tmp_path: Path) -> None:
    text = 'Report generated,10/22/2025\nSite,"Plant, north"\n\nDate/Time,Flow (gpm),Status\n'
    text += "".join(
        f'{at},"{value:,.2f}",OK\n' for at, value in zip(moments("%m/%d/%Y %I:%M:%S %p"), FLOW, strict=True)
    )
    found, dataset = read(tmp_path, text + '\nTotal,"60,000",\n', encoding="utf-8-sig")
    demand(dataset, ("Flow (gpm)",))
    assert "1 rows at the end have no time and were left out, the first: 'Total'" in found.history.report.lines()


def test_a_wide_table_of_tags_is_the_long_form_however_many_columns_it_has(tmp_path: Path) -> None:
    text = "DateTime,TagName,Value,QualityDetail,OPCQuality,wwResolution,StartDateTime\n"
    for row, at in enumerate(moments("%Y-%m-%d %H:%M:%S.0000000")):
        text += f"{at},Flow,{FLOW[row]:.2f},192,192,300000,{at}\n"
        text += f"{at},Temp,{row if row % 9 else '(null)'},192,{192 if row % 9 else 0},300000,{at}\n"
    _, dataset = read(tmp_path, text)
    demand(dataset, ("Flow", "Temp"))
    assert np.isnan(dataset.values[::9, 1]).all()


def test_the_table_of_a_scada_database_is_the_long_form(tmp_path: Path) -> None:
    text = '"tagid","intvalue","floatvalue","stringvalue","datevalue","dataintegrity","t_stamp"\n'
    for row in range(ROWS):
        text += f'"1","","{FLOW[row]:.2f}","","","192","{int(FIRST + STEP * row) * 1000}"\n'
    demand(read(tmp_path, text)[1], ("1",))


def test_what_marks_a_good_value_is_what_most_values_have(tmp_path: Path) -> None:
    text = '"VarName";"TimeString";"VarValue";"Validity"\n'
    for row, at in enumerate(moments("%d.%m.%Y %H:%M:%S")):
        text += f'"Flow";"{at}";{german(FLOW[row]).replace(".", "")};1\n"Temp";"{at}";{row},5;{int(row % 9 > 0)}\n'
    found, dataset = read(tmp_path, text + '"$RT_COUNT$";"";2;""\n')
    assert found.layout.good_quality == ("1",)
    assert any(question.startswith("does '1' in column 'Validity' mark a good value?") for question in found.questions)
    demand(dataset, ("Flow", "Temp"))
    assert np.isnan(dataset.values[::9, 1]).all()


def test_columns_of_qualities_are_no_sensors(tmp_path: Path) -> None:
    text = "Time,FIC1,FIC1_Q,TI2,TI2_Q\n"
    for row, at in enumerate(moments("%Y-%m-%dT%H:%M:%S")):
        text += f"{at},{FLOW[row]:.2f},192,{row % 11},{192 if row % 9 else 24}\n"
    _, dataset = read(tmp_path, text)
    demand(dataset, ("FIC1", "TI2"))
    assert np.isnan(dataset.values[::9, 1]).all()


@pytest.mark.parametrize(("running", "stopped"), [("1", "0"), ("on", "off"), ("0", "2")])
def test_a_status_that_may_be_that_of_a_pump_takes_no_value_away_and_is_asked_about(
    tmp_path: Path, running: str, stopped: str
) -> None:
    text = "Time,flow,pump,pump status\n"
    for row, at in enumerate(moments("%Y-%m-%dT%H:%M:%S")):
        text += f"{at},{FLOW[row]:.2f},{row % 11},{running if row % 9 else stopped}\n"
    found, dataset = read(tmp_path, text)
    assert dataset.sensors[:2] == ("flow", "pump")
    assert np.isfinite(dataset.values).all()
    assert any("does 'pump status' say which values of the sensor beside it are good?" in q for q in found.questions)


def test_a_tag_of_words_is_left_out_and_its_reason_told(tmp_path: Path) -> None:
    text = "timestamp,point,value\n"
    for row, at in enumerate(moments("%Y-%m-%dT%H:%M:%S+00:00")):
        text += f"{at},A.flow,{FLOW[row]:.2f}\n{at},A.state,{'Running' if row % 9 else 'Stopped'}\n"
    found, dataset = read(tmp_path, text)
    demand(dataset, ("A.flow",))
    assert found.left_out["A.state"] == "holds text, such as 'Stopped' in data row 2"


def test_measurements_of_influx_with_the_same_field_are_kept_apart(tmp_path: Path) -> None:
    text = "#group,false,false,false,false,true,true\n#datatype,string,long,dateTime:RFC3339,double,string,string\n"
    text += "#default,_result,,,,,\n,result,table,_time,_value,_field,_measurement\n"
    for number, name in enumerate(("pump1", "pump2")):
        for row, at in enumerate(moments("%Y-%m-%dT%H:%M:%SZ")):
            text += f",,{number},{at},{FLOW[row] + 7 * number * row:.2f},value,{name}\n"
    demand(read(tmp_path, text)[1], ("pump1.value", "pump2.value"))


def test_days_of_excel_with_a_decimal_comma_are_times(tmp_path: Path) -> None:
    text = "Time;Flow\n"
    for row in range(ROWS):
        text += f"{(FIRST + STEP * row) / 86_400 + 25_569:.8f};{FLOW[row]:.2f}\n".replace(".", ",")
    demand(read(tmp_path, text)[1], ("Flow",))


def test_months_in_another_language_are_read(tmp_path: Path) -> None:
    text = "Zeit;Fluss\n" + "".join(
        f"{at.replace('Oct', 'Okt')};{value:.2f}\n" for at, value in zip(moments("%d-%b-%Y %H:%M"), FLOW, strict=True)
    )
    demand(read(tmp_path, text)[1], ("Fluss",))


def test_names_of_zones_behind_the_times_are_read(tmp_path: Path) -> None:
    shifted = datetime.fromtimestamp(FIRST, UTC).timestamp() + 7200
    text = "timestamp,flow\n"
    for row in range(ROWS):
        local = datetime.fromtimestamp(shifted + STEP * row, UTC)
        text += f"{local:%Y-%m-%d %H:%M:%S} CEST,{FLOW[row]:.2f}\n"
    demand(read(tmp_path, text)[1], ("flow",))


def test_times_beside_each_sensor_are_asked_about(tmp_path: Path) -> None:
    text = "FIC101 time,FIC101,PI102 time,PI102\n"
    for row, at in enumerate(moments("%d-%b-%y %H:%M:%S")):
        text += f"{at},{FLOW[row]:.2f},{at[:-2]}17,{row % 7}\n"
    found, dataset = read(tmp_path, text)
    demand(dataset, ("FIC101", "PI102"))
    assert any(question.startswith("'PI102 time' holds times too") for question in found.questions)


def test_a_number_that_repeats_is_no_asset(tmp_path: Path) -> None:
    text = "time,flow,grade\n" + "".join(
        f"{at},{FLOW[row]:.2f},{row % 8}\n" * (1 + (row == 3)) for row, at in enumerate(moments("%Y-%m-%d %H:%M:%S"))
    )
    found, _ = read(tmp_path, text)
    assert found.layout.asset_column is None
    assert any("have the time of an earlier row, and one of them counts" in question for question in found.questions)


def test_a_column_of_two_values_called_fail_is_asked_for_as_label(tmp_path: Path) -> None:
    text = "time,flow,is_fail\n" + "".join(
        f"{at},{FLOW[row]:.2f},{int(row > 30)}\n" for row, at in enumerate(moments("%Y-%m-%d %H:%M:%S"))
    )
    found, dataset = read(tmp_path, text)
    assert "is_fail" in found.label_candidates
    demand(dataset, ("flow",))


@pytest.mark.slow
def test_a_spreadsheet_has_a_cover_a_title_units_words_and_a_sum(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["Plant export"])
    sheet = book.create_sheet("Data")
    sheet.append(["Boiler house report 2025"])
    sheet.merge_cells("A1:D1")
    sheet.append([])
    sheet.append(["Date", "Time", "Steam", "Temp"])
    sheet.append([None, None, "kg/h", "C"])
    for row in range(ROWS):
        at = datetime.fromtimestamp(FIRST + STEP * row, UTC)
        sheet.append([at.date(), at.time(), float(FLOW[row]), "Bad" if row % 9 == 0 else row])
    sheet.append(["Average", None, float(FLOW.mean()), 1.0])
    book.save(tmp_path / "report.xlsx")
    found, dataset = profiled(tmp_path / "report.xlsx")
    demand(dataset, ("Steam", "Temp"))
    assert (
        "sheet 'Data' was read, the one with the most rows; say sheet for another one" in found.history.report.lines()
    )


def test_a_file_of_which_no_column_is_a_sensor_is_told_with_a_reason(tmp_path: Path) -> None:
    text = "time,state\n" + "".join(f"{moment},on\n" for moment in moments("%Y-%m-%dT%H:%M:%SZ"))
    with pytest.raises(DataError, match=r"no sensor column .*'state' holds text, such as 'on' in data row 1"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        ("time,T [°C],flow (l/min),n", "{at},{x},2{x},3{x}", ["T [°C]: °C", "flow (l/min): l/min", "n"]),
        ("time,T,flow,n\n,degC,l/min,", "{at},{x},2{x},3{x}", ["T: degC", "flow: l/min", "n"]),
        ("Time,T,flow,n", "{at},{x} °C,2{x} l/min,3{x}", ["T: °C", "flow: l/min", "n"]),
    ],
)  # fmt: skip
def test_sensors_stand_in_the_recipe_with_their_units(tmp_path: Path, header: str, row: str, told: list[str]) -> None:
    times = moments("%Y-%m-%d %H:%M:%S")
    text = header + "\n" + "".join(row.format(at=at, x=f"{n * 7 % 11}.5") + "\n" for n, at in enumerate(times))
    found, _ = read(tmp_path, text)
    lines = recipe_text(found).splitlines()
    begin = next(place for place, line in enumerate(lines) if line.startswith("# 3 sensors with their units"))
    assert lines[begin + 1 : begin + 4] == [f"#   {each}" for each in told]
