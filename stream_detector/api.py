"""`Detector`: a bundle for notebooks and scripts. See docs/python-api.md."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.manifest import Manifest
from stream_detector.engine.offline import score_frame
from stream_detector.errors import DataError
from stream_detector.messages import MILLISECONDS_FROM

if TYPE_CHECKING:
    import pandas as pd

TABLE_KIND = "table"


class Detector:
    """Scores frames as the running detector scores the stream.

    >>> detector = Detector.load("bundle")                      # doctest: +SKIP
    >>> detector.score(frame)[["time", "score", "alarm"]]       # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @classmethod
    def load(cls, path: str | os.PathLike[str], public_key: bytes | None = None) -> "Detector":
        """The detector in the bundle at `path`.

        public_key: Ed25519, 32 raw bytes or PEM; given one, a bundle that it has not signed is refused.
        Raises BundleError where the bundle is not whole, was changed, or does not score as it did when it was written.
        """
        return cls(load_bundle(path, public_key))

    @property
    def manifest(self) -> Manifest:
        """The detector's parts: sensors, step, window, threshold and how it was chosen, costs, training."""
        return self._bundle.manifest

    @property
    def sensors(self) -> tuple[str, ...]:
        """The columns that `score` needs."""
        return self._bundle.manifest.sensors

    @property
    def threshold(self) -> float:
        """An alarm needs a score (of a calibrated detector: a probability) above this.

        Machines of a fleet may have thresholds of their own: `manifest.alarm_threshold_of(asset)`.
        """
        return self._bundle.manifest.alarm_threshold

    def score(
        self, frame: "pd.DataFrame", time: str | None = None, events: Any = (), asset: str | None = None
    ) -> "pd.DataFrame":
        """Score a frame of one asset: one row for every row of `frame` with a full window behind it, under its label.

        asset: the column that names the asset of each row, where the frame holds several. Each is scored by itself, its
        times ascending; `events` is then a mapping from asset to times. The result is in the order of the frame, with
        a column `asset`.

        frame: one column a sensor, NaN = missing; other columns are ignored. Its times are the index, or the column
        `time`: timestamps (without a zone: UTC) or numbers (epoch seconds, milliseconds from 1e11 on), ascending.
        Detectors of samples (lots, heart beats) need no times.
        A detector of a fleet has to know the asset; one that training never saw is scored once its first rows have
        shown its scale.

        events: times of events such as breaks, which end a window and are never inside one.

        Returns columns `time` (UTC; not for samples), `score`, `threshold`, `alarm` (bool), `probability` (of a
        calibrated detector) and `error:SENSOR` for each sensor (with a head: its part in the probability).
        Raises DataError where a sensor is missing, a value is no number, or time runs backwards.
        """
        if asset is None and self._bundle.fleet is not None:
            raise DataError(
                f"bundle {self.manifest.bundle_id} scales each machine by itself: name the column that tells them "
                "apart with asset="
            )
        scored = (
            self._scored(frame, time, events) if asset is None else self._scored_by_asset(frame, time, events, asset)
        )
        return scored.set_axis(frame.index[scored.index.to_numpy()])

    def _scored(self, frame: "pd.DataFrame", time: str | None, events: Any, name: str = "asset") -> "pd.DataFrame":
        """The scored rows under their places in `frame`."""
        import pandas as pd

        manifest = self._bundle.manifest
        values = _values(frame, manifest.sensors)
        columns: dict[str, Any] = {}
        if manifest.grid.kind == TABLE_KIND:
            scored = self._bundle.scorer.score(values[:, None, :])
            rows = np.arange(len(frame))
            score, above, attribution = scored.score, scored.score > self.threshold, scored.attribution
        else:
            times = _epoch_seconds(frame.index if time is None else _column(frame, time))
            if (np.diff(times) < 0).any():
                row = int(np.argmax(np.diff(times) < 0)) + 1
                raise DataError(f"time runs backwards at row {row} of the frame; sort it by time first")
            found = score_frame(self._bundle, times, values, np.sort(_epoch_seconds(events)), name)
            steps, rows = found.steps, found.rows
            score, above, attribution = steps.score, steps.above, steps.attribution
            columns["time"] = pd.to_datetime(times[rows], unit="s", utc=True)
            if self._bundle.head is not None:
                columns["probability"] = steps.probability
        columns |= {"score": score, "threshold": manifest.alarm_threshold_of(name), "alarm": above}
        columns |= {f"error:{name}": attribution[:, number] for number, name in enumerate(manifest.sensors)}
        return pd.DataFrame(columns, index=pd.Index(rows))

    def _scored_by_asset(self, frame: "pd.DataFrame", time: str | None, events: Any, asset: str) -> "pd.DataFrame":
        import pandas as pd

        names = _column(frame, asset, "asset")
        if names.isna().any():
            raise DataError(f"column {asset!r} names no asset in row {int(np.argmax(names.isna()))} of the frame")
        by_asset = events if isinstance(events, Mapping) else {}
        if len(events) and not by_asset:
            raise DataError("events of several assets are a mapping from asset to times")
        found = []
        for name, places in names.groupby(names, sort=False).indices.items():
            scored = self._scored(frame.iloc[places], time, by_asset.get(name, ()), str(name))
            scored.insert(0, "asset", str(name))
            found.append(scored.set_axis(np.asarray(places)[scored.index.to_numpy()]))
        return pd.concat(found).sort_index()


def _values(frame: "pd.DataFrame", sensors: tuple[str, ...]) -> NDArray[np.float64]:
    """(N, F) of the detector's sensors, NaN = missing."""
    import pandas as pd

    absent = [name for name in sensors if name not in frame.columns]
    if absent:
        raise DataError(f"the frame lacks {len(absent)} of {len(sensors)} sensors, the first is {absent[0]!r}")
    values = np.empty((len(frame), len(sensors)))
    for number, name in enumerate(sensors):
        try:
            values[:, number] = pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
        except (ValueError, TypeError) as error:
            raise DataError(f"column {name!r} holds something that is not a number: {error}") from error
    values[~np.isfinite(values)] = np.nan
    return values


def _column(frame: "pd.DataFrame", name: str, what: str = "time") -> "pd.Series":
    if name not in frame.columns:
        raise DataError(f"the frame has no {what} column {name!r}; it has {', '.join(map(str, frame.columns[:8]))}")
    return frame[name]


def _epoch_seconds(times: Any) -> NDArray[np.float64]:
    """Timestamps or epoch seconds as (N,) epoch seconds."""
    import pandas as pd

    series = pd.Series(np.asarray(times, np.float64) if len(times) == 0 else times).reset_index(drop=True)
    if pd.api.types.is_numeric_dtype(series):
        numbers = series.to_numpy(dtype=np.float64)
        # As in files and on the stream.
        return np.where(numbers >= MILLISECONDS_FROM, numbers / 1000.0, numbers)
    try:
        moments = pd.to_datetime(series, utc=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"the times are neither timestamps nor epoch seconds: {error}") from error
    if moments.isna().any():
        raise DataError(f"row {int(np.argmax(moments.isna()))} of the frame has no time")
    seconds: NDArray[np.float64] = (
        moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    )
    return seconds
