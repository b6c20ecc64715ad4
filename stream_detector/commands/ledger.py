"""`stream-detector ledger`: what was caught, missed and saved."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, HOST:PORT, separated by commas.")] = None,
    since: Annotated[str | None, typer.Option(help="From this event time on, ISO 8601; a date alone is UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this event time, not including it.")] = None,
    asset: Annotated[str | None, typer.Option(help="This asset only.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="Count only events of this name; may be repeated.")] = None,
    calendar: Annotated[
        Path | None,
        typer.Option(help="Calendar of planned downtime, whose time does not count; default: the setting."),
    ] = None,
    with_planned: Annotated[
        bool, typer.Option("--with-planned", help="Count what happened in planned downtime all the same.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Says when the machine runs: events before which it stood do not count, by the readings that their "
            "topic still holds. Default: the setting.",
        ),
    ] = None,
    with_standing: Annotated[
        bool, typer.Option("--with-standing", help="Count events before which the machine did not run all the same.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON to this file; - = standard output.")
    ] = None,
) -> None:
    """Show which alarms caught which events, and what that saved; rebuilt from the topics each time."""
    import asyncio
    import sys

    import orjson

    from stream_detector.errors import UsageError
    from stream_detector.operations.downtime.calendar_file import read_calendar
    from stream_detector.operations.ledger.ledger import Ledger
    from stream_detector.operations.ledger.report import report
    from stream_detector.operations.ledger.table import print_comparison, print_report
    from stream_detector.operations.record_guard import RecordGuard
    from stream_detector.settings import Settings
    from stream_detector.streaming.feeds.ledger_feed import LedgerFeed, read_ledger
    from stream_detector.streaming.feeds.service_history import read_service
    from stream_detector.streaming.feeds.standstills import leave_out_standing
    from stream_detector.time_options import parse_moment

    since_seconds = None if since is None else parse_moment(since, "--since")
    until_seconds = None if until is None else parse_moment(until, "--until")
    if since_seconds is not None and until_seconds is not None and until_seconds <= since_seconds:
        raise UsageError(f"--until {until} is not after --since {since}")

    settings = Settings.load(bootstrap=bootstrap)
    file = None if with_planned else calendar or settings.calendar_file
    feed = LedgerFeed(
        Ledger(event_names=event or None, planner=None if file is None else read_calendar(file)),
        settings,
        RecordGuard(say=lambda text: print(f"note: {text}", file=sys.stderr)),
    )
    feed.judges_standing = with_standing
    missing = asyncio.run(read_ledger(feed))
    feed.ledger.service = asyncio.run(read_service(settings))
    for topic in missing:
        print(f"note: the topic {topic} does not exist; it is read as empty", file=sys.stderr)
    if feed.guard.skipped:
        print(f"note: {feed.guard.skipped} records could not be used; the first are named above", file=sys.stderr)
    if asset is not None and asset not in feed.ledger.assets:
        known = ", ".join(feed.ledger.assets[:10]) or "none"
        raise UsageError(f"--asset {asset}: the topics hold nothing of it; assets with alarms or events: {known}")

    if not with_standing:
        leave_out_standing(feed, settings, bundle)
    left_out = sum(feed.ledger.account(name).planned for name in feed.ledger.assets if asset in (None, name))
    if left_out:
        print(
            f"note: {left_out} alarms and events in planned downtime do not count ({file}; --with-planned counts them)",
            file=sys.stderr,
        )
    result = report(feed.ledger, since_seconds, until_seconds, asset, every_day=True)
    compared = feed.challengers.compare(since_seconds, until_seconds, asset)
    entries = result.to_json() | {"challenger": None if compared is None else compared.to_json()}
    content = orjson.dumps(entries, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if json is not None and str(json) == "-":
        sys.stdout.buffer.write(content)
        return
    if json is not None:
        try:
            json.write_bytes(content)
        except OSError as error:
            raise UsageError(f"--json {json} cannot be written: {error}") from None
    print_report(result)
    if compared is not None:
        print_comparison(compared)
