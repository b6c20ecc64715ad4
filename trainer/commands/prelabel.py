"""`trainer prelabel`: first labels for a file that has none."""

from pathlib import Path
from typing import Annotated

import typer

from trainer.data_options import TimeColumn, TimeFormat, override


def command(
    data: Annotated[Path, typer.Option(help="File to label (CSV, Parquet, Excel), a folder, or a name with *.")],
    out: Annotated[Path, typer.Option(help="The file with a column `label` (1 = marked): .csv, .csv.gz or .parquet.")],
    recipe: Annotated[
        str, typer.Option(help="Recipe that says how the file is to be read, with a section `data.prelabel`.")
    ] = "prelabel",
    contamination: Annotated[
        list[float] | None, typer.Option(help="Share of rows to mark; may be repeated. Default: the recipe's sweep.")
    ] = None,
    anomalies: Annotated[
        Path | None, typer.Option(help="Also write the marked rows as JSON: row number, time, score.")
    ] = None,
    time_column: TimeColumn = None,
    time_format: TimeFormat = None,
) -> None:
    """Mark the rows of a file that an isolation forest isolates most easily, and show what each share would mark.

    `trainer fit --recipe prelabel` does this by itself; here the labels can be looked at and corrected first.
    """
    import numpy as np
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from stream_detector.errors import UsageError
    from trainer.data.dataset import read_dataset
    from trainer.data.prelabel import prelabel, write_anomaly_index
    from trainer.evaluation.score import write_table
    from trainer.recipe import PrelabelConfig, load_recipe

    config = override(load_recipe(recipe).data, time_column, time_format)
    sweep_config = config.prelabel or PrelabelConfig()
    if contamination:
        if not all(0 < share < 0.5 for share in contamination):
            raise UsageError(f"--contamination must lie between 0 and 0.5, found {contamination}")
        sweep_config = sweep_config.model_copy(update={"contaminations": tuple(contamination)})
    dataset = read_dataset(data, config.model_copy(update={"label_column": None, "prelabel": None}))
    sweep = prelabel(dataset.values, sweep_config)
    table = Table("contamination", "stretches", "contrast", "", box=None, pad_edge=False)
    for index, share in enumerate(sweep.contaminations):
        chosen = "chosen" if index == sweep.chosen else ""
        table.add_row(f"{share:g}", str(sweep.stretches[index]), f"{sweep.contrast[index]:.4f}", chosen)
    Console().print(table)
    columns = {"time": pd.to_datetime(dataset.times, unit="s", utc=True)} if config.time_column else {}
    columns |= dict(zip(dataset.sensors, dataset.values.T, strict=True))
    write_table(pd.DataFrame(columns | {"label": sweep.labels.astype(int)}), out)
    marked = np.flatnonzero(sweep.labels)
    if anomalies is not None:
        share = sweep.contaminations[sweep.chosen]
        write_anomaly_index(anomalies, dataset.times, marked, sweep.scores[marked], file=data.name, contamination=share)
    typer.echo(f"{out}: {len(marked):,} of {len(dataset):,} rows marked")
