"""`stream-detector demo`: a plant being watched, from nothing, in about two minutes."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    bundle: Annotated[
        Path | None, typer.Option(help="Watch with this bundle; otherwise one is fitted first, in under a minute.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Replay this file of your own plant (with --bundle) instead of the simulated one."),
    ] = None,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A real broker instead of the embedded one.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a screen; so too where no terminal is.")
    ] = False,
    days: Annotated[float, typer.Option(min=0.2, help="Days to replay.")] = 4.0,
    past_days: Annotated[float, typer.Option(min=5.0, help="Days before them, to fit on.")] = 24.0,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long the replay takes.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another machine.")] = 7,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep bundle, report, data and the worker's log there.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result, machine-readable.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Save the screen as a picture, late in the replay.")
    ] = None,
) -> None:
    """Watch a plant: simulate a paper machine, fit a detector on its past, stream the days after through a worker.

    Broker, plant and worker are real processes speaking Kafka; the screen shows the alarms and what they save.
    """
    import sys
    import tempfile

    from stream_detector.demo.run import Demo
    from stream_detector.errors import UsageError

    if data is not None and bundle is None:
        raise UsageError("--data needs --bundle: fit one with `trainer fit --recipe FILE.toml --data FILE --out DIR`")
    plain = plain or not sys.stdout.isatty()
    with tempfile.TemporaryDirectory(prefix="stream-detector-demo-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        Demo(
            folder.resolve(),
            keep is not None,
            bundle,
            data,
            kafka,
            plain,
            days,
            past_days,
            seconds,
            seed,
            json,
            picture,
        ).run()
