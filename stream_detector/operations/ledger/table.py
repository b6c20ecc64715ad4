"""The ledger on a terminal."""

import statistics
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream_detector.detection.block_bootstrap import why_no_interval
from stream_detector.messages import to_iso
from stream_detector.names import printable
from stream_detector.operations.ledger.challenger import Comparison
from stream_detector.operations.ledger.held_back import Prevented
from stream_detector.operations.ledger.report import LedgerReport, Tally

COLUMNS = ("events", "caught", "missed", "alarms", "false", "cost", "never", "saved", "saving")


def print_report(report: LedgerReport, console: Console | None = None) -> None:
    """Totals first, then by asset, bundle and day where there is more than one."""
    console = console or Console()
    total = report.total
    if not total.events and not total.alarms:
        console.print("no alarms and no events in this period")
        return
    # Ten columns in the 80 characters of a terminal.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    groups: list[Mapping[str, Tally]] = [report.by_asset, report.by_bundle, report.by_day]
    for group in groups:
        if len(group) > 1:
            for name, tally in group.items():
                table.add_row(Text(printable(name)), *_cells(tally))
            table.add_section()
    table.add_row("all", *_cells(total), style="bold")
    console.print(table)
    if total.saving_low is not None and total.saving_high is not None:
        console.print(f"saving: 90 % interval over days {total.saving_low:.1%} to {total.saving_high:.1%}")
    elif total.events:
        console.print(f"saving: {why_no_interval(total.events, total.caught)}")
    if warnings := report.warnings:
        middle = "{:g} to {:g} min".format(*warnings[(len(warnings) - 1) // 2])
        console.print(
            f"warning before caught events: median {middle}, {warnings[0][0]:g} to {warnings[-1][1]:g} in all"
        )
        parts = [
            f"{found['steps']} step{'s' if found['steps'] > 1 else ''} {found['saving']:.1%} ({found['caught']} caught)"
            for found in report.by_least_warning()
            if found["saving"] is not None
        ]
        if parts:
            console.print(f"saving by least warning: {', '.join(parts)}")
    if minutes := total.delay_minutes:
        middle = f"median {statistics.median(minutes):g} min"
        ahead = "; below 0: found before it began" if minutes[0] < 0 else ""
        console.print(f"delay of found states: {middle}, {minutes[0]:g} to {minutes[-1]:g} min{ahead}")
    for line in _acting(total, report.prevented):
        console.print(line)
    if total.open_alarms:
        console.print(f"alarms still up: {total.open_alarms} (paid for, not yet called false)")
    if total.judged_real or total.judged_false:
        console.print(f"judged by people: {total.judged_real} real, {total.judged_false} false alarms")


def _acting(total: Tally, found: Prevented | None) -> list[str]:
    """What the saving means where people act on alarms."""
    lines = []
    if total.saving is not None and total.alarms and not total.acted and found is None:
        lines.append("the saving is that if nobody had acted: events that acting prevented are in no log")
    if total.acted:
        lines.append(
            f"acted on: {total.acted} alarms, of which none counts as false; what they prevented is not in the saving"
        )
    if found is not None:
        of = "" if found.saving is None else f" ({_range(found.saving, found.saving_low, found.saving_high, '.1%')})"
        lines.append(
            f"held back: {found.held_back} alarms, {found.foreseen} of them before an event; so the other {found.told} "
            f"prevented {_range(found.events, found.events_low, found.events_high, '.1f')} events and saved "
            f"{_range(found.saved, found.saved_low, found.saved_high, ',.0f')}{of}, 90 % interval"
        )
    return lines


def _range(value: float, low: float | None, high: float | None, form: str) -> str:
    ends = "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{ends}"


def print_comparison(compared: Comparison, console: Console | None = None) -> None:
    """Both books over the same time, and the difference with its interval."""
    console = console or Console()
    console.print()
    console.print(Text(f"challenger {printable(compared.bundle)} against the champion, since {to_iso(compared.since)}"))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    by_asset = compared.by_asset()
    if len(by_asset) > 1:
        for asset, (champion, challenger, _) in by_asset.items():
            table.add_row(Text(printable(asset)), *_cells(champion))
            table.add_row("  challenger", *_cells(challenger))
        table.add_section()
    table.add_row("champion", *_cells(compared.champion))
    table.add_row("challenger", *_cells(compared.challenger), style="bold")
    console.print(table)
    difference = compared.difference
    if difference.saving is None:
        console.print("no event in this time: nothing can be said about which is better")
        return
    how = "more" if difference.saving >= 0 else "less"
    words = f"the challenger would have saved {abs(difference.saving):.1%} {how} ({difference.saved:+,.0f})"
    if difference.low is None or difference.high is None:
        events, caught = compared.champion.events, compared.champion.caught + compared.challenger.caught
        console.print(f"{words}; {why_no_interval(events, caught)}")
        return
    shown = "" if difference.low > 0 or difference.high < 0 else ": no difference is shown"
    console.print(f"{words}, paired 90 % interval over days {difference.low:+.1%} to {difference.high:+.1%}{shown}")


def _cells(tally: Tally) -> list[str]:
    saving = "" if tally.saving is None else f"{tally.saving:.1%}"
    counts = (tally.events, tally.caught, tally.missed, tally.alarms, tally.false_alarms)
    return [
        *map(str, counts),
        *(
            f"{amount:,.0f}" if amount == round(amount) else f"{amount:,.2f}"
            for amount in (tally.cost, tally.never_cost, tally.saved)
        ),
        saving,
    ]
