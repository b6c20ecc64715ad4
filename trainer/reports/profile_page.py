"""The profile of a file as one HTML page: a small multiple for each sensor, what is missing, steps between rows."""

from html import escape
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trainer.data.profile import Profile
from trainer.reports.fit_report import STYLE

MOST_SENSORS = 60
MOST_POINTS = 600
COLUMNS = 3


def profile_page(found: Profile) -> str:
    """The profile as one self-contained HTML page."""
    history = found.history
    facts = "".join(f"<li>{escape(line)}</li>" for line in history.report.lines())
    questions = "".join(f"<li>{escape(line)}</li>" for line in found.questions)
    labels = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found.label_candidates.items())
    dropped = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found.left_out.items())
    parts = [
        f"<h1>{escape(found.path.name)}</h1><p class=muted>{len(history):,} rows, {len(found.sensors)} sensors</p>",
        f"<h2>Read</h2><ul>{facts}</ul>",
        f"<h2>To decide</h2><ul>{questions}</ul>" if questions else "",
        f"<h2>Possible labels</h2><ul>{labels}</ul>" if labels else "",
        f"<h2>Left out</h2><ul>{dropped}</ul>" if dropped else "",
        f"<p class=muted>never change: {escape(', '.join(found.constant))}</p>" if found.constant else "",
        "<h2>Sensors</h2><p class=muted>Dots: medians of equal stretches; beside a name: the share missing.</p>",
        _sensors(found).to_html(full_html=False, include_plotlyjs="inline"),
        "<h2>Seconds between rows</h2>" + _steps(found).to_html(full_html=False, include_plotlyjs=False)
        if len(history) > 1
        else "",
    ]
    return (
        f"<!doctype html><meta charset=utf-8><title>{escape(found.path.name)}</title><style>{STYLE}</style>"
        + "".join(parts)
    )


def _sensors(found: Profile) -> go.Figure:
    history, names = found.history, found.sensors[:MOST_SENSORS]
    rows = max(1, -(-len(names) // COLUMNS))
    places = [history.sensors.index(name) for name in names]
    missing = np.isnan(history.values).mean(axis=0)
    titles = [f"{name}  {missing[place]:.0%}" for name, place in zip(names, places, strict=True)]
    figure = make_subplots(rows=rows, cols=COLUMNS, subplot_titles=titles, vertical_spacing=min(0.06, 0.6 / rows))
    edges = np.linspace(0, len(history), min(MOST_POINTS, len(history)) + 1).astype(int)
    moments = np.asarray(history.times[edges[:-1]] * 1000, "datetime64[ms]")
    for number, place in enumerate(places):
        medians = [_median(history.values[low:high, place]) for low, high in pairwise(edges)]
        figure.add_scattergl(
            x=moments, y=medians, mode="markers", marker={"size": 2, "color": "#2f6f9f"}, showlegend=False,
            row=number // COLUMNS + 1, col=number % COLUMNS + 1,
        )  # fmt: skip
    figure.update_layout(height=140 * rows + 60, margin={"l": 40, "r": 10, "t": 40, "b": 20}, template="plotly_white")
    figure.update_annotations(font_size=11)
    return figure


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _steps(found: Profile) -> go.Figure:
    steps = np.diff(found.history.times)
    lengths, counts = np.unique(np.round(steps, 3), return_counts=True)
    common = np.argsort(-counts)[:30]
    figure = go.Figure(go.Bar(x=[f"{lengths[i]:g}" for i in common], y=counts[common], marker_color="#2f6f9f"))
    figure.update_layout(height=260, margin={"l": 50, "r": 10, "t": 10, "b": 40}, template="plotly_white")
    figure.update_xaxes(title="seconds")
    figure.update_yaxes(title="rows", type="log")
    return figure
