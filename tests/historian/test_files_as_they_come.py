"""Files as plants and loggers write them: each is read as it is meant, or refused in a sentence."""

import gzip
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.errors import DataError
from stream_detector.historian import History, Layout, read_history
from stream_detector.historian.columns import TextCellError
from stream_detector.historian.encoding import text_of

ANYTHING = Layout()
MAY = datetime(2026, 5, 1, tzinfo=UTC).timestamp()


def read(folder: Path, text: str, layout: Layout = ANYTHING, encoding: str = "utf-8") -> History:
    path = folder / "plant.csv"
    path.write_bytes(text.encode(encoding))
    return read_history(path, layout)


def test_a_separator_at_the_end_of_the_rows_shifts_no_column(tmp_path: Path) -> None:
    history = read(tmp_path, "time,count,temp\n2026-05-01,0,20.35,\n2026-05-02,60,20.82,\n")
    assert history.sensors == ("count", "temp")
    np.testing.assert_array_equal(history.values, [[0, 20.35], [60, 20.82]])
    assert history.times[0] == MAY
    assert "2 rows end in a separator" in " ".join(history.report.lines())


def test_a_separator_at_the_end_of_header_and_rows_adds_no_sensor(tmp_path: Path) -> None:
    assert read(tmp_path, "time;a;\n2026-05-01;1;\n").sensors == ("a",)


def test_a_row_with_too_many_cells_is_refused_and_quoted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"4 cells where the header has 3: '2026-05-02,1,2,3'"):
        read(tmp_path, "time,a,b\n2026-05-01,1,2\n2026-05-02,1,2,3\n")


def test_a_short_row_in_the_middle_is_refused_and_a_footer_is_left_out_and_told(tmp_path: Path) -> None:
    history = read(tmp_path, "time,a\n2026-05-01,1\n2026-05-02,2\nTotal rows: 2\n")
    assert len(history) == 2
    assert "1 lines at the end hold no data: 'Total rows: 2'" in history.report.lines()
    with pytest.raises(DataError, match="a row has 1 cells where the header has 2"):
        read(tmp_path, "time,a\n2026-05-01,1\nservice\n2026-05-02,2\n")


def test_a_decimal_comma_is_found_out_and_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'b' holds '1\.010' in data row 2"):
        read(tmp_path, "time;a;b\n2026-05-01;20,5;1\n2026-05-02;-0,25;1.010\n")
    found = read(tmp_path, "time;a;b\n2026-05-01;20,5;1\n2026-05-02;-0,25;2\n")
    np.testing.assert_array_equal(found.values, [[20.5, 1], [-0.25, 2]])
    assert "the decimal mark is a comma" in found.report.lines()


def test_a_panels_decimal_comma_is_no_unit_and_no_thousand(tmp_path: Path) -> None:
    text = '"Time";"T";"P"\n2026-05-01 00:00:00;20,5 °C;1,010 bar\n2026-05-01 00:01:00;21,5 °C;1,011 bar\n'
    history = read(tmp_path, text, Layout(form="grafana", time_column="Time"))
    np.testing.assert_array_equal(history.values, [[20.5, 1.010], [21.5, 1.011]])


def test_a_decimal_comma_that_came_late_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a' holds '1,5' in data row 2.*decimal comma"):
        read(tmp_path, 'time,a\n2026-05-01,1.5\n2026-05-02,"1,5"\n')


def test_thousands_are_read_where_their_mark_is_named(tmp_path: Path) -> None:
    history = read(tmp_path, "time;a\n2026-05-01;1.234,5\n", Layout(decimal=",", thousands="."))
    assert history.values[0, 0] == 1234.5


@pytest.mark.parametrize("word", ["Bad", "Inp OutRange", "No Data", "?", "I/O Timeout", "null", "#N/A"])
def test_words_of_historians_are_missing_cells_and_are_counted(tmp_path: Path, word: str) -> None:
    history = read(tmp_path, f"time,a,b\n2026-05-01,1,2\n2026-05-02,{word},3\n")
    np.testing.assert_array_equal(history.values, [[1, 2], [np.nan, 3]])
    assert history.report.missing_words == {"a": {word: 1}}


