"""The HTML report of a backtest: one self-contained file."""

from html import escape
from typing import TYPE_CHECKING, Any

from stream_detector.detection.event_cost import warning_minutes
from trainer.backtesting.alarm_value import AlarmValue
from trainer.backtesting.verdict import difference_in_words, in_words
from trainer.data.dataset import Dataset
from trainer.evaluation.score import iso_times
from trainer.reports.fit_report import STYLE

if TYPE_CHECKING:
    import plotly.graph_objects as go


def backtest_report(
    dataset: Dataset,
    worths: list[AlarmValue],
    differences: list[dict[str, Any]],
    stressed: dict[str, list[AlarmValue]],
    retrain: str,
) -> str:
    """What every recipe's alarms were worth, day by day and event by event."""
    from plotly.offline import get_plotlyjs

    from trainer.reports import backtest_figures as figures
    from trainer.reports.curve_figures import reliability

    body = [_comparison(worths, differences, stressed)]
    for worth in worths:
        verdict = "".join(f"<p>{escape(line)}</p>" for line in in_words(worth))
        body.append(f'<h2>{escape(worth.recipe.name)}</h2><div class="verdict">{verdict}</div>')
        body.append(_section("Cost so far", "", figures.cumulative_cost(worth)))
        body.append(_section("Saving by day", "", figures.saving_by_day(worth)))
        if worth.scored.probability is not None:
            text = "How often an event followed, against what was said; bars are 90 % intervals (Wilson 1927)."
            body.append(_section("Reliability", text, reliability(worth.scored.level, worth.positive)))
        text = "The threshold was not chosen here; the curve shows what another one would have brought afterwards."
        body.append(_section("Saving against threshold", text, figures.cost_curve(dataset, worth)))
        text = "From the end of the step that raised the alarm to the event, which lies somewhere in its own step."
        body.append(_section("Lead time of the caught events", text, figures.lead_times(worth)))
        body.append(_warning_table(worth))
        text = "Every event with the levels before it, its alarms, and the sensors that spoke loudest."
        body.append(_section("Events", text, figures.events(dataset, worth)))
        body.append(_event_table(dataset, worth))
    title = f"Backtest on {dataset.name}"
    recipe = worths[0].recipe
    about = (
        f"{len(dataset):,} rows, {int(dataset.events.sum())} events in all · fitted every {retrain} on the past alone "
        f"· seed {recipe.train.seed} · every miss {recipe.costs.fn:g}, every alarm "
        f"{recipe.costs.fp:g}, up for at most {recipe.episode.max_steps} steps and then paid for again"
        + (f" after a rest of {recipe.episode.rest_steps}" if recipe.episode.rest_steps else "")
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body><h1>{escape(title)}</h1>"
        f'<p class="muted">{escape(about)}</p>{"".join(body)}</body></html>\n'
    )


def _section(heading: str, text: str, figure: "go.Figure") -> str:
    from plotly.io import to_html

    drawn = to_html(figure, include_plotlyjs=False, full_html=False, config={"displaylogo": False, "responsive": True})
    return f"<h3>{escape(heading)}</h3>{f'<p>{escape(text)}</p>' if text else ''}{drawn}"


def _comparison(
    worths: list[AlarmValue], differences: list[dict[str, Any]], stressed: dict[str, list[AlarmValue]]
) -> str:
    head = (
        "<tr><th>recipe</th><th>protocol</th><th>saving</th><th>90 % interval</th><th>caught</th><th>alarms</th></tr>"
    )
    rows = [_row(worth, "as it was") for worth in worths]
    rows += [_row(worth, name) for name, others in stressed.items() for worth in others]
    paired = "".join(f"<p>{escape(difference_in_words(each))}</p>" for each in differences)
    return f"<table>{head}{''.join(rows)}</table>{paired}"


def _row(worth: AlarmValue, protocol: str) -> str:
    low, high = worth.interval.low, worth.interval.high
    cells = (
        worth.recipe.name,
        protocol,
        _percent(worth.saving),
        f"{_percent(low)} to {_percent(high)}",
        f"{int(worth.priced.match.caught.sum())} of {len(worth.event_steps)}",
        str(len(worth.alarms)),
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _warning_table(worth: AlarmValue) -> str:
    rows = ["<tr><th>least warning</th><th>minutes</th><th>caught</th><th>saving</th></tr>"]
    for found in worth.by_least_warning():
        minutes = "{:g} to {:g}".format(*found["minutes"])
        cells = (f"{found['steps']} steps", minutes, str(found["caught"]), _percent(found["saving"]))
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _event_table(dataset: Dataset, worth: AlarmValue) -> str:
    from trainer.reports.backtest_figures import top_before

    head = "<tr><th>event</th><th>caught</th><th>minutes ahead</th><th>highest level</th><th>sensors</th></tr>"
    rows = []
    for index, when in enumerate(_times(dataset, worth)):
        lead = int(worth.priced.match.lead_steps[index])
        level, sensors = top_before(dataset, worth, index)
        cells = (
            when,
            "no" if lead < 0 else "yes",
            "" if lead < 0 else "{:g} to {:g}".format(*warning_minutes(lead, worth.recipe.grid.step_seconds)),
            "no scored row" if level is None else f"{level:.4g}",
            ", ".join(sensors),
        )
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return f"<table>{head}{''.join(rows)}</table>"


def _times(dataset: Dataset, worth: AlarmValue) -> list[str]:
    return iso_times(dataset.times[worth.event_rows])


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1%}"
