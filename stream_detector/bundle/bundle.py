"""A bundle: the folder that holds everything the detector needs to score, as the trainer wrote it. See docs/bundle.md.

Arrays are safetensors and the rest is JSON: loading a bundle runs no code of its own. Loading checks the hash of every
file, scores the probe windows again, and refuses the bundle if a score differs.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from stream_detector.bundle import files, object_store
from stream_detector.bundle.files import Arrays
from stream_detector.bundle.manifest import Manifest, parse, require_stream, seal
from stream_detector.bundle.registry import bundle_folder, is_registry, registered_id
from stream_detector.bundle.score_fingerprint import score_fingerprint
from stream_detector.bundle.signature import sign, verify
from stream_detector.detection.fleet import first_steps
from stream_detector.detection.fleet.fleet import ASSET_CENTER, ASSET_SCALE, Fleet
from stream_detector.detection.head.calibrated_head import build_head
from stream_detector.detection.models.registry import Model, build
from stream_detector.detection.scaling import FloatArray, Scaler
from stream_detector.detection.scoring import ScoredWindows, Scorer
from stream_detector.errors import BundleError, UsageError

if TYPE_CHECKING:
    from stream_detector.detection.head.head import Head

PROBE_RELATIVE = 1e-4
PROBE_ABSOLUTE = 1e-5
"""Largest relative difference of a probe's score: processors round float32 sums differently, by about 1e-6."""

MOST_STATE_BYTES = 900_000
"""Of a head for one asset; the rest of a message of 1 MiB is for what else a snapshot holds."""

PROBE_ASSET = "asset"
"""Of the probe windows of a fleet: the row of each one's machine."""

LABEL_BYTES = 64
"""At most, of each step whose label a head still waits for."""


class Bundle(Struct, frozen=True):
    """A bundle in memory, checked and ready to score."""

    manifest: Manifest
    scorer: Scorer
    head: "Head | None" = None
    fleet: Fleet | None = None
    score_fingerprint: str = ""
    """See `score_fingerprint`; empty where the bundle was put together without a probe."""


def load_bundle(path: str | os.PathLike[str], public_key: bytes | None = None) -> Bundle:
    """Read and check the bundle in the folder `path`, or the one that `REGISTRY/ID` or `REGISTRY/ALIAS` stands for.

    public_key: Ed25519, 32 raw bytes or PEM; given one, a bundle without a valid signature by it is refused.
    Raises BundleError, which names the file and what is wrong with it.
    """
    folder = bundle_folder(Path(path))
    present = files.list_folder(folder)
    text = files.read_file(folder, files.MANIFEST)
    if public_key is not None:
        if files.SIGNATURE not in present:
            raise BundleError(f"{folder} is not signed, and a signature is demanded; `trainer sign` writes one")
        verify(text, files.read_file(folder, files.SIGNATURE), public_key)
    manifest = parse(text)
    registered = registered_id(folder)
    if registered not in (None, manifest.bundle_id):
        raise BundleError(
            f"{folder} holds bundle {manifest.bundle_id}, not {registered}: the registry was changed by hand"
        )
    contents = files.read_hashed(folder, present, manifest.files)
    arrays = {name: files.unpack(name, content) for name, content in contents.items()}
    _require_probe(manifest, arrays[files.PROBE])
    bundle = assemble(manifest, arrays[files.WEIGHTS], arrays[files.SCALER], arrays.get(files.HEAD))
    scored = check_probe(bundle, arrays[files.PROBE])
    windows = arrays[files.PROBE]["windows"]
    fingerprint = score_fingerprint(windows, scored, bundle.head, manifest.grid.step_seconds)
    return replace(bundle, score_fingerprint=fingerprint)


def load_stream_bundle(path: str | os.PathLike[str], public_key: bytes | None = None) -> Bundle:
    """As `load_bundle`; UsageError for a bundle of samples without a time, which no stream has."""
    bundle = load_bundle(path, public_key)
    require_stream(bundle.manifest)
    return bundle