def test_another_word_is_refused_unless_it_is_named(tmp_path: Path) -> None:
    text = "time,a\n2026-05-01,1\n2026-05-02,kaputt\n"
    with pytest.raises(DataError, match="'kaputt' in data row 2, not a number"):
        read(tmp_path, text)
    assert np.isnan(read(tmp_path, text, Layout(missing_words=("Kaputt",))).values[1, 0])


def test_a_file_is_read_line_by_line_and_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.csv.gz"
    path.write_bytes(gzip.compress(b"plant.area.pressure,2026-05-01T00:00:00Z,20.5\n" * 100_000, 1))
    tracemalloc.start()
    count = sum(1 for _ in text_of(path, None).lines())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000
    assert most < 2_000_000, "the file holds 4.6 MB of text"


@pytest.mark.parametrize("mark", ["\f", "\x1c", "\u2028", "\x85"])
def test_a_cell_may_hold_what_ends_a_line_elsewhere(tmp_path: Path, mark: str) -> None:
    history = read(tmp_path, f"time,a,remark\n2026-05-01,1,one{mark}two\n2026-05-02,2,\n", Layout(ignore=("remark",)))
    np.testing.assert_array_equal(history.values, [[1], [2]])


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig", "cp1252"])
def test_the_encoding_is_found_out(tmp_path: Path, encoding: str) -> None:
    name = "Überdruck" if encoding == "cp1252" else "온도"
    history = read(tmp_path, f"time,{name}\n2026-05-01,1\n", encoding=encoding)
    assert history.sensors == (name,)
    guessed = any("encoding was taken for" in line for line in history.report.lines())
    assert guessed == (encoding in ("cp949", "cp1252"))


def test_lines_above_the_header_and_units_below_it_are_skipped_where_the_layout_says(tmp_path: Path) -> None:
    text = "Logger 7\nserial,123,4,5,6\n\ntime,a,b\n,degC,bar\n2026-05-01,1,2\n"
    history = read(tmp_path, text, Layout(skip_rows=3, unit_rows=1))
    np.testing.assert_array_equal(history.values, [[1, 2]])
    with pytest.raises(DataError, match="a row of units under the header"):
        read(tmp_path, "time,a\n2026-05-01,degC\n2026-05-02,1\n")


def test_date_and_time_in_two_columns_are_one_time(tmp_path: Path) -> None:
    text = "Date;Clock;a\n01/05/2026;00.02.00;1\n13/05/2026;00.00.00;2\n"
    history = read(tmp_path, text, Layout(time_column=("Date", "Clock")))
    assert history.times[0] == MAY + 120
    assert history.sensors == ("a",)


def test_both_hours_of_a_clock_change_are_kept_apart_by_their_order(tmp_path: Path) -> None:
    local = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    text = "time,a\n" + "".join(f"2025-10-26 {clock}:00,1\n" for clock in local)
    history = read(tmp_path, text, Layout(zone="Europe/Berlin"))
    assert np.diff(history.times).tolist() == [1800.0] * 5
    spring = "time,a\n2026-03-29 01:30:00,1\n2026-03-29 03:00:00,1\n"
    assert np.diff(read(tmp_path, spring, Layout(zone="Europe/Berlin")).times).tolist() == [1800.0]


def test_sorted_rows_of_the_hour_that_comes_twice_are_told(tmp_path: Path) -> None:
    text = "time,a\n2025-10-26 02:00:00,1\n2025-10-26 02:00:00,1\n2025-10-26 02:30:00,1\n2025-10-26 02:30:00,1\n"
    assert any("showed twice" in line for line in read(tmp_path, text, Layout(zone="Europe/Berlin")).report.lines())


@pytest.mark.parametrize(("factor", "unit"), [(1e6, "microseconds"), (1e9, "nanoseconds")])
def test_fine_epoch_units_are_known_by_their_size(tmp_path: Path, factor: float, unit: str) -> None:
    history = read(tmp_path, f"time,a\n{int(MAY * factor)},1\n")
    assert history.times[0] == MAY
    assert any(unit in line for line in history.report.lines())


