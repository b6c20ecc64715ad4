"""The demo's live screen: one rich renderable from a `Watch` and the state of the replay."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.layout import Layout
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream_detector.demo.watch import Point, SeenAlarm, Tally, Watch
from stream_detector.messages import from_iso
from stream_detector.operations.notify.alarm_text import moment, span

BLOCKS = " ▁▂▃▄▅▆▇█"
LOWEST, HIGHEST = 0.25, 16.0
"""Scores are drawn on a logarithmic scale, in multiples of the threshold."""

WIDE = 110
"""From this width on there is room for everything."""

VERDICTS = {
    "open": ("open", "bold yellow"),
    "waiting": ("waiting", "yellow"),
    "caught": ("right", "bold green"),
    "false": ("false", "red"),
}


@dataclass(frozen=True)
class Frame:
    """One picture of the demo. `speed`: times real time; `done`: share of the replay; `broker`: in words."""

    watch: Watch
    speed: float
    done: float
    broker: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = min(options.height or console.size.height, 40)
        wide = options.max_width >= WIDE
        layout = Layout()
        plot_height = max(8, min(14, height - 19))
        layout.split_column(
            Layout(self._header(wide), size=3),
            Layout(name="facts", size=7),
            Layout(_plot(self.watch, options.max_width - 4, plot_height - 3, self._steps_each()), size=plot_height),
            Layout(_alarms(self.watch, max(1, height - 3 - 7 - plot_height - 3), wide), name="alarms"),
        )
        layout["facts"].split_row(
            Layout(self._stream()), Layout(_worth(self.watch.tally())), Layout(_breaks(self.watch))
        )
        yield from layout.__rich_console__(console, options.update(height=height))

    def _steps_each(self) -> int:
        """Steps a column, chosen so that the curve moves by about four columns a second at any speed."""
        return max(1, round(self.speed / self.watch.step_seconds / 4))

    def _header(self, wide: bool) -> Panel:
        time = self.watch.time
        clock = "waiting for the first score" if time is None else f"{datetime.fromtimestamp(time, UTC):%a %d %b %H:%M}"
        row = Table.grid(expand=True)
        row.add_column()
        row.add_column(ratio=1)
        row.add_column(justify="right")
        bar = ProgressBar(total=1.0, completed=self.done, complete_style="cyan", finished_style="cyan")
        row.add_row(
            Text.assemble(
                ("Stream Detector ", "bold"), ("demo", "dim"), f"   {self.watch.asset}   ", (clock, "bold cyan")
            ),
            Padding(bar, (0, 1)),
            Text(
                f"{self.speed:,.0f} × real time · {self.broker} · Ctrl-C ends" if wide else "Ctrl-C ends", style="dim"
            ),
        )
        return Panel(row, border_style="cyan")

    def _stream(self) -> Panel:
        watch, newest = self.watch, self.watch.newest
        delay = watch.delay_seconds
        return _facts(
            "stream",
            {
                "readings/s": f"{watch.readings_per_second:,.0f}",
                "readings": f"{watch.readings:,}",
                "scored": f"{watch.scored:,} steps",
                "delay": "-" if delay is None else f"{delay * 1000:,.0f} ms",
                "dead": "-" if newest is None else f"{newest.degraded} sensor{'' if newest.degraded == 1 else 's'}",
            },
        )


def _facts(title: str, facts: dict[str, str | Text]) -> Panel:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, fact in facts.items():
        table.add_row(name, fact)
    return Panel(table, title=title, title_align="left", border_style="bright_black")


def _worth(tally: Tally) -> Panel:
    saved_style = "bold green" if tally.saved > 0 else "bold red"
    lead = "-" if tally.lead_seconds is None else f"{span(round(tally.lead_seconds / 60) * 60)} average"
    return _facts(
        "worth so far",
        {
            "saved": Text(f"{tally.saved:,.0f} ({tally.saved_share:.0%})", style=saved_style),
            "cost": f"{tally.cost:,.0f}, not {tally.never_cost:,.0f}",
            "caught": Text(f"{tally.caught} of {tally.caught + tally.missed} breaks", style="green"),
            "lead": lead,
            "false": Text(f"{tally.false_alarms} alarms", style="red" if tally.false_alarms else ""),
        },
    )


def _breaks(watch: Watch) -> Panel:
    lines = []
    for event in watch.events()[-5:][::-1]:
        line = Text(f"{datetime.fromtimestamp(event.time, UTC):%a %H:%M}  ")
        if event.pending:
            line.append("now", style="bold yellow")
        elif event.lead_seconds is None:
            line.append("missed", style="bold red")
        else:
            line.append(f"{span(event.lead_seconds)} ahead", style="bold green")
        lines.append(line)
    return Panel(
        Group(*lines) if lines else Text("none yet", style="dim"),
        title="breaks",
        title_align="left",
        border_style="bright_black",
    )


def _plot(watch: Watch, width: int, height: int, steps_each: int) -> Panel:
    body = curve(list(watch.points(width, steps_each)), width, height)
    hours = width * steps_each * watch.step_seconds / 3600
    title = Text.assemble(
        ("score against threshold", "bold"), f", {hours:.0f} h  ", ("█ alarm ", "red"), ("█ quiet ", "cyan"),
        ("─ threshold ", "yellow"), ("▼ break", "bold magenta"),
    )  # fmt: skip
    return Panel(body, title=title, title_align="left", border_style="bright_black")


def curve(points: list[Point], width: int, height: int) -> Group:
    """Columns of eighth blocks that cross the threshold's line exactly where a score does; above them the breaks."""
    points = [Point(None, False, False)] * (width - len(points)) + points[-width:] if width > 0 else []
    line = max(1, round(height * math.log(1 / LOWEST) / math.log(HIGHEST / LOWEST)))
    rows = [Text() for _ in range(height)]
    marks = Text()
    for point in points:
        marks.append("▼" if point.event else " ", style="bold magenta")
        eighths = _eighths(point.ratio, line, height)
        for row in range(height):
            filled = max(0, min(8, eighths - row * 8))
            if filled == 0 and row == line:
                rows[row].append("─", style="yellow")
            else:
                rows[row].append(BLOCKS[filled], style="red" if point.alarm else "cyan")
    return Group(marks, *rows[::-1])