def assemble(manifest: Manifest, weights: Arrays, scaler: Arrays, head: Arrays | None) -> Bundle:
    """A bundle from its parts; BundleError where they do not fit together."""
    _require_finite(files.WEIGHTS, weights)
    # A centre that is not known masks its sensor.
    _require_finite(files.SCALER, {name: array for name, array in scaler.items() if name != ASSET_CENTER})
    sensors = len(manifest.sensors)
    for name in ("center", "scale", *(["usual_error"] if manifest.score.standardise else [])):
        if name not in scaler or scaler[name].shape != (sensors,):
            raise BundleError(f"{files.SCALER} lacks {name!r} for {sensors} sensors")
    frozen = Scaler(
        scaler["center"].astype(np.float64),
        scaler["scale"].astype(np.float64),
        manifest.scaler.clip,
        scaler["usual_error"].astype(np.float64) if manifest.score.standardise else None,
    )
    if not (frozen.scale > 0).all():
        raise BundleError(f"{files.SCALER}: a scale is not above zero")
    if frozen.usual_error is not None and not (frozen.usual_error > 0).all():
        raise BundleError(f"{files.SCALER}: a usual error is not above zero")
    try:
        model = build(manifest.model, manifest.model_steps, sensors)
        model.restore(weights)
    except ValueError as error:
        raise BundleError(f"{files.WEIGHTS} and the model in the manifest do not fit together: {error}") from error
    scorer = Scorer(manifest.transform, frozen, model, manifest.score)
    return Bundle(manifest, scorer, _head(manifest, head), _fleet(manifest, scaler, frozen))


def check_probe(bundle: Bundle, probe: Arrays) -> ScoredWindows:
    """The probe windows, scored again; BundleError if a score or error is not the one that was written."""
    scored = bundle.scorer.score(probe["windows"], _probe_scaler(bundle.fleet, probe.get(PROBE_ASSET)))
    for what, found, wanted in (
        ("score", scored.score, probe["score"]),
        ("error of a sensor", scored.attribution, probe["errors"]),
    ):
        difference = np.abs(found - wanted)
        if not (difference <= PROBE_ABSOLUTE + PROBE_RELATIVE * np.abs(wanted)).all():
            raise BundleError(
                f"the bundle does not score as it did when it was written: a probe window's {what} differs by up to "
                f"{np.nanmax(difference):.3g}; fit the recipe again with this version and its libraries"
            )
    return scored


def _probe_scaler(fleet: Fleet | None, rows: NDArray[Any] | None) -> Scaler | None:
    """rows: (B,) the machine of each probe window."""
    if fleet is None or rows is None:
        return None
    if rows.dtype != np.int64 or not ((rows >= 0) & (rows < len(fleet.center))).all():
        raise BundleError(f"{files.PROBE}: {PROBE_ASSET} names machines that the fleet does not have")
    return fleet.common.of_windows(fleet.center[rows], fleet.scale[rows])


def write_bundle(
    path: str | os.PathLike[str],
    manifest: Manifest,
    model: Model,
    scaler: Scaler,
    probe_windows: FloatArray,
    head: Mapping[str, NDArray[Any]] | None = None,
    private_key: bytes | None = None,
    fleet: Fleet | None = None,
    probe_assets: NDArray[np.int64] | None = None,
) -> Bundle:
    """Write a bundle to the folder `path`, whole or not at all, and return it as loaded from there.

    fleet, probe_assets: of a fleet, and (B,) the row of each probe window's machine.
    probe_windows: (B, T, F), NaN = masked; `manifest.files`, its id and the probe's expected scores are filled in here.
    A bundle that is there already is replaced; UsageError if the folder holds anything else.
    """
    require_place(path)
    folder = Path(path).resolve()
    scorer = Scorer(manifest.transform, scaler, model, manifest.score)
    arrays: dict[str, Mapping[str, NDArray[Any]]] = {
        files.WEIGHTS: model.arrays(),
        files.SCALER: {**scaler.arrays(), **({} if fleet is None else fleet.arrays())},
        files.PROBE: _probe(probe_windows, scorer.score(probe_windows, _probe_scaler(fleet, probe_assets))),
    }
    if probe_assets is not None:
        arrays[files.PROBE] = {**arrays[files.PROBE], PROBE_ASSET: probe_assets}
    if head is not None:
        arrays[files.HEAD] = head
    contents = {name: files.pack(content) for name, content in arrays.items()}
    hashes = {name: files.sha256(content) for name, content in contents.items()}
    contents[files.MANIFEST] = seal(manifest.model_copy(update={"files": hashes}))
    if private_key is not None:
        contents[files.SIGNATURE] = sign(contents[files.MANIFEST], private_key)
    _replace_folder(folder, contents)
    return load_bundle(folder)


