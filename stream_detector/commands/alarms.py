"""`stream-detector alarms`: follow the alarms in the terminal."""

import sys
import time
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
    from rich.console import Console

    from stream_detector.messages import Alarm
    from stream_detector.operations.notify.alarm_text import alarm_line
    from stream_detector.operations.record_guard import RecordGuard, read_message
    from stream_detector.settings import Settings
    from stream_detector.streaming.readers.follower import Follower

    settings = Settings.load(bootstrap=bootstrap)
    follower = Follower(settings, [settings.topic_alarms], from_beginning)
    if follower.missing:
        print(f"note: waiting for the topic {settings.topic_alarms}", file=sys.stderr)
    console = Console(highlight=False, soft_wrap=True)
    guard, seen = RecordGuard(say=lambda text: print(f"note: {text}", file=sys.stderr)), dict[bytes, None]()
    last = time.monotonic()
    try:
        while until_idle is None or time.monotonic() - last < until_idle:
            for record in follower.poll(0.2):
                last = time.monotonic()
                if record.value in seen:
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
    except KeyboardInterrupt:
        pass  # how one ends following
    finally:
        follower.close()


def remember(seen: dict[bytes, None], value: bytes, most: int = 100_000) -> None:
    """Keep the newest values; a repeat comes soon after the first or never."""
    seen[value] = None
    if len(seen) > most:
        del seen[next(iter(seen))]
