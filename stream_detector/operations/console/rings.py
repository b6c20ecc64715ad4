"""The bounded history of one asset: the newest points, with every sensor's value and what the model expected."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream_detector.operations.console.views import Sample, SensorTrace, Series

POINTS = 720
MIN_RESOLUTION_SECONDS = 30.0


class AssetRing:
    """At most `points` points, one a step but no closer than 30 s, so that even a 1 s grid covers six hours.

    Of the steps that fall into one point the one closest to an alarm is kept: a peak is never thinned out.

    Args:
        sensors: names of the columns of values and expected values.
        step_seconds: of the asset's grid.
        points: how many to keep. Memory is about `8 * points * len(sensors)` bytes.
    """

    def __init__(self, sensors: Sequence[str], step_seconds: float, points: int = POINTS) -> None:
        self.sensors = tuple(sensors)
        self.step_seconds = step_seconds
        self.resolution_seconds = max(step_seconds, MIN_RESOLUTION_SECONDS)
        self._column = {sensor: column for column, sensor in enumerate(self.sensors)}
        self.points = self._points = points
        self._count = 0
        self._time = np.full(points, np.nan)
        self._ratio = np.full(points, np.nan)
        self._probability = np.full(points, np.nan)
        self._alarm = np.zeros(points, dtype=bool)
        self._values = np.full((points, len(self.sensors)), np.nan, dtype=np.float32)
        self._expected = np.full_like(self._values, np.nan)

    @property
    def cells(self) -> int:
        """Values of sensors that it has room for."""
        return self._values.size

    def __len__(self) -> int:
        return min(self._count, self._points)

    def add(self, sample: Sample) -> None:
        """Takes a sample. An older one changes nothing; the same step again adds the values that were not known."""
        ratio = np.nan if sample.ratio is None else sample.ratio
        last = (self._count - 1) % self._points
        if self._count and sample.time <= self._time[last]:
            if sample.time == self._time[last]:
                self._fill_in(last, sample)
            return
        if self._count and sample.time // self.resolution_seconds == self._time[last] // self.resolution_seconds:
            self._alarm[last] |= sample.alarm
            if not np.isnan(self._ratio[last]) and not ratio >= self._ratio[last]:
                return
            place = last
        else:
            place = self._count % self._points
            self._count += 1
            self._alarm[place] = sample.alarm
        self._time[place] = sample.time
        self._ratio[place] = ratio
        self._probability[place] = np.nan if sample.probability is None else sample.probability
        for kept, given in ((self._values, sample.values), (self._expected, sample.expected)):
            kept[place] = given if len(given) == len(self.sensors) else np.nan
        self._fill_in_top(place, sample)

    def _fill_in(self, place: int, sample: Sample) -> None:
        for kept, given in ((self._values, sample.values), (self._expected, sample.expected)):
            if len(given) == len(self.sensors):
                kept[place] = np.where(np.isnan(kept[place]), given, kept[place])
        self._fill_in_top(place, sample)

    def _fill_in_top(self, place: int, sample: Sample) -> None:
        for top in sample.top_sensors:
            column = self._column.get(top.sensor)
            if column is None:
                continue
            if top.value is not None:
                self._values[place, column] = top.value
            if top.expected is not None:
                self._expected[place, column] = top.expected

    def append_newer(self, other: "AssetRing") -> None:
        """Adds the points of another ring that are newer than its own, with values where the sensors are the same."""
        newest = self._time[(self._count - 1) % self._points] if self._count else -np.inf
        order = other.order()
        source = order[other._time[order] > newest][-self._points :]  # noqa: SLF001 - one of its own kind
        place = np.arange(self._count, self._count + len(source)) % self._points
        self._count += len(source)
        self._values[place] = self._expected[place] = np.nan
        names = ["_time", "_ratio", "_probability", "_alarm"]
        if other.sensors == self.sensors:
            names += ["_values", "_expected"]
        for name in names:
            getattr(self, name)[place] = getattr(other, name)[source]

    def recent_ratios(self, count: int) -> list[float | None]:
        """The newest ratios, oldest first; None also where steps are missing between two of them."""
        order = self.order()[-count:]
        gaps = np.diff(self._time[order]) > 3.0 * max(self.step_seconds, self.resolution_seconds)
        return _plain(np.insert(self._ratio[order], np.flatnonzero(gaps) + 1, np.nan)[-count:])

    def series(
        self,
        asset: str,
        since: float,
        until: float | None,
        shares: Sequence[tuple[str, float]],
        events: Sequence[float],
    ) -> Series:
        """The points with `since <= time <= until`; `shares`: (sensor, share) of the traces wanted."""
        order = self.order()
        times = self._time[order]
        order = order[(times >= since) & (times <= (np.inf if until is None else until))]
        inside = [time for time in events if since <= time and (until is None or time <= until)]
        return Series(
            asset=asset,
            step_seconds=self.step_seconds,
            time=self._time[order].tolist(),
            ratio=_plain(self._ratio[order]),
            probability=_plain(self._probability[order]),
            alarm=self._alarm[order].tolist(),
            events=inside,
            traces=[
                SensorTrace(
                    sensor=sensor,
                    share=share,
                    value=_plain(self._values[order, self._column[sensor]]),
                    expected=_plain(self._expected[order, self._column[sensor]]),
                )
                for sensor, share in shares
                if sensor in self._column
            ],
        )

    def order(self) -> npt.NDArray[np.intp]:
        """Places of the points, oldest first."""
        length = len(self)
        return (np.arange(self._count - length, self._count) % self._points).astype(np.intp)


def _plain(values: npt.NDArray[np.floating]) -> list[float | None]:
    """Rounded to six digits (a page of them is sent over and over), None where not finite."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]
