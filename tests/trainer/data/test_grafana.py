"""Grafana's CSV downloads, as they come."""

from pathlib import Path

import numpy as np
import pytest

from stream_detector.errors import DataError
from trainer.data.dataset import read_dataset
from trainer.data.grafana import read_grafana
from trainer.recipe import load_recipe


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_a_download_with_everything_a_panel_adds_is_read(tmp_path: Path) -> None:
    text = (
        '\ufeff"sep=,"\r\n"Time","온도","습도 {방=3}","H2S","상태"\r\n'
        '2024-05-01 00:00:00,23.1 °C,"1,045.5",,ok\r\n'
        "2024-05-01 00:10:00,undefined,40,0.02 ppm,ok\r\n"
    )
    table = read_grafana(write(tmp_path / "panel.csv", text), "Time")
    assert list(table.columns) == ["Time", "온도", "습도 {방=3}", "H2S"]
    assert table["온도"].tolist()[0] == 23.1
    assert np.isnan(table["온도"].iloc[1])
    assert table["습도 {방=3}"].tolist() == [1045.5, 40.0]
    assert table["H2S"].iloc[1] == 0.02


def test_a_translated_time_column_epoch_milliseconds_and_code_page_949_are_read(tmp_path: Path) -> None:
    text = "시간;온도;습도\n1714521600000;23.5;41\n1714522200000;23.6;42\n"
    path = write(tmp_path / "panel.csv", text, "cp949")
    dataset = read_dataset(path, load_recipe("environment").data)
    assert dataset.sensors == ("온도", "습도")
    assert dataset.times.tolist() == [1714521600.0, 1714522200.0]
    assert dataset.values.tolist() == [[23.5, 41.0], [23.6, 42.0]]


def test_the_recipe_takes_its_missing_code_out(tmp_path: Path) -> None:
    path = write(tmp_path / "panel.csv", "Time,NO2\n2024-05-01 00:00:00,-200\n2024-05-01 00:10:00,3\n")
    assert np.isnan(read_dataset(path, load_recipe("environment").data).values[0, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Time,a\n2024-05-01,1 kB\n2024-05-02,2 MB\n", "mixes the units 'MB', 'kB'"),
        ("Time,a\n2024-05-01,1\n2024-05-02,x1\n", "data row 2: 'x1' is no number"),
        ("Time\n2024-05-01\n", "has 1 column"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_grafana(write(tmp_path / "panel.csv", text), "Time")


def test_a_file_in_no_known_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "panel.csv").write_bytes(b"Time,\xff\xff\n1,2\n")
    with pytest.raises(DataError, match="neither UTF-8 nor code page 949"):
        read_grafana(tmp_path / "panel.csv", "Time")
