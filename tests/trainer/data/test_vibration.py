"""Vibration recordings: MATLAB files, one or a folder of them."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from stream_detector.errors import DataError
from trainer.data.dataset import read_dataset
from trainer.data.split import split_rows
from trainer.data.vibration import FILE_SECONDS, read_recordings
from trainer.recipe import DataConfig, SignalConfig, SplitConfig

CONFIG = SignalConfig(rate_hertz=1000.0, recorded_hertz={"normal*": 4000.0})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    time = np.arange(8000) / 4000
    savemat(tmp_path / "normal_1.mat", {"X097_DE_time": np.sin(2 * np.pi * 50 * time)[:, None], "X097RPM": [[1796]]})
    savemat(tmp_path / "inner_race.mat", {"X105_DE_time": np.ones((1500, 1)), "X105_FE_time": np.zeros((1500, 1))})
    return tmp_path


def test_a_folder_is_read_file_by_file_with_labels_from_the_names(folder: Path) -> None:
    found = read_recordings(folder, CONFIG)
    assert found.names == ("inner_race.mat", "normal_1.mat")
    assert found.labels is not None
    assert found.labels.sum() == 1500
    assert found.labels[:1500].all()
    assert len(found.values) == 1500 + 2000
    assert found.times[1500] == FILE_SECONDS


def test_a_faster_recording_is_decimated_without_aliases(folder: Path) -> None:
    savemat(folder / "normal_1.mat", {"X097_DE_time": np.sin(2 * np.pi * 1450 * np.arange(8000) / 4000)[:, None]})
    found = read_recordings(folder / "normal_1.mat", CONFIG)
    assert len(found.values) == 2000
    assert np.abs(found.values[100:-100]).max() < 0.05  # 1,450 Hz is above what 1,000 Hz can hold


def test_every_recording_is_split_by_itself(folder: Path) -> None:
    dataset = read_dataset(folder, DataConfig(signal=CONFIG))
    split = split_rows(SplitConfig(train=0.6, validation=0.2), len(dataset), 1, dataset.parts)
    assert split.train[:900].all()
    assert not split.train[900:1500].any()
    assert split.train[1500:2700].all()
    assert split.test[1200:1500].all()
    assert split.test.sum() == 300 + 400


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SignalConfig(channels=("BA",)), "wanted one variable for channel 'BA'"),
        (SignalConfig(channels=("DE", "FE")), "wanted one variable for channel 'FE'"),
        (SignalConfig(rate_hertz=3000.0, recorded_hertz={"normal*": 4000.0}), "no multiple of 3000 Hz"),
    ],
)
def test_what_is_wrong_with_a_recording_is_named(folder: Path, config: SignalConfig, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_recordings(folder / "normal_1.mat", config)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(b"not matlab")
    with pytest.raises(DataError, match="cannot be read as a MATLAB 5 file"):
        read_recordings(tmp_path / "a.mat", CONFIG)
    with pytest.raises(DataError, match=r"no \.mat file"):
        read_recordings(tmp_path / "absent.mat", CONFIG)
