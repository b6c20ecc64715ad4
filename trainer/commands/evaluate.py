"""`trainer evaluate`: are the alarms right, and do they pay?"""

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from stream_detector.choices import choice
from trainer.data_options import AssetColumn, Calendar, LabelColumn, LabelsAre, TimeColumn, TimeFormat, override

Rows = Literal["auto", "all", "test"]


def command(
    bundle: Annotated[Path, typer.Option(help="Folder that `trainer fit` wrote.")],
    data: Annotated[Path, typer.Option(help="Labelled file (CSV, Parquet, Excel), a folder, or a name with *.")],
    json: Annotated[Path | None, typer.Option(help="Write the numbers, machine-readable.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    rows: Annotated[
        Rows,
        choice(
            "--rows",
            get_args(Rows),
            "Which rows to judge. test: those of the file the bundle was fitted on that nothing was chosen on; "
            "auto: these if it is that file, else all.",
        ),
    ] = "auto",
    time_column: TimeColumn = None,
    time_format: TimeFormat = None,
    label_column: LabelColumn = None,
    labels_are: LabelsAre = None,
    asset_column: AssetColumn = None,
    calendar: Calendar = None,
) -> None:
    """Judge a bundle on a labelled file: both kinds of error, the cost against never alarming, and what that means.

    frr is the false-alarm rate (normal rows in alarm), far the missed rate (rows that call for an alarm and get none).
    """
    from stream_detector.bundle.bundle import load_bundle
    from trainer.data.dataset import read_dataset
    from trainer.data.examples import not_running
    from trainer.data.planned import leave_out_planned, rows_planned
    from trainer.evaluation.evaluate import evaluate_rows, in_words
    from trainer.evaluation.score import bundle_data, judged_rows
    from trainer.evaluation.scored import score_dataset
    from trainer.output import error_console, write_bytes, write_json
    from trainer.reports.fit_report import evaluation_report

    loaded = load_bundle(bundle)
    source = override(bundle_data(loaded.manifest), time_column, time_format, label_column, labels_are, asset_column)
    with error_console().status(f"scoring {data}"):
        whole = read_dataset(data, source, loaded.manifest.sensors)
        dataset, _ = leave_out_planned(whole, source, calendar)
        scored = score_dataset(loaded, dataset)
    which, chosen = judged_rows(loaded.manifest, dataset, rows)
    scored = scored.take(chosen[scored.rows])
    idle = not_running(dataset, loaded.manifest.grid, loaded.manifest.operating_rule)
    evaluation = evaluate_rows(scored, loaded.manifest, int(idle[chosen].sum()))
    typer.echo(f"{data}: {which}")
    for note in rows_planned(whole, dataset):
        typer.echo(note)
    for line in in_words(evaluation):
        typer.echo(line)
    if json is not None:
        write_json(json, evaluation.as_json())
    if report is not None:
        write_bytes(report, evaluation_report(loaded, dataset, scored, evaluation, which).encode())
        typer.echo(f"report: {report}")