def _eighths(ratio: float | None, line: int, height: int) -> int:
    """Height of a column in eighths of a row: 1 to 8 * line up to the threshold, more above it."""
    if ratio is None:
        return 0
    if ratio <= 1:
        share = math.log(max(ratio, LOWEST) / LOWEST) / math.log(1 / LOWEST)
        return max(1, round(share * 8 * line))
    share = math.log(min(ratio, HIGHEST)) / math.log(HIGHEST)
    return 8 * line + max(1, round(share * 8 * (height - line)))


def _alarms(watch: Watch, most: int, wide: bool) -> Panel:
    table = Table(expand=True, box=None, padding=(0, 1), header_style="dim", show_edge=False)
    table.add_column("raised", no_wrap=True)
    if wide:
        table.add_column("expected", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("lead", justify="right", no_wrap=True)
    table.add_column("because of", ratio=1, no_wrap=True, overflow="ellipsis")
    for seen in watch.alarms()[-most:][::-1]:
        table.add_row(*_alarm_cells(seen, wide))
    return Panel(table, title="alarms", title_align="left", border_style="bright_black")


def _alarm_cells(seen: SeenAlarm, wide: bool) -> list[Text]:
    alarm = seen.alarm
    text, style = VERDICTS[seen.verdict]
    strength = alarm.score if alarm.probability is None else alarm.probability
    sensors = Text()
    for top in alarm.top_sensors[:3]:
        sensors.append("▇" * max(1, round(top.share * 12)), style="blue")
        sensors.append(f" {top.sensor} {top.share:.0%}  ")
    return [
        Text(f"{datetime.fromtimestamp(from_iso(alarm.raised_at), UTC):%a %H:%M}", style="bold"),
        *([Text(f"{moment(alarm.expected_from)}-{moment(alarm.expected_until)}")] if wide else []),
        Text(f"{strength:.2f} > {alarm.threshold:.2f}", style="yellow"),
        Text(text, style=style),
        Text("" if seen.lead_seconds is None else span(seen.lead_seconds)),
        sensors,
    ]
