"""The figures of the reports, in plotly."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.manifest import Manifest
from trainer.data.dataset import Dataset
from trainer.data.examples import cut_examples
from trainer.data.spectrum import Spectra
from trainer.evaluation.score import bundle_data, iso_times
from trainer.evaluation.scored import ScoredRows
from trainer.fitting.losses import Losses
from trainer.fitting.thresholds import operating_curve

NORMAL, ANOMALOUS, THRESHOLD, EVENT = "#2f6f9f", "#c2452d", "#444444", "#e0a030"
MOST_POINTS = 20_000
"""A longer series is thinned for drawing, keeping its highest points."""

SENSORS_SHOWN = 4
MOST_SPECTRA = 16


def losses(curves: Losses) -> go.Figure:
    """Mean loss of each epoch."""
    epochs = np.arange(1, len(curves.train) + 1)
    figure = new_figure("epoch", "mean loss")
    figure.add_scatter(x=epochs, y=curves.train, name="learnt from", line_color=NORMAL)
    figure.add_scatter(x=epochs, y=curves.holdout, name="held out", line_color=ANOMALOUS)
    figure.add_vline(x=curves.best + 1, line_dash="dot", line_color=THRESHOLD, annotation_text="kept")
    return figure


def sensor_spectra(found: Spectra) -> go.Figure:
    """Spectrum figure: each sensor's variance by period; a click on a name hides it."""
    unit, seconds = ("h", 3600.0) if found.period_seconds[0] > 7200 else ("s", 1.0)
    figure = new_figure(f"period, {unit}", "share of the variance")
    for column, name in enumerate(found.sensors[:MOST_SPECTRA]):
        figure.add_scatter(x=found.period_seconds / seconds, y=found.density[:, column], name=name, mode="lines")
    figure.update_xaxes(type="log")
    return figure


def score_distribution(manifest: Manifest, scored: ScoredRows) -> go.Figure:
    """Histogram of the scores, by label where there are labels; each class has the area 1."""
    figure = new_figure(_level_name(scored), "density")
    level = scored.level
    if len(level):
        # A few extreme scores would squeeze all others into one bar.
        limit = max(float(np.quantile(level, 0.995)), _drawn_threshold(manifest)) * 1.05
        shown = np.minimum(level, limit)
        classes = [("all", NORMAL, np.ones(len(level), dtype=bool))]
        if scored.positive is not None:
            classes = [("normal", NORMAL, ~scored.positive), ("call for an alarm", ANOMALOUS, scored.positive)]
        bins = {"start": float(shown.min()), "end": limit, "size": (limit - float(shown.min())) / 80 or 1.0}
        for name, color, chosen in classes:
            figure.add_histogram(
                x=shown[chosen], xbins=bins, name=name, histnorm="probability density", marker_color=color, opacity=0.6
            )
    if manifest.raises_alarms:
        figure.add_vline(x=manifest.alarm_threshold, line_color=THRESHOLD, annotation_text="threshold")
    figure.update_layout(barmode="overlay")
    return figure


