"""Bundles: what is written is what is loaded, and whatever was tampered with is refused by name."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from safetensors.numpy import load_file, save_file

from stream_detector.bundle import files as bundle_files
from stream_detector.bundle.bundle import load_bundle, sign_bundle
from stream_detector.bundle.manifest import ThresholdRecord, content_id
from stream_detector.detection.config import CostConfig, GridConfig, HeadConfig, WindowConfig
from stream_detector.detection.head.calibrated_head import fresh_state, head_arrays, read_options
from stream_detector.detection.head.calibration import RateTracker
from stream_detector.detection.head.ensemble import Ensemble, Linear
from stream_detector.detection.head.features import Features
from stream_detector.errors import BundleError, UsageError
from tests.support.bundles import SENSORS, small_manifest, small_windows, write_small_bundle
from tests.support.paths import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def reseal(folder: Path, **changes: object) -> None:
    """An attacker's edit: the manifest with other content, hashes and id made to fit."""
    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), **changes}
    content["files"] = {name: bundle_files.sha256((folder / name).read_bytes()) for name in content["files"]}
    content["bundle_id"] = content_id(content)
    path.write_text(json.dumps(content))


def key_pair() -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_loaded_bundle_scores_bit_for_bit_as_the_written_one(tmp_path: Path) -> None:
    written = write_small_bundle(tmp_path / "bundle")
    windows = small_windows(40, seed=9)
    loaded = load_bundle(tmp_path / "bundle")
    assert np.array_equal(loaded.scorer.score(windows).score, written.scorer.score(windows).score)
    assert loaded.manifest == written.manifest


def test_equal_bundles_have_equal_ids_and_bytes_and_another_threshold_another_id(tmp_path: Path) -> None:
    first, second = write_small_bundle(tmp_path / "a"), write_small_bundle(tmp_path / "b")
    other = write_small_bundle(tmp_path / "c", window=WindowConfig(steps=4, stride=2))
    assert first.manifest.bundle_id == second.manifest.bundle_id != other.manifest.bundle_id
    assert len(first.manifest.bundle_id) == 16
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_writing_replaces_a_bundle_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "bundle", recipe="old")
    write_small_bundle(tmp_path / "bundle", recipe="new")
    assert load_bundle(tmp_path / "bundle").manifest.recipe == "new"
    assert os.listdir(tmp_path) == ["bundle"]


