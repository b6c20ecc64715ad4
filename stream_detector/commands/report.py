"""`stream-detector report`: one page for the plant's manager."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, HOST:PORT, separated by commas.")] = None,
    since: Annotated[str, typer.Option(help="How far back, e.g. 7d, or from this event time on, ISO 8601.")] = "7d",
    until: Annotated[str | None, typer.Option(help="Up to this event time, not including it.")] = None,
    asset: Annotated[str | None, typer.Option(help="This asset only.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="Count only events of this name; may be repeated.")] = None,
    registry: Annotated[
        Path | None,
        typer.Option(help="Registry of bundles, which says how old one is.", show_default="$STREAM_DETECTOR_REGISTRY"),
    ] = None,
) -> None:
    """Write what the alarms saved and missed, which sensors spoke, how fresh the model is, and what to do next.

    A length such as 7d reaches back from now, or from the newest alarm or event where that is older: a replay of old
    data is as good as new.
    """
    import asyncio
    import re
    import sys
    import time

    from stream_detector.errors import UsageError
    from stream_detector.operations.downtime.calendar_file import read_calendar
    from stream_detector.operations.ledger.ledger import Ledger
    from stream_detector.operations.ledger.report import report
    from stream_detector.operations.plant_report.page import render
    from stream_detector.operations.plant_report.plant_report import plant_report
    from stream_detector.operations.record_guard import RecordGuard
    from stream_detector.settings import Settings
    from stream_detector.streaming.feeds.ledger_feed import read_ledger
    from stream_detector.streaming.feeds.report_feed import ReportFeed
    from stream_detector.streaming.feeds.standstills import leave_out_standing
    from stream_detector.time_options import parse_duration, parse_moment

    length = re.fullmatch(r"[0-9.]+[smhd]", since) and parse_duration(since, "--since")
    begin = None if length else parse_moment(since, "--since")
    end = None if until is None else parse_moment(until, "--until")
    settings = Settings.load(bootstrap=bootstrap, registry=registry)
    planner = None if settings.calendar_file is None else read_calendar(settings.calendar_file)
    feed = ReportFeed(
        Ledger(event_names=event or None, planner=planner),
        settings,
        RecordGuard(say=lambda text: print(f"note: {text}", file=sys.stderr)),
    )
    asyncio.run(read_ledger(feed))
    leave_out_standing(feed, settings)
    if asset is not None and asset not in feed.ledger.assets:
        raise UsageError(f"--asset {asset}: the topics hold nothing of it")
    newest = feed.ledger.newest
    if end is None:
        # To the end of the second, for the newest entry itself belongs to it.
        end = min(time.time(), newest + 1.0) if newest > 0 else time.time()
    begin = end - float(length or 0) if begin is None else begin
    if begin >= end:
        raise UsageError(f"--since {since} is not before the end of the report")
    alarms = [alarm for alarm in feed.alarms if asset in (None, alarm.asset)]
    compared = feed.challengers.compare(until=end, asset=asset)
    if compared is not None and compared.since < begin:
        compared = feed.challengers.compare(begin, end, asset)
    found = plant_report(
        settings.site,
        begin,
        end,
        report(feed.ledger, begin, end, asset),
        alarms,
        compared,
        feed.decisions,
        trained_until(settings.registry, [alarm.bundle for alarm in alarms]),
    )
    try:
        out.write_text(render(found), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}") from None
    total = found.ledger.total
    print(f"{out}: {total.caught} of {total.events} events announced, saved {total.saved:,.0f}")


def trained_until(registry: Path | None, bundles: list[str]) -> float | None:
    """End of the training data (epoch seconds) of the bundle of the last alarm; None where no registry has it."""
    from stream_detector.bundle import files
    from stream_detector.bundle.manifest import parse
    from stream_detector.bundle.registry import Registry

    if registry is None or not bundles:
        return None
    found = Registry(registry)
    if bundles[-1] not in found.ids():
        return None
    return parse(files.read_file(found.folder_of(bundles[-1]), files.MANIFEST)).training.until_time