def score_over_time(manifest: Manifest, dataset: Dataset, scored: ScoredRows) -> go.Figure:
    """The score of every row, the threshold, the rows in alarm, and the events or anomalous rows."""
    has_time = bundle_data(manifest).time_column is not None and len(dataset.assets) <= 1
    row = "row, one asset after another" if dataset.assets else "row"
    figure = new_figure("time (UTC)" if has_time else row, _level_name(scored))
    shown = _thinned(scored.level, scored.above)
    rows = scored.rows[shown]
    gaps = gaps_before(scored.rows, shown)
    figure.add_scattergl(
        x=_axis(dataset, np.insert(rows, gaps, rows[gaps - 1]), has_time),
        y=np.insert(scored.level[shown], gaps, np.nan),
        name="score",
        mode="lines",
        line={"color": NORMAL, "width": 1},
    )
    alarms = shown[scored.above[shown]]
    figure.add_scattergl(
        x=_axis(dataset, scored.rows[alarms], has_time),
        y=scored.level[alarms],
        name="in alarm",
        mode="markers",
        marker={"color": ANOMALOUS, "size": 5},
    )
    if manifest.raises_alarms:
        figure.add_hline(y=manifest.alarm_threshold, line_color=THRESHOLD, annotation_text="threshold")
    if dataset.labels is not None:
        within = np.flatnonzero(dataset.labels)
        within = within[(within >= scored.rows[0]) & (within <= scored.rows[-1])][:MOST_POINTS]
        name = "event" if dataset.labels_mark_events else "labelled anomalous"
        figure.add_scattergl(
            x=_axis(dataset, within, has_time),
            y=np.zeros(len(within)),
            name=name,
            mode="markers",
            marker={"color": EVENT, "symbol": "line-ns-open", "size": 14},
        )
    highest = max(float(np.quantile(scored.level, 0.999)), _drawn_threshold(manifest), 1e-12)
    beyond = shown[scored.level[shown] > 1.1 * highest]
    if len(beyond):
        figure.add_scattergl(
            x=_axis(dataset, scored.rows[beyond], has_time),
            y=np.full(len(beyond), 1.07 * highest),
            text=[f"{level:.4g}" for level in scored.level[beyond]],
            name="higher than drawn",
            mode="markers",
            marker={"color": ANOMALOUS, "symbol": "triangle-up", "size": 8},
        )
    figure.update_yaxes(range=[0, 1.1 * highest])
    return figure


def cost_curve(manifest: Manifest, scored: ScoredRows) -> go.Figure:
    """Total cost of every threshold, with the lines of never and of always alarming."""
    assert scored.positive is not None
    curve = operating_curve(scored.level, scored.positive)
    cost = curve.cost(manifest.costs)
    shown = np.unique(np.linspace(0, len(cost) - 1, min(len(cost), 2000)).round().astype(np.int64))
    figure = new_figure(f"threshold of the {_level_name(scored)}", "cost")
    figure.add_scatter(x=curve.thresholds[shown], y=cost[shown], name="cost", line_color=NORMAL)
    figure.add_hline(y=cost[0], line_dash="dash", line_color=THRESHOLD, annotation_text="never alarm")
    figure.add_hline(y=cost[-1], line_dash="dot", line_color=EVENT, annotation_text="always alarm")
    if manifest.raises_alarms:
        figure.add_vline(x=manifest.alarm_threshold, line_color=ANOMALOUS, annotation_text="threshold")
    low, high = float(np.quantile(scored.level, 0.001)), float(np.quantile(scored.level, 0.999))
    figure.update_xaxes(range=[low, 1.05 * max(high, _drawn_threshold(manifest))])
    figure.update_yaxes(range=[0, 2.0 * float(cost[0]) or None])
    return figure


def _drawn_threshold(manifest: Manifest) -> float:
    """Of a bundle that raises nothing there is none to make room for."""
    return manifest.alarm_threshold if manifest.raises_alarms else 0.0


def confusion(matrix: list[list[int]]) -> go.Figure:
    """[[tn, fp], [fn, tp]] as a labelled map; colours are shares of each row."""
    counts = np.array(matrix, dtype=np.float64)
    figure = new_figure("", "")
    figure.add_heatmap(
        z=counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
        x=["no alarm", "alarm"],
        y=["normal", "calls for an alarm"],
        text=[[f"{count:,}" for count in row] for row in matrix],
        texttemplate="%{text}",
        textfont_size=18,
        colorscale="Blues",
        showscale=False,
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=300, width=520)
    return figure


