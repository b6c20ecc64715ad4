"""Several files to one history, and what its rows are like."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian.assets import rows_of_assets
from stream_detector.historian.history import History
from stream_detector.historian.layout import Layout
from stream_detector.historian.report import some
from stream_detector.historian.runs import end_to_end_of_assets

Ints = NDArray[np.int64]


def note_rows(history: History, layout: Layout) -> None:
    """Count rows, and what their times are like, in the report."""
    report, codes, seconds = history.report, history.asset_rows, history.times
    report.rows = len(seconds)
    if codes is not None:
        report.assets = dict(zip(history.assets, np.bincount(codes).tolist(), strict=True))
    if layout.without_time:
        return
    steps = []
    report.equal_times = 0
    for rows in rows_of_assets(codes, len(seconds)):
        own = seconds[rows]
        steps.append(np.diff(own))
        report.equal_times += len(own) - len(np.unique(own)) if history.runs is None else 0
    between = np.concatenate(steps)
    report.steps_back = int((between < 0).sum()) if history.runs is None else 0
    forward = between[between > 0]
    if len(forward):
        report.median_step_seconds = float(np.median(forward))
        report.gaps = int((forward > 3 * report.median_step_seconds).sum())


def joined(path: Path, histories: list[History], layout: Layout) -> History:
    histories = sorted(histories, key=lambda history: float(history.times[0]))
    first = histories[0]
    for other in histories[1:]:
        if set(other.sensors) != set(first.sensors):
            differ = sorted(set(other.sensors) ^ set(first.sensors))
            raise DataError(
                f"{other.path} has other sensors than {first.path}: {some(differ)}; name those of both as sensors"
            )
    order = [[other.sensors.index(name) for name in first.sensors] for other in histories]
    labels = None if any(each.labels is None for each in histories) else [each.labels for each in histories]
    times = np.concatenate([each.times for each in histories])
    assets, codes = _joined_assets(histories)
    runs = None
    if layout.file_runs:
        runs = np.repeat(np.arange(len(histories)), [len(each.times) for each in histories])
        times = end_to_end_of_assets(times, runs, codes)
    report = first.report
    for other in histories[1:]:
        report.add(other.report)
    joined = History(
        path,
        times,
        first.sensors,
        np.concatenate([each.values[:, place] for each, place in zip(histories, order, strict=True)]),
        None if labels is None else np.concatenate(labels),  # type: ignore[arg-type]
        runs,
        report,
        assets,
        codes,
    )
    note_rows(joined, layout)
    return joined


def _joined_assets(histories: list[History]) -> tuple[tuple[str, ...], Ints | None]:
    if any(history.asset_rows is None for history in histories):
        return (), None
    places: dict[str, int] = {}
    codes = []
    for history in histories:
        of_file = np.array([places.setdefault(name, len(places)) for name in history.assets], np.int64)
        codes.append(of_file[history.asset_rows])
    return tuple(places), np.concatenate(codes)
