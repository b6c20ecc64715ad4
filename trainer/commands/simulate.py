"""`trainer simulate`: a simulated paper machine's history, for trying everything without data of one's own."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help="File to write: .csv, .csv.gz or .parquet.")],
    days: Annotated[float, typer.Option(help="Length of the history.")] = 28.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another machine; the same one the same file.")] = 7,
    step_seconds: Annotated[float, typer.Option(help="Time between two rows.")] = 120.0,
    start: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Time of the first row, UTC.")
    ] = datetime(2026, 1, 5),  # noqa: DTZ001 - typer parses times without a zone; UTC is added below
    standstills: Annotated[
        bool,
        typer.Option(
            "--standstills",
            help="Some nights the machine stands still, and while it is down its sensors go on reporting.",
        ),
    ] = False,
    change_day: Annotated[
        float | None,
        typer.Option(
            min=0, help="Days after the start the machine changes: a new grade, other sensors, other signs of a break."
        ),
    ] = None,
    machines: Annotated[
        int, typer.Option(min=1, help="So many of a kind, each with levels and gains of its own; a column `asset`.")
    ] = 1,
) -> None:
    """Simulate a paper machine: sensors that drift, grades, gaps, dead sensors, and breaks with and without precursors.

    The file is wide: a `time` column, a label column `y` (1 in the row of a break) and one column a sensor. The recipe
    `simulated` reads it as it is.
    """
    from trainer.data.simulate import LABEL_COLUMN, Simulation, simulate, write

    begin = start.replace(tzinfo=UTC)
    table = simulate(
        Simulation(
            days=days,
            seed=seed,
            step_seconds=step_seconds,
            start=begin,
            standstills=standstills,
            change_day=change_day,
            machines=machines,
        )
    )
    write(table, out)
    sensors = table.shape[1] - (2 if machines == 1 else 3)
    of_machines = "" if machines == 1 else f" of {machines} machines"
    print(f"{out}: {len(table):,} rows of {sensors} sensors{of_machines}, {int(table[LABEL_COLUMN].sum())} breaks")