def test_writing_never_replaces_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is no bundle"):
        write_small_bundle(tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_a_bundle_is_reached_through_a_link_to_its_folder(folder: Path) -> None:
    link = folder.parent / "current"
    link.symlink_to(folder, target_is_directory=True)
    assert load_bundle(link).manifest.recipe == "small"


@pytest.mark.parametrize("name", ["weights.safetensors", "scaler.safetensors", "probe.safetensors"])
def test_a_changed_byte_is_found_by_its_hash(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} was changed"):
        load_bundle(folder)


def test_a_changed_manifest_is_found_by_its_id(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 1000.0'))
    with pytest.raises(BundleError, match="changed after it was written"):
        load_bundle(folder)


def test_other_weights_with_hashes_made_to_fit_are_found_by_the_probe(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    save_file({name: array * np.float32(1.01) for name, array in weights.items()}, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(BundleError, match="does not score as it did"):
        load_bundle(folder)


def damage_missing(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def damage_extra(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(b"\x80\x04.")


def damage_unlisted_head(folder: Path) -> None:
    shutil.copy(folder / "scaler.safetensors", folder / "head.safetensors")


def damage_symlink(folder: Path) -> None:
    (folder / "weights.safetensors").rename(folder.parent / "elsewhere")
    (folder / "weights.safetensors").symlink_to(folder.parent / "elsewhere")


def damage_folder(folder: Path) -> None:
    (folder / "probe.safetensors").unlink()
    (folder / "probe.safetensors").mkdir()


def damage_fifo(folder: Path) -> None:
    (folder / "probe.safetensors").unlink()
    os.mkfifo(folder / "probe.safetensors")


def damage_format(folder: Path) -> None:
    reseal(folder, format=99)


def damage_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def damage_nesting(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 1, "metrics": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}")


def damage_list(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def damage_unknown_key(folder: Path) -> None:
    reseal(folder, code="import os")


def damage_path(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["files"]["../../etc/passwd"] = "0" * 64
    content["bundle_id"] = content_id(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def damage_not_listed(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    del content["files"]["probe.safetensors"]
    content["bundle_id"] = content_id(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def damage_huge(folder: Path) -> None:
    with (folder / "weights.safetensors").open("r+b") as file:
        file.truncate(bundle_files.MAX_BYTES["weights.safetensors"] + 1)  # sparse: takes no room on the disk


def damage_not_finite(folder: Path) -> None:
    scaler = load_file(folder / "scaler.safetensors")
    scaler["center"][0] = np.nan
    save_file(scaler, folder / "scaler.safetensors")
    reseal(folder)


def damage_zero_scale(folder: Path) -> None:
    scaler = load_file(folder / "scaler.safetensors")
    scaler["scale"][:] = 0
    save_file(scaler, folder / "scaler.safetensors")
    reseal(folder)


def damage_shape(folder: Path) -> None:
    reseal(folder, model={"kind": "lstm-autoencoder", "options": {"hidden": [5, 2]}})


def damage_huge_model(folder: Path) -> None:
    reseal(folder, model={"kind": "lstm-autoencoder", "options": {"hidden": [10**9]}})


def damage_unknown_model(folder: Path) -> None:
    reseal(folder, model={"kind": "os.system", "options": {}})


def damage_sensors(folder: Path) -> None:
    reseal(folder, sensors=["flow", "flow", "speed"])


def damage_head(folder: Path) -> None:
    reseal(folder, head={"kind": "calibrated", "options": {}})


def damage_unknown_head(folder: Path) -> None:
    reseal(folder, head={"kind": "magic", "options": {}})


def damage_window(folder: Path) -> None:
    reseal(folder, window={"steps": 10**6})


def damage_no_tensors(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"\xff" * 64)
    reseal(folder)


def damage_empty_probe(folder: Path) -> None:
    probe = load_file(folder / "probe.safetensors")
    save_file({name: array[:0].copy() for name, array in probe.items()}, folder / "probe.safetensors")
    reseal(folder)


DAMAGES = {
    damage_missing: "lacks weights.safetensors",
    damage_extra: "'model.pkl', which is no part of a bundle",
    damage_unlisted_head: "head.safetensors, which its manifest does not list",
    damage_symlink: "is a link or a folder",
    damage_folder: "is a link or a folder",
    damage_fifo: "is a link or a folder",
    damage_format: "format 99, this version reads format 1",
    damage_json: "is not JSON",
    damage_nesting: "manifest.json",
    damage_list: "format None",
    damage_unknown_key: "code: Extra inputs",
    damage_path: "'../../etc/passwd', which is no file of a bundle",
    damage_not_listed: "does not list probe.safetensors",
    damage_huge: "at most",
    damage_not_finite: "not finite",
    damage_zero_scale: "not above zero",
    damage_shape: "do not fit",
    damage_huge_model: "do not fit",
    damage_unknown_model: "'os.system' is unknown",
    damage_sensors: "named twice",
    damage_head: "head.safetensors is not there",
    damage_unknown_head: "head.kind: Input should be 'calibrated'",
    damage_window: "does not fit this bundle: windows",
    damage_no_tensors: "not a safetensors file",
    damage_empty_probe: "is empty",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.removeprefix("damage_"))
def test_a_hostile_or_broken_bundle_is_refused_by_name(folder: Path, damage: Callable[..., Any]) -> None:
    damage(folder)
    with pytest.raises(BundleError, match=DAMAGES[damage]):
        load_bundle(folder)


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_what_is_no_bundle_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bundle"
    if kind == "file":
        path.write_text("")
    elif kind == "empty":
        path.mkdir()
    with pytest.raises(BundleError, match=r"no such folder|is a file|holds no manifest\.json"):
        load_bundle(path)


def test_a_signed_bundle_loads_with_its_public_key_raw_or_pem(tmp_path: Path) -> None:
    private, public = key_pair()
    write_small_bundle(tmp_path / "bundle", private_key=private)
    assert load_bundle(tmp_path / "bundle", public).manifest.recipe == "small"
    assert load_bundle(tmp_path / "bundle").manifest.recipe == "small"


def test_without_a_signature_a_demanded_one_refuses_and_signing_mends_it(folder: Path) -> None:
    private, public = key_pair()
    with pytest.raises(BundleError, match="is not signed"):
        load_bundle(folder, public)
    sign_bundle(folder, private)
    load_bundle(folder, public)


def test_a_signature_by_another_key_or_of_another_manifest_is_refused(folder: Path) -> None:
    private, public = key_pair()
    sign_bundle(folder, private)
    with pytest.raises(BundleError, match="not one of the given public key"):
        load_bundle(folder, key_pair()[1])
    reseal(folder, recipe="other")
    with pytest.raises(BundleError, match="not one of the given public key"):
        load_bundle(folder, public)


@pytest.mark.parametrize("key", [b"", b"x" * 31, b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_a_mistake_of_usage_not_of_the_bundle(folder: Path, key: bytes) -> None:
    private, _ = key_pair()
    sign_bundle(folder, private)
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        load_bundle(folder, key)
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        sign_bundle(folder, key)


def test_with_a_head_the_alarm_threshold_follows_from_the_costs_whatever_else_the_manifest_records() -> None:
    fixed = ThresholdRecord(value=0.3, policy="fixed", how="given")
    assert small_manifest(threshold=fixed).alarm_threshold == 0.3
    calibrated = small_manifest(threshold=fixed, head=HeadConfig(kind="calibrated"))
    assert calibrated.alarm_threshold == CostConfig().probability_threshold == 0.05


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "audit"])
def test_a_bundle_of_samples_is_refused_for_a_stream_before_a_broker_is_asked(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "lots"
    write_small_bundle(folder, grid=GridConfig(kind="table", step_seconds=1), window=WindowConfig(steps=4))
    # In a process of its own: `run` tames logging and garbage collector of the process that it is given.
    arguments = ["-m", "stream_detector", command, "--bundle", str(folder), "--bootstrap", "127.0.0.1:1"]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "trainer score" in done.stderr
    assert 'grid.kind = "table"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("longest_lag", "fits"), [(20, True), (40_000, False)])
def test_a_head_whose_state_fits_into_no_message_is_refused(tmp_path: Path, longest_lag: int, fits: bool) -> None:
    config = HeadConfig(kind="calibrated", options={"features": {"lags": [1, longest_lag]}})
    options, lead = read_options(config), small_manifest().lead
    features, tracker = Features(options.features, SENSORS), RateTracker(options.calibration, lead)
    size = len(features.names)
    logistic = Linear(np.zeros(size), np.ones(size), np.zeros(size), -3.0)
    ensemble = Ensemble(np.zeros(size, np.float32), logistic, 1.0, ())
    arrays = head_arrays(ensemble, 0.0, fresh_state(features, tracker))
    if fits:
        assert write_small_bundle(tmp_path / "bundle", head=config, head_arrays=arrays).head is not None
        return
    with pytest.raises(BundleError, match=r"keeps 961,\d+ bytes for each asset \(3 sensors\).*900,000.*lags"):
        write_small_bundle(tmp_path / "bundle", head=config, head_arrays=arrays)


def test_a_bundle_says_when_its_machine_runs_and_one_that_does_not_reads_as_ever(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    assert "operating" not in content
    assert load_bundle(folder).manifest.operating_rule is None
    reseal(folder, operating={"when": "speed > 200", "hold_steps": 3})
    rule = load_bundle(folder).manifest.operating_rule
    assert rule is not None
    assert (rule.condition.sensors, rule.columns.tolist(), rule.hold_steps) == (("speed",), [2], 3)


@pytest.mark.parametrize(
    ("when", "said"), [("sped > 1", "is it 'speed'"), ("speed.__class__()", "is not a comparison"), ("(" * 900, "read")]
)
def test_a_bundle_with_a_condition_that_is_none_is_refused(folder: Path, when: str, said: str) -> None:
    reseal(folder, operating={"when": when})
    with pytest.raises(BundleError, match=f"operating|{said}"):
        load_bundle(folder)
