"""`stream-detector replay`: a historian's file into the topic of readings."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from stream_detector.choices import choice

Form = Literal["readings", "rows"]

FILE = "The file"
TROUBLE = "Trouble on purpose"


def command(
    data: Annotated[Path, typer.Option(help="Historian's file (CSV, Parquet, Excel), a folder, or a name with *.")],
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka brokers, HOST:PORT.", show_default="$STREAM_DETECTOR_BOOTSTRAP")
    ] = None,
    form: Annotated[Form, choice("--as", get_args(Form), "One message a sensor, or one a row.")] = "readings",
    speed: Annotated[str, typer.Option(help="Times real time, e.g. 720 = a day in two minutes; or max.")] = "max",
    asset: Annotated[
        str | None,
        typer.Option(
            help="The machine's name: the Kafka key; of a file of several, the one to send.", show_default="machine-1"
        ),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Topic of the readings.", show_default="plant.readings")] = None,
    event: Annotated[str, typer.Option(help="What the event of a labelled row is called.")] = "break",
    no_events: Annotated[bool, typer.Option("--no-events", help="Send no event for labelled rows.")] = False,
    bundle: Annotated[
        Path | None, typer.Option(help="Send this bundle's sensors and read the file as its recipe does.")
    ] = None,
    time_column: Annotated[
        str | None, typer.Option(rich_help_panel=FILE, help="Column of the times.", show_default="time")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(rich_help_panel=FILE, help="1 = an event.", show_default="y, label, event, anomaly")
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(rich_help_panel=FILE, help="E.g. '%d.%m.%Y %H:%M'.", show_default="ISO 8601, or found out"),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(rich_help_panel=FILE, help="Between columns.", show_default="found out")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(rich_help_panel=FILE, help="Decimal mark.", show_default="found out")
    ] = None,
    asset_column: Annotated[
        str | None,
        typer.Option(rich_help_panel=FILE, help="Column of the machines' names.", show_default="one machine"),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(rich_help_panel=FILE, help="Column to leave out; repeat it.")
    ] = None,
    from_time: Annotated[
        str | None, typer.Option("--from", rich_help_panel=FILE, help="First time to send, ISO 8601.")
    ] = None,
    until_time: Annotated[
        str | None, typer.Option("--until", rich_help_panel=FILE, help="Time before which to stop.")
    ] = None,
    shuffle_seconds: Annotated[
        float,
        typer.Option(min=0, rich_help_panel=TROUBLE, help="Delay readings at random, by up to this (event time)."),
    ] = 0.0,
    repeat_share: Annotated[
        float, typer.Option(min=0, max=1, rich_help_panel=TROUBLE, help="Send this share of the messages twice.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=TROUBLE, help="Of the trouble.")] = 0,
) -> None:
    """Send a historian's file to the topic of readings, as the plant would have.

    A labelled row sends an event before its readings, there and to the topic of events. With a --bundle whose labels
    mark states instead of events, only the beginning of a state is sent, and only to the topic of events, for a state
    ends no window. Readings of several machines in one file, or in one folder each, are sent under the machines' names.
    Times without a zone are UTC.
    """
    from stream_detector.errors import DataError
    from stream_detector.historian import Layout, read_history
    from stream_detector.settings import Settings
    from stream_detector.streaming.clients.librdkafka import producer
    from stream_detector.streaming.sources.replay import Disorder, Replay, layout_of_bundle, need_topics
    from stream_detector.time_options import parse_moment

    faster = speed_from(speed)
    from_seconds = None if from_time is None else parse_moment(from_time, "--from")
    until_seconds = None if until_time is None else parse_moment(until_time, "--until")
    wanted = Layout(
        time_column=time_column,
        label_column=label_column,
        time_format=time_format,
        ignore=tuple(ignore or ()),
        separator=separator,
        decimal=decimal,
        asset_column=asset_column,
    )
    states = False
    if bundle is not None:
        wanted, states = layout_of_bundle(bundle, wanted)
    settings = Settings.load(bootstrap=bootstrap, topic_readings=topic)
    history = read_history(data, wanted).between(from_seconds, until_seconds)
    if asset is not None and history.assets:
        history = history.of_asset(asset)
    if not len(history):
        raise DataError(f"{data} has no row between --from and --until")
    client = producer(settings)
    need_topics(client, settings)
    with row_bar(len(history)) as progress:
        replay = Replay(
            history,
            client,
            asset or "machine-1",
            settings.topic_readings,
            settings.topic_events,
            form=form,
            event=None if no_events else event,
            labels_are_states=states,
            speed=faster,
            disorder=Disorder(shuffle_seconds, repeat_share, seed),
            progress=lambda sent: progress(sent.rows),
        )
        started = time.monotonic()
        try:
            replay.run()
        except KeyboardInterrupt:
            replay.flush(10)
        took = time.monotonic() - started
    sent = replay.sent
    name = asset or (f"{len(history.assets)} assets" if history.assets else "machine-1")
    print(
        f"sent {sent.rows:,} rows = {sent.readings:,} readings and {sent.events:,} events of {name} "
        f"to {settings.topic_readings} in {took:.1f} s ({sent.readings / max(took, 1e-9):,.0f} readings/s)"
    )
    if history.times.max() > time.time():
        print(
            "note: the file goes on into the future; the detector refuses readings that are too far ahead of the clock",
            file=sys.stderr,
        )


def speed_from(text: str) -> float | None:
    """None for `max`, else a number above 0.

    Raises:
        UsageError: it is neither.
    """
    from stream_detector.errors import UsageError

    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UsageError(
            f"--speed is {text!r}; give a number above 0 (1 = real time, 720 = a day in two minutes) or max"
        )
    return speed


@contextmanager
def row_bar(rows: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's standard error, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("rows", total=rows)
        yield lambda done: bar.update(task, completed=done)
