"""The report as one HTML page that needs nothing else."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jinja2

from stream_detector.operations.plant_report.plant_report import MOST_EVENTS, PlantReport

BAR_SPACE, LEFT, HEIGHT = 860.0, 44.0, 160.0
MOST_BARS = 120
LABELS = 14


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of the chart; lengths in the units of its view box."""

    day: str
    saved: float
    caught: int
    events: int
    x: float
    y: float
    width: float
    height: float
    labelled: bool


def render(report: PlantReport) -> str:
    """The whole page; whatever was read from topics is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stream_detector.operations.plant_report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "amount": _amount, "percent": _percent}
    bars, zero, most = _bars(report)
    page = environment.get_template("page.html.j2")
    return page.render(report=report, bars=bars, zero=zero, most=most, width=LEFT + BAR_SPACE, most_events=MOST_EVENTS)


def _bars(report: PlantReport) -> tuple[list[Bar], float, float]:
    """Bars of all days between the first and the last one, the height of the zero line, and the largest amount."""
    tallies = report.ledger.by_day
    if not tallies:
        return [], 0.0, 0.0
    first, last = (datetime.fromisoformat(day) for day in (min(tallies), max(tallies)))
    days = [(first + timedelta(days=n)).date().isoformat() for n in range((last - first).days + 1)][-MOST_BARS:]
    saved = [tallies[day].saved if day in tallies else 0.0 for day in days]
    most, least = max(0.0, *saved), min(0.0, *saved)
    scale = HEIGHT / ((most - least) or 1.0)
    zero, step = 10.0 + most * scale, BAR_SPACE / len(days)
    every = -(-len(days) // LABELS)
    bars = [
        Bar(
            day=day,
            saved=amount,
            caught=tallies[day].caught if day in tallies else 0,
            events=tallies[day].events if day in tallies else 0,
            x=round(LEFT + place * step + 0.1 * step, 2),
            y=round(zero - max(0.0, amount) * scale, 2),
            width=round(min(0.8 * step, 60.0), 2),
            height=round(abs(amount) * scale, 2),
            labelled=place % every == 0,
        )
        for place, (day, amount) in enumerate(zip(days, saved, strict=True))
    ]
    return bars, round(zero, 2), most


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


def _amount(value: float) -> str:
    return f"{value:,.0f}"


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{part:.1%}"