def reconstruction(bundle: Bundle, dataset: Dataset, scored: ScoredRows) -> go.Figure | None:
    """The most anomalous window as the model read it and as it drew it; None for models that do not draw."""
    manifest = bundle.manifest
    most = int(np.argmax(scored.score))
    # The window lies in its last steps' rows; cutting these alone spares the whole file.
    first = max(0, int(scored.rows[most]) - 4 * (manifest.window.steps + manifest.grid.staleness_steps))
    nearby = np.zeros(len(dataset), dtype=bool)
    nearby[first : scored.rows[most] + 1] = True
    examples = cut_examples(
        dataset.take(nearby), manifest.grid, manifest.window, manifest.lead, manifest.operating_rule
    )
    if not len(examples):
        return None
    scaler = None
    if bundle.fleet is not None and examples.assets is not None:
        newest = bundle.fleet.read(examples.assets[-1:], examples.windows[-1:])
        if not newest.ready.all():  # a machine that training never saw: what it learnt until then is not at hand
            return None
        scaler = newest.scaler
    scaled, drawn = bundle.scorer.reconstruct(examples.windows[-1:], scaler)
    if drawn is None:
        return None
    largest = np.argsort(-scored.attribution[most], kind="stable")[:SENSORS_SHOWN]
    as_samples = scaled.shape[1] == 1
    if as_samples:
        figure = new_figure("column", "scaled value")
        figure.add_scatter(x=manifest.sensors, y=scaled[0, 0], name="input", line_color=NORMAL)
        figure.add_scatter(x=manifest.sensors, y=drawn[0, 0], name="reconstruction", line_color=ANOMALOUS)
        return figure
    names = [manifest.sensors[sensor] for sensor in largest]
    figure = make_subplots(rows=len(names), cols=1, shared_xaxes=True, subplot_titles=names, vertical_spacing=0.06)
    steps = np.arange(1 - scaled.shape[1], 1)
    for row, sensor in enumerate(largest, start=1):
        input_line = {"name": "input", "line_color": NORMAL, "showlegend": row == 1}
        drawn_line = {"name": "reconstruction", "line_color": ANOMALOUS, "showlegend": row == 1}
        figure.add_scatter(x=steps, y=scaled[0, :, sensor], row=row, col=1, **input_line)
        figure.add_scatter(x=steps[-drawn.shape[1] :], y=drawn[0, :, sensor], row=row, col=1, **drawn_line)
    figure.update_xaxes(title_text="step", row=len(names), col=1)
    figure.update_layout(template="plotly_white", height=170 * len(names) + 80, margin={"t": 40, "b": 50})
    return figure


def new_figure(x: str, y: str) -> go.Figure:
    """An empty figure in the look of the reports."""
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=380,
        margin={"t": 30, "b": 50},
        xaxis_title=x,
        yaxis_title=y,
        hovermode="closest",
    )
    return figure


def _level_name(scored: ScoredRows) -> str:
    return "score" if scored.probability is None else "probability"


def _axis(dataset: Dataset, rows: NDArray[np.int64], has_time: bool) -> list[str] | NDArray[np.int64]:
    return iso_times(dataset.times[rows]) if has_time else rows


def gaps_before(rows: NDArray[np.int64], shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the points drawn have rows before them that were not scored: the line stops there.

    rows: (B,) that were scored, ascending. shown: indices into them, ascending; what was only thinned out is no gap.
    """
    skipped = np.cumsum(np.append(0, np.diff(rows) > 1))[shown]
    return np.flatnonzero(np.diff(skipped) > 0) + 1


def _thinned(level: NDArray[np.float64], alarm: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices of at most about MOST_POINTS points: the highest of each stretch, and the alarms."""
    if len(level) <= MOST_POINTS:
        return np.arange(len(level))
    stretch = -(-len(level) // MOST_POINTS)
    padded = np.full(-(-len(level) // stretch) * stretch, -np.inf)
    padded[: len(level)] = level
    highest = padded.reshape(-1, stretch).argmax(axis=1) + np.arange(0, len(padded), stretch)
    alarms = np.flatnonzero(alarm)
    spread = alarms[:: max(1, len(alarms) // MOST_POINTS)]
    return np.union1d(highest, spread)