def test_excels_days_are_named_and_read_where_the_layout_says(tmp_path: Path) -> None:
    text = "time,a\n46143.0,1\n46143.5,2\n"
    with pytest.raises(DataError, match="Excel's days"):
        read(tmp_path, text)
    assert read(tmp_path, text, Layout(time_format="excel")).times.tolist() == [MAY, MAY + 43_200]


def test_the_row_with_another_time_is_blamed_not_the_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'2026-05-01 03:18:xx' in column 'time', data row 2"):
        read(tmp_path, "time,a\n2026-05-01T00:00:00Z,1\n2026-05-01 03:18:xx,2\n2026-05-01T04:00:00Z,3\n")
    with pytest.raises(DataError, match=r"'31\.14\.2026' in column 'time', data row 3"):
        read(tmp_path, "time,a\n30.05.2026,1\n31.05.2026,2\n31.14.2026,3\n")


def test_equal_times_gaps_and_steps_back_are_counted(tmp_path: Path) -> None:
    clocks = ["00:00", "00:01", "00:01", "00:02", "00:30", "00:29"]
    history = read(tmp_path, "time,a\n" + "".join(f"2026-05-01 {clock},1\n" for clock in clocks))
    report = history.report
    assert (report.rows, report.equal_times, report.steps_back, report.gaps) == (6, 1, 1, 1)
    assert report.median_step_seconds == 60.0


def test_rows_without_a_time_are_said_to_have_neither_step_nor_gaps(tmp_path: Path) -> None:
    history = read(tmp_path, "a,b\n1,2\n2,3\n3,4\n", Layout(time_column=""))
    assert history.report.lines()[0] == "3 rows"


def test_a_file_that_is_no_text_is_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "plant.csv"
    path.write_bytes(b"PK\x03\x04\x00\x9d\x00,1\n")
    with pytest.raises(DataError, match="holds zero bytes, so it is no text"):
        read_history(path)


def test_label_words_that_mean_nothing_elsewhere_are_compared_as_they_stand(tmp_path: Path) -> None:
    text = "time,a,fault\n2026-05-01,1,None\n2026-05-02,1,leak\n2026-05-03,1,NA\n"
    history = read(tmp_path, text, Layout(label_column="fault", label_values=("None", "NA"), labels_are_normal=True))
    assert history.labels is not None
    assert history.labels.tolist() == [False, True, False]


def test_a_label_value_that_no_row_holds_is_told(tmp_path: Path) -> None:
    text = "time,a,fault\n2026-05-01,1,None\n2026-05-02,1,burst\n"
    history = read(tmp_path, text, Layout(label_column="fault", label_values=("leak",)))
    assert "no row of column 'fault' holds 'leak'; it holds 'None', 'burst'" in history.report.lines()


def test_a_label_that_nobody_named_is_no_sensor_and_is_told(tmp_path: Path) -> None:
    text = "time,a,anomaly\n2026-05-01,1,0\n2026-05-02,1,1\n"
    history = read(tmp_path, text, Layout(find_label=False))
    assert history.sensors == ("a",)
    assert history.labels is None
    assert any("'anomaly' looks like a label" in line for line in history.report.lines())


def test_long_form_becomes_one_column_a_tag(tmp_path: Path) -> None:
    text = (
        "time,tag,value,quality\n2026-05-01,T1,1.5,Good\n2026-05-01,T2,7,Good\n"
        "2026-05-02,T1,2.5,Bad\n2026-05-02,T2,8,Good\n"
    )
    history = read(tmp_path, text, Layout(form="long", quality_column="quality"))
    assert history.sensors == ("T1", "T2")
    np.testing.assert_array_equal(history.values, [[1.5, 7], [np.nan, 8]])


