"""The columns of a file by what they are: time, label, asset, sensors."""

from pathlib import Path

import numpy as np

from stream_detector.errors import DataError
from stream_detector.historian.columns import Columns
from stream_detector.historian.delimited import UNNAMED
from stream_detector.historian.layout import LABEL_NAMES, TIME_NAMES, Layout
from stream_detector.historian.report import ReadReport, some


class NoSensorError(DataError):
    """No column of a file is left for a sensor."""


def roles(
    path: Path, names: list[str], layout: Layout, report: ReadReport
) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Sensors, time columns and label column among a file's columns."""
    time_names = time_columns_of(path, names, layout, report)
    label = layout.label_column or None
    if layout.label_optional and label not in names:
        label = None
    if label is not None and label not in names:
        raise DataError(f"{path} has no label column {label!r}; it has {some(names)}: name one with --label-column")
    if label is None and layout.find_label:
        label = named(names, LABEL_NAMES)
    asset = layout.asset_column
    if asset and asset not in names:
        raise DataError(
            f"{path} has no asset column {asset!r}; it has {some(names)}: name one with --asset-column, or '' where "
            "the file is of one asset"
        )
    others = {*time_names, label, asset, *layout.ignore, *layout.run_columns}
    sensors = layout.sensors or tuple(name for name in names if name not in others)
    missing = [name for name in sensors if name not in names]
    if missing:
        raise DataError(f"{path} lacks {len(missing)} of {len(sensors)} sensors: {some(missing)}; it has {some(names)}")
    if not sensors:
        raise NoSensorError(f"{path} has no sensor column beside time and label; it has {some(names)}")
    return sensors, time_names, None if label in sensors else label


def time_columns_of(path: Path, names: list[str], layout: Layout, report: ReadReport) -> tuple[str, ...]:
    if layout.without_time:
        return ()
    if not layout.time_columns or (layout.time_columns == ("time",) and "time" not in names):
        found = named(names, ("_time", *TIME_NAMES))
        if found is not None:
            if layout.time_columns:
                report.found_out.append(f"the time is in {found!r}")
            return (found,)
        if names[0] == UNNAMED:
            report.found_out.append("the first column has no name; it was taken for the time")
            return (UNNAMED,)
    if layout.time_columns and all(name in names for name in layout.time_columns):
        return layout.time_columns
    wanted = " and ".join(map(repr, layout.time_columns)) or "of the name " + " or ".join(map(repr, TIME_NAMES))
    raise DataError(f"{path} has no time column {wanted}; it has {some(names)}: name one with --time-column")


def leave_labels_out(columns: Columns, report: ReadReport) -> None:
    """A column of zeros and ones with a label's name is no sensor; whether it is the label, a person must say."""
    name = named(list(columns.sensors), LABEL_NAMES)
    if name is None or len(columns.sensors) == 1:
        return
    place = columns.sensors.index(name)
    values = columns.values[:, place]
    if np.isin(values[np.isfinite(values)], (0.0, 1.0)).all():
        columns.sensors = tuple(each for each in columns.sensors if each != name)
        columns.values = np.delete(columns.values, place, axis=1)
        report.notes.append(
            f"column {name!r} looks like a label and was left out; name it as label_column, or list it in sensors"
        )


def named(names: list[str], usual: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in usual if name in by_lower), None)
