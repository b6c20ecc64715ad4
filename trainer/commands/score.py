"""`trainer score`: what the running detector would have said of a file."""

from pathlib import Path
from typing import Annotated

import typer

from trainer.data_options import AssetColumn, TimeColumn, TimeFormat, override


def command(
    bundle: Annotated[Path, typer.Option(help="Folder that `trainer fit` wrote.")],
    data: Annotated[Path, typer.Option(help="File to score (CSV, Parquet, Excel), a folder, or a name with *.")],
    out: Annotated[Path, typer.Option(help="File to write: .csv, .csv.gz or .parquet.")],
    errors: Annotated[
        bool, typer.Option("--errors", help="Add the error of every sensor: columns error:SENSOR.")
    ] = False,
    anomalies: Annotated[
        Path | None, typer.Option(help="Also write the rows above the threshold as JSON: row number, time, score.")
    ] = None,
    time_column: TimeColumn = None,
    time_format: TimeFormat = None,
    asset_column: AssetColumn = None,
) -> None:
    """Score a file: one line a scorable row with time, score, threshold and alarm (0 or 1).

    Of several assets each line names its own.

    Where the bundle is calibrated there is a column probability too, and the threshold is one of the probability.
    Rows without a full window behind them (after a gap or an event) have no line. Times are UTC.
    """
    from stream_detector.bundle.bundle import load_bundle
    from trainer.data.dataset import read_dataset
    from trainer.data.prelabel import write_anomaly_index
    from trainer.evaluation.score import bundle_data, score_table, write_table
    from trainer.evaluation.scored import score_dataset
    from trainer.output import error_console

    loaded = load_bundle(bundle)
    source = override(bundle_data(loaded.manifest), time_column, time_format, asset_column=asset_column)
    with error_console().status(f"scoring {data}"):
        dataset = read_dataset(data, source, loaded.manifest.sensors)
        scored = score_dataset(loaded, dataset)
    write_table(score_table(loaded.manifest, dataset, scored, with_errors=errors), out)
    if anomalies is not None:
        write_anomaly_index(
            anomalies,
            dataset.times,
            scored.rows[scored.above],
            scored.level[scored.above],
            file=data.name,
            bundle=loaded.manifest.bundle_id,
            threshold=loaded.manifest.alarm_threshold,
        )
    alarms = int(scored.above.sum())
    why = "" if len(scored) else f": the first score takes {loaded.manifest.window.shortest} rows without a gap"
    typer.echo(f"{out}: {len(scored):,} of {len(dataset):,} rows scored{why}, {alarms:,} above the threshold")