def test_influxdbs_annotated_csv_becomes_one_column_a_field(tmp_path: Path) -> None:
    text = (
        "#group,false,false,true,true,false,false,true,true\n#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,"
        "dateTime:RFC3339,double,string,string\n#default,_result,,,,,,,\n"
        ",result,table,_start,_stop,_time,_value,_field,pump\n"
        ",,0,2026-04-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-01T00:00:00Z,1.5,flow,p1\n"
        ",,0,2026-04-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-01T00:01:00Z,2.5,flow,p1\n"
        "\n,result,table,_start,_stop,_time,_value,_field,pump\n"
        ",,1,2026-04-01T00:00:00Z,2026-06-01T00:00:00Z,2026-05-01T00:00:00Z,9,head,p1\n"
    )
    history = read(tmp_path, text, Layout(form="influx"))
    assert history.sensors == ("p1.flow", "p1.head")
    assert history.times.tolist() == [MAY, MAY + 60]
    np.testing.assert_array_equal(history.values, [[1.5, 9], [2.5, np.nan]])


def test_the_time_as_index_of_a_parquet_file_is_found(tmp_path: Path) -> None:
    import pandas as pd

    index = pd.to_datetime([MAY, MAY + 1], unit="s")
    for name in ("timestamp", None):
        pd.DataFrame({"a": [1.0, 2.0]}, index=index.rename(name)).to_parquet(tmp_path / "well.PARQUET")
        history = read_history(tmp_path / "well.PARQUET", Layout(time_column="time"))
        assert history.sensors == ("a",)
        assert history.times.tolist() == [MAY, MAY + 1]


def test_an_excel_sheet_is_read(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["time", "a"], [datetime(2026, 5, 1), 1.5], [datetime(2026, 5, 1, 0, 1), None]):  # noqa: DTZ001
        book.active.append(row)
    book.save(tmp_path / "plant.xlsx")
    history = read_history(tmp_path / "plant.xlsx")
    assert history.times.tolist() == [MAY, MAY + 60]
    np.testing.assert_array_equal(history.values, [[1.5], [np.nan]])


def test_times_of_a_parquet_file_that_have_a_zone_are_in_no_other(tmp_path: Path) -> None:
    import pandas as pd

    times = pd.date_range("2026-05-01", periods=2, freq="h", tz="UTC")
    for zone in ("UTC", "Asia/Seoul"):
        pd.DataFrame({"time": times.tz_convert(zone), "a": [1.0, 2.0]}).to_parquet(tmp_path / "plant.parquet")
        history = read_history(tmp_path / "plant.parquet", Layout(zone="Europe/Berlin"))
        assert history.times.tolist() == [MAY, MAY + 3600]


