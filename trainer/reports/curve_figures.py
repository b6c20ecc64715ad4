"""The figures that judge a score against labels, whatever threshold is used on it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from trainer.fitting.thresholds import operating_curve
from trainer.reports.fit_figures import ANOMALOUS, EVENT, NORMAL, THRESHOLD, new_figure

BINS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 1.0)
"""Bins of the reliability diagram: fine where events are rare."""

MOST_DRAWN = 2_000
Z90 = 1.6448536269514722

Level = NDArray[np.float64]
Positive = NDArray[np.bool_]


def reliability(level: Level, positive: Positive, bins: Sequence[float] = BINS) -> go.Figure:
    """Observed part of positive rows against the mean probability of each bin. level, positive: (B,)."""
    which = np.clip(np.searchsorted(bins, level, side="right") - 1, 0, len(bins) - 2)
    count = np.bincount(which, minlength=len(bins) - 1)
    used = count > 0
    said = np.bincount(which, level, len(bins) - 1)[used] / count[used]
    seen = np.bincount(which, positive, len(bins) - 1)[used] / count[used]
    low, high = wilson(seen, count[used])
    figure = new_figure("probability said", "part of rows before an event")
    figure.add_scatter(
        x=said, y=seen, mode="markers+lines", name="observed, with 90 % intervals", marker_color=NORMAL,
        error_y={"type": "data", "symmetric": False, "array": high - seen, "arrayminus": seen - low},
        text=[f"{n:,} rows" for n in count[used]],
    )  # fmt: skip
    figure.add_scatter(x=said, y=said, mode="lines", name="calibrated", line={"color": THRESHOLD, "dash": "dot"})
    figure.update_xaxes(type="log", dtick=1, tickformat="~p")
    figure.update_yaxes(tickformat="~p")
    return figure


def wilson(part: NDArray[np.float64], count: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """90 % interval of a proportion (Wilson 1927)."""
    spread = Z90**2 / count
    middle = (part + spread / 2) / (1 + spread)
    half = Z90 * np.sqrt(part * (1 - part) / count + spread / (4 * count)) / (1 + spread)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def precision_and_recall(level: Level, positive: Positive, threshold: float | None) -> go.Figure:
    """Precision, recall and F1 of every threshold; None: no threshold is used."""
    curve = operating_curve(level, positive)
    precision, recall = curve.precision(), curve.recall()
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    shown = _shown(len(curve.thresholds))
    figure = new_figure("threshold", "")
    for name, values, color in (("precision", precision, NORMAL), ("recall", recall, ANOMALOUS), ("F1", f1, EVENT)):
        figure.add_scatter(x=curve.thresholds[shown], y=values[shown], name=name, line_color=color)
    if threshold is not None:
        figure.add_vline(x=threshold, line_color=THRESHOLD, annotation_text="threshold")
    # A few extreme scores would squeeze all others into the left edge; the threshold used stays in view.
    high = max(float(np.quantile(level, 0.999)), 0.0 if threshold is None else threshold)
    figure.update_xaxes(range=[min(float(level.min()), high), 1.05 * high or 1.0])
    figure.update_yaxes(range=[0, 1.02])
    return figure


def trade_offs(level: Level, positive: Positive, threshold: float | None) -> go.Figure:
    """Precision against recall, and found against false alarms (ROC), with the operating point in both."""
    curve = operating_curve(level, positive)
    precision, recall = curve.precision(), curve.recall()
    false_alarms = curve.fp / max(curve.negatives, 1)
    shown = _shown(len(curve.thresholds))
    base = curve.positives / max(curve.positives + curve.negatives, 1)
    figure = make_subplots(rows=1, cols=2, subplot_titles=("precision against recall", "ROC"))
    line = {"mode": "lines", "line_color": NORMAL, "showlegend": False}
    figure.add_scatter(x=recall[shown], y=precision[shown], row=1, col=1, **line)
    figure.add_scatter(x=false_alarms[shown], y=recall[shown], row=1, col=2, **line)
    chance = {"mode": "lines", "line": {"color": THRESHOLD, "dash": "dot"}, "name": "chance"}
    figure.add_scatter(x=[0, 1], y=[base, base], row=1, col=1, showlegend=False, **chance)
    figure.add_scatter(x=[0, 1], y=[0, 1], row=1, col=2, **chance)
    if threshold is not None:
        used = min(int(np.searchsorted(-curve.thresholds, -threshold)), len(curve.thresholds) - 1)
        dot = {"mode": "markers", "marker": {"color": ANOMALOUS, "size": 10}, "name": "threshold"}
        figure.add_scatter(x=[recall[used]], y=[precision[used]], row=1, col=1, **dot)
        figure.add_scatter(x=[false_alarms[used]], y=[recall[used]], row=1, col=2, **dot, showlegend=False)
    figure.update_xaxes(title_text="recall", range=[0, 1.02], row=1, col=1)
    figure.update_xaxes(title_text="false-alarm rate", range=[0, 1.02], row=1, col=2)
    figure.update_yaxes(range=[0, 1.02])
    figure.update_layout(template="plotly_white", height=380, margin={"t": 40, "b": 50})
    return figure


def _shown(length: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, length - 1, min(length, MOST_DRAWN)).round().astype(np.int64))
