"""`stream-detector alarms`: follow the alarms in the terminal."""

import asyncio
import math
import sys
import time
from contextlib import suppress
from typing import Annotated

import typer


def command(
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka brokers, HOST:PORT.", show_default="$STREAM_DETECTOR_BOOTSTRAP")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One alarm a line, as it is in the topic.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also the alarms that are in the topic already.")
    ] = False,
    until_idle: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="End when nothing came for so long.")
    ] = None,
    asset: Annotated[str | None, typer.Option(help="This machine's only.")] = None,
) -> None:
    """Follow the alarms, raised and cleared, until Ctrl-C. A record that a worker sent twice is shown once."""
    with suppress(KeyboardInterrupt):  # how one ends following
        asyncio.run(_follow(bootstrap, json, from_beginning, until_idle, asset))


async def _follow(
    bootstrap: str | None, json: bool, from_beginning: bool, until_idle: float | None, asset: str | None
) -> None:
    from rich.console import Console

    from stream_detector.messages import Alarm
    from stream_detector.operations.notify.alarm_text import alarm_line
    from stream_detector.operations.record_guard import RecordGuard, read_message
    from stream_detector.settings import Settings
    from stream_detector.streaming.readers.topic_reader import TopicReader

    settings = Settings.load(bootstrap=bootstrap)
    console = Console(highlight=False, soft_wrap=True)
    guard, seen = RecordGuard(say=lambda text: print(f"note: {text}", file=sys.stderr)), dict[bytes, None]()
    async with TopicReader(settings, [settings.topic_alarms], None if from_beginning else math.inf) as reader:
        if reader.missing:
            print(f"note: waiting for the topic {settings.topic_alarms}", file=sys.stderr)
        last = time.monotonic()
        async for records in reader.follow(quiet_seconds=0.2):
            for record in records:
                last = time.monotonic()
                if record.value is None or record.value in seen:
                    continue
                remember(seen, record.value)
                with guard.skipping(record):
                    alarm = read_message(Alarm, record.value)
                    if asset is not None and alarm.asset != asset:
                        continue
                    if json:
                        print(record.value.decode(), flush=True)
                    else:
                        console.print(alarm_line(alarm))
            if until_idle is not None and time.monotonic() - last >= until_idle:
                return


def remember(seen: dict[bytes, None], value: bytes, most: int = 100_000) -> None:
    """Keep the newest values; a repeat comes soon after the first or never."""
    seen[value] = None
    if len(seen) > most:
        del seen[next(iter(seen))]
