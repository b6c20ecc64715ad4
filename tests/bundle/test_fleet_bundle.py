"""Bundles of a fleet: a scale for each machine lies beside the common one."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save_file

from stream_detector.bundle import files
from stream_detector.bundle.bundle import Bundle, load_bundle, write_bundle
from stream_detector.bundle.manifest import FleetRecord, content_id
from stream_detector.detection.config import TransformConfig
from stream_detector.detection.fleet.fleet import Fleet
from stream_detector.detection.models.registry import build
from stream_detector.detection.scaling import Scaler
from stream_detector.errors import BundleError
from tests.support.bundles import small_manifest, small_windows, write_small_bundle

CENTER = np.array([[1.0, 2.0, np.nan], [10.0, 20.0, 30.0]])
SCALE = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def write_fleet(folder: Path, **record: Any) -> Bundle:
    fleet_record = FleetRecord(assets=("PM1", "PM2"), provisional_steps=50, least_steps=5, **record)
    manifest = small_manifest(fleet=fleet_record)
    assert manifest.fleet is not None
    model = build(manifest.model, manifest.model_steps, 3)
    common = Scaler(np.zeros(3), np.ones(3), manifest.scaler.clip)
    fleet = Fleet(manifest.fleet, manifest.scaler, TransformConfig(), {"PM1": 0, "PM2": 1}, CENTER, SCALE, common)
    return write_bundle(
        folder, manifest, model, common, small_windows(), fleet=fleet, probe_assets=np.array([0, 1, 0, 1, 1, 1])
    )


def test_a_fleet_is_loaded_as_it_was_written(tmp_path: Path) -> None:
    written, loaded = write_fleet(tmp_path / "bundle"), load_bundle(tmp_path / "bundle")
    fleet = loaded.fleet
    assert fleet is not None
    assert fleet.machines == {"PM1": 0, "PM2": 1}
    np.testing.assert_array_equal(fleet.center, CENTER)
    np.testing.assert_array_equal(fleet.scale, SCALE)
    assert fleet.config.provisional_steps == 50
    assert loaded.manifest.bundle_id == written.manifest.bundle_id
    windows = small_windows(5, seed=3)
    by_machine = [fleet.read(np.array([name] * 5), windows).scaler for name in ("PM1", "PM2")]
    scores = [loaded.scorer.score(windows, scaler).score.tolist() for scaler in by_machine]
    assert scores[0] != scores[1]
    assert loaded.scorer.score(windows, by_machine[0]).attribution[:, 2].tolist() == [0] * 5, "it was never known"


def test_a_bundle_without_a_fleet_says_nothing_of_one(tmp_path: Path) -> None:
    """So that versions which know no fleets read it, and its id is what it was."""
    bundle = write_small_bundle(tmp_path / "bundle")
    assert bundle.fleet is None
    assert "fleet" not in orjson.loads((tmp_path / "bundle" / files.MANIFEST).read_bytes())


def test_thresholds_of_machines_travel_with_the_bundle_and_are_not_told_of_where_there_are_none(tmp_path: Path) -> None:
    written = write_fleet(tmp_path / "own", thresholds={"PM2": 3.5})
    manifest = load_bundle(tmp_path / "own").manifest
    assert manifest.bundle_id == written.manifest.bundle_id
    assert [manifest.alarm_threshold_of(name) for name in ("PM1", "PM2", "a stranger")] == [1.0, 3.5, 1.0]
    write_fleet(tmp_path / "common")
    text = orjson.loads((tmp_path / "common" / files.MANIFEST).read_bytes())
    assert text["fleet"].keys() == {"assets", "scaler", "provisional_steps", "least_steps"}, "as before there were any"


@pytest.mark.parametrize("thresholds", [{"PM3": 1.0}, {"PM1": float("inf")}])
def test_thresholds_of_other_machines_or_without_end_are_refused(thresholds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"none of this fleet|finite number"):
        FleetRecord(assets=("PM1", "PM2"), provisional_steps=50, least_steps=5, thresholds=thresholds)


def _rewrite(folder: Path, name: str, **changes: np.ndarray | None) -> None:
    arrays = load_file(folder / name)
    for key, array in changes.items():
        if array is None:
            del arrays[key]
        else:
            arrays[key] = array
    save_file(arrays, folder / name)
    content = orjson.loads((folder / files.MANIFEST).read_bytes())
    content["files"][name] = files.sha256((folder / name).read_bytes())
    content["bundle_id"] = content_id(content)
    (folder / files.MANIFEST).write_bytes(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (files.SCALER, {"asset_center": None}, "lacks 'asset_center' for 2 machines of 3 sensors"),
        (files.SCALER, {"asset_scale": SCALE[:1]}, "lacks 'asset_scale' for 2 machines of 3 sensors"),
        (files.SCALER, {"asset_scale": 0 * SCALE}, "not above zero"),
        (files.SCALER, {"asset_center": CENTER * np.inf}, "infinite"),
        (files.SCALER, {"asset_scale": SCALE * np.nan}, "not finite"),
        (files.SCALER, {"asset_scale": 2 * SCALE}, "does not score as it did"),
        (files.PROBE, {"asset": np.array([0, 1, 0, 1, 1, 2])}, "machines that the fleet does not have"),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, changes: dict[str, np.ndarray | None], said: str
) -> None:
    folder = tmp_path / "bundle"
    write_fleet(folder)
    _rewrite(folder, name, **changes)
    with pytest.raises(BundleError, match=said):
        load_bundle(folder)
