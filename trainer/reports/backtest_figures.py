"""The figures of a backtest report, in plotly."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from stream_detector.detection.attribution import shares, top
from stream_detector.detection.episodes import episodes
from stream_detector.detection.event_cost import event_cost, warning_minutes
from trainer.backtesting.alarm_value import AlarmValue
from trainer.data.dataset import Dataset
from trainer.data.examples import not_running, row_steps, run_numbers
from trainer.evaluation.score import iso_times
from trainer.reports.fit_figures import ANOMALOUS, EVENT, NORMAL, THRESHOLD, new_figure

THRESHOLDS = 60
STEPS_BEFORE = 20
COLUMNS = 5


def cumulative_cost(worth: AlarmValue) -> go.Figure:
    """Cost since the start: these alarms, none at all, and always slow (but for events that nothing can catch)."""
    dates = _dates(worth)
    figure = new_figure("", "cost so far")
    always = worth.always_by_day
    figure.add_scatter(x=dates, y=worth.cost_by_day.cumsum(), name=worth.recipe.name, line_color=NORMAL)
    figure.add_scatter(x=dates, y=worth.never_by_day.cumsum(), name="never alarm", line_color=ANOMALOUS)
    # Always alarming often costs so much that the other two would be one line: it may leave at the top.
    name = f"always alarm ({always.sum():,.0f} in the end)"
    figure.add_scatter(x=dates, y=always.cumsum(), name=name, line_color=EVENT)
    figure.update_yaxes(range=[0, 1.1 * max(worth.cost_by_day.sum(), worth.never_by_day.sum(), 1.0)])
    figure.update_layout(legend={"orientation": "h", "y": 1.12})
    return figure


def saving_by_day(worth: AlarmValue) -> go.Figure:
    """Figure of each day's saving, in currency units."""
    saved = worth.never_by_day - worth.cost_by_day
    figure = new_figure("", "saved")
    figure.add_bar(x=_dates(worth), y=saved, marker_color=np.where(saved >= 0, NORMAL, ANOMALOUS))
    return figure


def cost_curve(dataset: Dataset, worth: AlarmValue) -> go.Figure:
    """Saving that each threshold would have had, as a multiple of the one used."""
    relative = worth.scored.level / np.where(worth.scored.threshold > 0, worth.scored.threshold, np.nan)
    usable = relative[np.isfinite(relative)]
    figure = new_figure("threshold, as a multiple of the one used", "saving")
    if len(usable):
        candidates = np.unique(np.append(np.quantile(usable, 1 - np.geomspace(0.0005, 0.2, THRESHOLDS)), 1.0))
        run = _runs(dataset, worth)
        savings = [_saving(worth, run, relative > c) for c in candidates]
        figure.add_scatter(x=candidates, y=savings, line_color=NORMAL)
        figure.add_vline(x=1.0, line_color=ANOMALOUS, annotation_text="used")
        used = savings[int(np.flatnonzero(candidates == 1.0)[0])]
        figure.update_yaxes(range=saving_range(savings, used))
    figure.add_hline(y=0, line_dash="dash", line_color=THRESHOLD, annotation_text="never alarm")
    figure.update_yaxes(tickformat=".0%")
    return figure


def saving_range(savings: Sequence[float], used: float) -> list[float]:
    """Ends of the axis: the best saving and the one of the threshold used are in view, a ruinous one is not."""
    finite = [saving for saving in (*savings, used) if np.isfinite(saving)]
    high = max(0.5, *finite, 0.0) + 0.05
    return [min(-0.5, used - 0.05) if np.isfinite(used) else -0.5, high]


def _runs(dataset: Dataset, worth: AlarmValue) -> NDArray[np.int64]:
    """The run that each scored row belongs to."""
    recipe = worth.recipe
    idle = not_running(dataset, recipe.grid, recipe.operating_rule(dataset.sensors))
    return run_numbers(dataset, row_steps(dataset, recipe.grid), recipe.grid.max_gap_steps, idle)[worth.scored.rows]


def _saving(worth: AlarmValue, run: NDArray[np.int64], above: NDArray[np.bool_]) -> float:
    recipe = worth.recipe
    alarms = episodes(worth.steps, above, run, recipe.episode)
    priced = event_cost(alarms, worth.event_steps, recipe.lead, recipe.costs)
    return 1 - priced.cost / priced.never_cost if priced.never_cost > 0 else float("nan")


def lead_times(worth: AlarmValue) -> go.Figure:
    """Minutes from the end of the step that raised the alarm to the event."""
    match = worth.priced.match
    steps, caught = np.unique(match.lead_steps[match.caught], return_counts=True)
    figure = new_figure("minutes ahead", "caught events")
    minutes = ["{:g} to {:g}".format(*warning_minutes(s, worth.recipe.grid.step_seconds)) for s in steps.tolist()]
    figure.add_bar(x=minutes, y=caught, width=0.4, marker_color=NORMAL)
    figure.update_xaxes(type="category")
    figure.update_yaxes(rangemode="tozero", tickformat="d")
    return figure


def events(dataset: Dataset, worth: AlarmValue) -> go.Figure:
    """A small panel for each event: the level relative to the threshold on the steps before it."""
    total = max(len(worth.event_steps), 1)
    rows = -(-total // COLUMNS)
    titles = []
    for index, moment in enumerate(iso_times(dataset.times[worth.event_rows])):
        caught = worth.priced.match.caught[index]
        titles.append(f"{moment[5:16].replace('T', ' ')}{' caught' if caught else ''}")
    figure = make_subplots(rows=rows, cols=COLUMNS, subplot_titles=titles, shared_yaxes=False)
    for index, step in enumerate(worth.event_steps.tolist()):
        before = (worth.steps >= step - STEPS_BEFORE) & (worth.steps < step)
        place = {"row": index // COLUMNS + 1, "col": index % COLUMNS + 1}
        ahead = (worth.steps[before] - step) * worth.recipe.grid.step_seconds / 60
        relative = worth.scored.level[before] / worth.scored.threshold[before]
        _, sensors = top_before(dataset, worth, index)
        figure.add_scatter(
            x=ahead, y=relative, line_color=NORMAL, mode="lines+markers", marker_size=3, showlegend=False,
            hovertext=", ".join(sensors), **place,
        )  # fmt: skip
        alarmed = relative > 1
        figure.add_scatter(
            x=ahead[alarmed], y=relative[alarmed], mode="markers", marker_color=ANOMALOUS, showlegend=False, **place
        )
        figure.add_hline(y=1, line_dash="dot", line_color=THRESHOLD, **place)
    figure.update_layout(template="plotly_white", height=130 * rows + 80, margin={"t": 40, "b": 30})
    figure.update_annotations(font_size=10)
    return figure


def top_before(dataset: Dataset, worth: AlarmValue, event: int) -> tuple[float | None, list[str]]:
    """The highest level in the lead window of an event, and the sensors that added most to it, with their shares."""
    step, lead = int(worth.event_steps[event]), worth.recipe.lead
    inside = np.flatnonzero((worth.steps >= step - lead.until_steps) & (worth.steps <= step - lead.from_steps))
    if not len(inside):
        return None, []
    highest = inside[int(np.argmax(worth.scored.level[inside]))]
    parts = shares(worth.scored.attribution[highest].astype(np.float64))
    named = [f"{dataset.sensors[sensor]} {parts[sensor]:.0%}" for sensor in top(parts)]
    return float(worth.scored.level[highest]), named


def _dates(worth: AlarmValue) -> list[str]:
    return [record["day"] for record in worth.per_day()]
