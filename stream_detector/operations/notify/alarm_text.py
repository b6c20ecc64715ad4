"""An alarm in words, for a terminal."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stream_detector.messages import Alarm, TopSensor, from_iso
from stream_detector.names import printable

if TYPE_CHECKING:
    from rich.text import Text


def moment(iso: str, date: bool = False) -> str:
    """`08:02`, or `2026-05-01 08:02` with the date; with seconds where they are not 0. UTC."""
    time = datetime.fromtimestamp(from_iso(iso), UTC)
    clock = "%H:%M" if time.second == 0 else "%H:%M:%S"
    return time.strftime(f"%Y-%m-%d {clock}" if date else clock)


def span(seconds: float) -> str:
    """A duration in the largest unit that fits.

    >>> span(45), span(240), span(5400), span(180000)
    ('45 s', '4 min', '1.5 h', '2.1 d')
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:g} s"


def sensors_in_words(top: list[TopSensor], most: int = 3) -> str:
    """`press_draw 41 %, felt_vacuum 22 %`: whose readings the alarm is about, and how much of it each explains."""
    return ", ".join(f"{printable(sensor.sensor)} {100 * sensor.share:.0f} %" for sensor in top[:most])


def strength(alarm: Alarm) -> str:
    """`P 12.3 % > 5.0 %` where the alarm has a probability, else `score 3.21 > 1.10`."""
    if alarm.probability is not None:
        return f"P {alarm.probability:.1%} > {alarm.threshold:.1%}".replace("%", " %")
    return f"score {alarm.score:.3g} > {alarm.threshold:.3g}"


def alarm_line(alarm: Alarm) -> "Text":
    """One line: when (UTC, as its Z says), which machine, when to expect what, how sure, because of what."""
    from rich.text import Text

    line = Text()
    if alarm.state == "raised":
        line.append(f"{moment(alarm.raised_at, date=True)}Z", style="bold")
        line.append("  RAISED   ", style="bold red")
        if alarm.held_back:
            line.append("held back  ", style="dim")
        if alarm.provisional:
            line.append("provisional  ", style="dim")
        line.append(printable(alarm.asset), style="bold")
        when = f"expect it {moment(alarm.expected_from)}Z to {moment(alarm.expected_until)}Z"
        line.append(f"  {'anomalous now' if alarm.marks == 'states' else when}  ")
        line.append(strength(alarm), style="yellow")
        line.append(f"  {sensors_in_words(alarm.top_sensors)}")
    else:
        cleared_at = alarm.cleared_at or alarm.raised_at
        line.append(f"{moment(cleared_at, date=True)}Z", style="bold")
        line.append("  cleared  ", style="green")
        line.append(printable(alarm.asset), style="bold")
        line.append(f"  up for {span(from_iso(cleared_at) - from_iso(alarm.raised_at))}", style="dim")
    return line