def test_files_of_several_assets_are_runs_whose_times_may_overlap(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,v\n60,1\n120,2\n180,3\n")
    (tmp_path / "b.csv").write_text("time,v\n90,4\n150,5\n")
    history = read_history(tmp_path, Layout(time_column="time", file_runs=True))
    assert history.runs is not None
    assert history.runs.tolist() == [0, 0, 0, 1, 1]
    assert history.values[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert (np.diff(history.times) > 0).all()
    assert history.times[3] - history.times[2] > 86_400
    assert (history.times[3] - 90) % 86_400 == 0


def test_a_folder_and_a_glob_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("time,a,b\n2026-05-01,1,10\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"time,b,a\n2026-05-02,20,2\n"))
    for path in (tmp_path, tmp_path / "*.csv*"):
        history = read_history(path)
        np.testing.assert_array_equal(history.values, [[1, 10], [2, 20]])
    (tmp_path / "c.csv").write_text("time,a\n2026-05-03,1\n")
    with pytest.raises(DataError, match="other sensors than"):
        read_history(tmp_path)


def test_a_panel_comes_with_byte_order_mark_units_thousands_and_texts(tmp_path: Path) -> None:
    text = (
        '\ufeff"sep=,"\r\n"Time","온도","습도 {방=3}","H2S","상태"\r\n'
        '2026-05-01 00:00:00,23.1 °C,"1,045.5",,ok\r\n2026-05-01 00:10:00,undefined,40,0.02 ppm,ok\r\n'
    )
    history = read(tmp_path, text, Layout(form="grafana", time_column="Time"))
    assert history.sensors == ("온도", "습도 {방=3}", "H2S")
    np.testing.assert_array_equal(history.values, [[23.1, 1045.5, np.nan], [np.nan, 40, 0.02]])


def test_a_panel_that_mixes_units_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mixes the units 'MB', 'kB'"):
        read(tmp_path, "Time,a\n2026-05-01,1 kB\n2026-05-02,2 MB\n", Layout(form="grafana", time_column="Time"))


def test_a_first_column_without_a_name_is_the_time(tmp_path: Path) -> None:
    history = read(tmp_path, ",a\n2026-05-01 00:00:00,1\n")
    assert history.times.tolist() == [MAY]
    assert "the first column has no name" in " ".join(history.report.lines())


def test_names_that_stand_twice_in_the_header_are_told_apart(tmp_path: Path) -> None:
    history = read(tmp_path, "time,a,a,b,a\n2026-05-01,1,2,3,4\n")
    assert history.sensors == ("a", "a (2)", "b", "a (3)")
    assert history.values.tolist() == [[1, 2, 3, 4]]
    assert "2 columns have the name of another one; a number tells them apart: 'a (2)'" in history.report.lines()


def test_a_name_like_that_of_a_nameless_column_may_stand_twice(tmp_path: Path) -> None:
    history = read(tmp_path, "time,column 1,column 1,,column 4\n2026-05-01,1,2,3,4\n")
    assert history.sensors == ("column 1", "column 1 (2)", "column 4", "column 4 (2)")
    assert "2 columns have the name of another one; a number tells them apart: 'column 1 (2)'" in history.report.lines()


def test_a_comma_before_three_digits_stays_a_question(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a decimal comma"):
        read(tmp_path, "time;a\n2026-05-01;1,510\n2026-05-02;2,512\n")


def test_values_of_bad_quality_are_missing_and_told(tmp_path: Path) -> None:
    text = "time,flow,flow_Q\n2026-05-01,1,192\n2026-05-02,2,0\n2026-05-03,3,192\n"
    history = read(tmp_path, text, Layout(quality_suffix="_Q"))
    assert history.sensors == ("flow",)
    np.testing.assert_array_equal(history.values[:, 0], [1, np.nan, 3])
    assert "1 values of 1 sensors are not of good quality (columns ..._Q), taken as missing" in history.report.lines()


@pytest.mark.parametrize("qualities", [[192, 0, 192], [192, None, 192], ["Good", "bad", "good"], [True, False, True]])
def test_values_of_bad_quality_are_missing_in_a_parquet_file_too(tmp_path: Path, qualities: list[Any]) -> None:
    import pandas as pd

    times = pd.date_range("2026-05-01", periods=3, freq="h")
    frame = pd.DataFrame({"time": times, "flow": [1.0, 2.0, 3.0], "flow_Q": qualities, "level": [4.0, 5.0, 6.0]})
    frame.to_parquet(tmp_path / "plant.parquet")
    history = read_history(tmp_path / "plant.parquet", Layout(quality_suffix="_Q"))
    assert history.sensors == ("flow", "level")
    np.testing.assert_array_equal(history.values, [[1, 4], [np.nan, 5], [3, 6]])
    assert "1 values of 1 sensors are not of good quality (columns ..._Q), taken as missing" in history.report.lines()


def test_text_of_a_tag_in_the_long_form_is_told_with_its_tag(tmp_path: Path) -> None:
    text = "time,tag,value\n2026-05-01,flow,1\n2026-05-01,mode,auto\n2026-05-02,flow,2\n"
    with pytest.raises(TextCellError, match="'auto' in data row 2 is the value of 'mode' and not a number") as told:
        read(tmp_path, text, Layout(form="long"))
    assert (told.value.column, told.value.row) == ("mode", 1)
    assert read(tmp_path, text, Layout(form="long", ignore=("mode",))).sensors == ("flow",)


def test_words_in_the_long_form_are_counted_by_tag_and_values_of_bad_quality_by_their_word(tmp_path: Path) -> None:
    text = "time,tag,value,quality\n2026-05-01,flow,No Data,Bad\n2026-05-01,p,2,Good\n2026-05-02,flow,2,Bad\n"
    report = read(tmp_path, text, Layout(form="long", quality_column="quality")).report
    assert report.missing_words == {"flow": {"No Data": 1}}
    assert "2 values are of no good quality, taken as missing: 'Bad' 2" in report.lines()


def test_a_file_with_its_newest_row_first_is_turned_round(tmp_path: Path) -> None:
    hours = ["03:00", "02:30", "02:00", "01:30"]
    history = read(tmp_path, "time,a\n" + "".join(f"2025-10-26 {hour},{row}\n" for row, hour in enumerate(hours)))
    assert history.values[:, 0].tolist() == [3, 2, 1, 0]
    assert "the newest row stood first; the rows were turned round" in history.report.lines()


def test_a_cell_that_is_no_number_is_told_with_its_column_row_and_text(tmp_path: Path) -> None:
    with pytest.raises(TextCellError) as told:
        read(tmp_path, "time,a,b\n2026-05-01,1,2\n2026-05-02,1,on\n")
    assert (told.value.column, told.value.row, told.value.text) == ("b", 1, "on")


@pytest.mark.parametrize("time_format", ["%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%Y/%m/%d %H:%M:%S.%f"])
def test_times_of_few_days_are_those_that_each_text_alone_gives(tmp_path: Path, time_format: str) -> None:
    moments = [datetime(2026, 5, 1 + hour // 24, hour % 24, 7, 5, 250_000, UTC) for hour in range(60)]
    texts = [moment.strftime(time_format) for moment in moments]
    wanted = [datetime.strptime(text, time_format).replace(tzinfo=UTC).timestamp() for text in texts]
    body = "".join(f"{text};{row}\n" for row, text in enumerate(texts))
    history = read(tmp_path, "time;a\n" + body, Layout(time_format=time_format))
    assert history.times.tolist() == wanted


def test_a_time_that_breaks_off_after_the_day_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'02\.05\.2026' in column 'time', data row 2"):
        read(tmp_path, "time;a\n13.05.2026 10:00;1\n02.05.2026;2\n14.05.2026 10:00;3\n")


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        ("20260501", "20260503", 172_800),
        ("2026050100", "2026050102", 7_200),
        ("202605010000", "202605010002", 120),
        ("20260501000000", "20260501000002", 2),
    ],
)
def test_a_date_without_marks_is_no_number_of_seconds(tmp_path: Path, first: str, second: str, seconds: int) -> None:
    history = read(tmp_path, f"time,a\n{first},1\n{second},2\n")
    assert history.times.tolist() == [MAY, MAY + seconds]
    assert "times in 'time' have the format %Y%m%d" in history.report.lines()[1]
    counted = read(tmp_path, "time,a\n20260431,1\n20260432,2\n")
    assert counted.times.tolist() == [20_260_431, 20_260_432]


def test_a_header_that_a_logger_wrote_again_is_no_row_and_is_told(tmp_path: Path) -> None:
    history = read(tmp_path, "time, a\n2026-05-01,1\n\ntime, a\n2026-05-02,2\ntime, a\n")
    assert history.values[:, 0].tolist() == [1, 2]
    assert "2 lines repeat the header, and were left out" in history.report.lines()


def test_infinite_cells_are_missing_and_told(tmp_path: Path) -> None:
    history = read(tmp_path, "time,a,b\n2026-05-01,1,2\n2026-05-02,inf,1e999\n")
    np.testing.assert_array_equal(history.values, [[1, 2], [np.nan, np.nan]])
    assert "2 cells are infinite, taken as missing: a, b" in history.report.lines()


def test_the_typographers_minus_is_a_minus(tmp_path: Path) -> None:
    assert read(tmp_path, "time;a\n2026-05-01;\u22121,5\n").values[0, 0] == -1.5