def require_place(path: str | os.PathLike[str]) -> None:
    """UsageError unless a bundle may be written to `path`: nothing is there, an empty folder, or a bundle."""
    folder = Path(path)
    if object_store.is_address(folder):
        raise UsageError(
            f"{object_store.shown(folder)}: bundles are written to folders; write it to one, and then "
            "`stream-detector bundles add` it to the registry"
        )
    if registered_id(folder) is not None or is_registry(folder.parent):
        raise UsageError(f"{folder} lies in a registry, where nothing changes; write elsewhere and add the bundle")
    if not folder.exists():
        above = next(each for each in folder.absolute().parents if each.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            reason = "no right to write there" if above.is_dir() else "it is no folder"
            raise UsageError(f"{folder} cannot be made in {above}: {reason}; name another folder")
        return
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {"a file"}
    if names and not (names <= set(files.MAX_BYTES) and files.MANIFEST in names):
        raise UsageError(f"{folder} is there already and is no bundle; name another folder, or remove it")


def sign_bundle(path: str | os.PathLike[str], private_key: bytes) -> None:
    """Check the bundle and write its signature beside the manifest; private_key: Ed25519, 32 raw bytes or PEM."""
    load_bundle(path)
    folder = bundle_folder(Path(path))
    if registered_id(folder) is not None:
        raise UsageError(f"{folder} lies in a registry, where nothing changes; sign the bundle and add it again")
    signature = sign(files.read_file(folder, files.MANIFEST), private_key)
    (folder / files.SIGNATURE).write_bytes(signature)


def _probe(windows: FloatArray, scored: ScoredWindows) -> Arrays:
    return {"windows": windows, "score": scored.score, "errors": scored.attribution}


def _head(manifest: Manifest, arrays: Arrays | None) -> "Head | None":
    if manifest.head is None:
        return None
    if arrays is None:
        raise BundleError(f"the manifest names a head of kind {manifest.head.kind!r}, but {files.HEAD} is not there")
    _require_finite(files.HEAD, arrays)

    try:
        head = build_head(manifest.head, arrays, manifest.sensors, manifest.lead)
    except ValueError as error:
        raise BundleError(f"{files.HEAD} and the head in the manifest do not fit together: {error}") from error
    _require_state_fits(manifest, head)
    return head


def _fleet(manifest: Manifest, arrays: Arrays, common: Scaler) -> Fleet | None:
    """None where the bundle has one scale for all."""
    if manifest.fleet is None:
        return None
    shape = (len(manifest.fleet.assets), len(manifest.sensors))
    for name in (ASSET_CENTER, ASSET_SCALE):
        if name not in arrays or arrays[name].shape != shape:
            raise BundleError(f"{files.SCALER} lacks {name!r} for {shape[0]} machines of {shape[1]} sensors")
    center, scale = arrays[ASSET_CENTER].astype(np.float64), arrays[ASSET_SCALE].astype(np.float64)
    if np.isinf(center).any() or not (scale > 0).all():
        raise BundleError(f"{files.SCALER}: a machine has a centre that is infinite, or a scale that is not above zero")
    if first_steps.most_bytes(shape[1]) > MOST_STATE_BYTES:
        raise BundleError(
            f"a provisional machine of {shape[1]:,} sensors keeps {first_steps.most_bytes(shape[1]):,} bytes, and one "
            f"message of Kafka has room for {MOST_STATE_BYTES:,} of them: fit it with fewer sensors"
        )
    machines = {asset: row for row, asset in enumerate(manifest.fleet.assets)}
    return Fleet(manifest.fleet, manifest.scaler, manifest.transform, machines, center, scale, common)


def _require_state_fits(manifest: Manifest, head: "Head") -> None:
    """A worker keeps the head's state of each asset in one message of the topic of state."""
    size = len(head.dump(head.fresh())) + LABEL_BYTES * manifest.lead.until_steps
    if size > MOST_STATE_BYTES:
        raise BundleError(
            f"the head keeps {size:,} bytes for each asset ({len(manifest.sensors)} sensors), and one message of Kafka "
            f"has room for {MOST_STATE_BYTES:,} of them: fit it with fewer sensors, or with smaller "
            "head.options.features.lags and volatility_steps"
        )


def _require_probe(manifest: Manifest, probe: Arrays) -> None:
    """Before a model is built: its size follows from the window, and the probe shows that windows have that size."""
    windows, sensors = probe.get("windows", np.empty(0)), len(manifest.sensors)
    shapes = {"windows": (len(windows), manifest.window.steps, sensors), "score": (len(windows),)}
    for name, shape in {**shapes, "errors": (len(windows), sensors)}.items():
        if name not in probe or probe[name].shape != shape or probe[name].dtype != np.float64:
            raise BundleError(f"{files.PROBE} does not fit this bundle: {name} should be float64 of the shape {shape}")
    if not len(windows):
        raise BundleError(f"{files.PROBE} is empty; fit the recipe again")


def _require_finite(name: str, arrays: Arrays) -> None:
    for key, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError(f"{name}: {key} holds a number that is not finite")


def _replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files into a new folder and move it into place, so that no reader sees half a bundle."""
    require_place(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name, content in contents.items():
                (fresh / name).write_bytes(content)
            fresh.chmod(0o755)
            if folder.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
                folder.rename(old)
                fresh.rename(folder)
                shutil.rmtree(old)
            else:
                fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"the bundle cannot be written to {folder}: {error.strerror or error}") from error
