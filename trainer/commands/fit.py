"""`trainer fit`: a recipe and a file in, a bundle and a report out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_detector.errors import UsageError
from trainer.data_options import (
    AssetColumn,
    Calendar,
    LabelColumn,
    LabelsAre,
    MlflowOption,
    TimeColumn,
    TimeFormat,
    override,
)

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.recipe import DataConfig


def command(
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe (`trainer recipes`), or a file of your own: FILE.toml.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="History to learn from: a file (CSV, Parquet, Excel), a folder, or a name with *."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")] = Path("bundle"),
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's.")] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Choose the threshold on this file instead of a part of --data.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML report.", show_default="OUT.html")] = None,
    json: Annotated[Path | None, typer.Option(help="Write what was fitted and how it did, machine-readable.")] = None,
    from_kafka: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Learn from the topics of a running plant instead of a file."),
    ] = None,
    from_sql: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Learn from the rows of --query on this database: postgresql:// or influxdb://HOST/DATABASE.",
        ),
    ] = None,
    query: Annotated[str | None, typer.Option(help="With --from-sql: the query, e.g. 'SELECT * FROM plant'.")] = None,
    asset: Annotated[str | None, typer.Option(help="With --from-kafka: this machine.")] = None,
    since: Annotated[str | None, typer.Option(help="With --from-kafka: from this event time on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="With --from-kafka: up to this event time.")] = None,
    sign_with: Annotated[Path | None, typer.Option(help="Sign the bundle with this Ed25519 key (PEM).")] = None,
    mlflow: MlflowOption = None,
    time_column: TimeColumn = None,
    time_format: TimeFormat = None,
    label_column: LabelColumn = None,
    labels_are: LabelsAre = None,
    asset_column: AssetColumn = None,
    calendar: Calendar = None,
) -> None:
    """Fit a recipe: learn normal operation, choose the threshold on later data, judge on the newest, write a bundle.

    The report shows what was learnt and whether the alarms pay on the part that nothing was chosen on.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from trainer.data.dataset import read_dataset
    from trainer.data.planned import leave_out_planned, rows_planned
    from trainer.data.sql_dataset import read_sql_dataset
    from trainer.data.usage import usable, usage_in_words
    from trainer.evaluation.evaluate import in_words
    from trainer.fitting.fit import fit_recipe
    from trainer.fitting.progress import FitProgress
    from trainer.output import error_console, read_key, write_bytes, write_json
    from trainer.recipe import load_recipe
    from trainer.reports.fit_report import fit_report
    from trainer.reports.tracking import Tracker

    if sum(source is not None for source in (data, from_kafka, from_sql)) != 1:
        raise UsageError("name what to learn from: --data FILE, --from-kafka HOST:PORT, or --from-sql URL with --query")
    if (from_sql is None) != (query is None):
        raise UsageError("--from-sql and --query go together")
    loaded = load_recipe(recipe)
    source = override(loaded.data, time_column, time_format, label_column, labels_are, asset_column)
    training = loaded.train if seed is None else loaded.train.model_copy(update={"seed": seed})
    loaded = loaded.model_copy(update={"data": source, "train": training})
    private_key = None if sign_with is None else read_key(sign_with)
    tracker = None if mlflow is None else Tracker(mlflow, loaded.name)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeElapsedColumn())
    console = error_console()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("reading", total=loaded.train.epochs, loss="")
        if from_sql is not None and query is not None:
            dataset = read_sql_dataset(from_sql, query, loaded.data)
        elif data is None:
            dataset = _from_topics(loaded.data, from_kafka, asset, since, until)
        else:
            dataset = read_dataset(data, loaded.data)
        found = dataset.report.lines() if dataset.report.rows else []
        whole = dataset
        dataset, source = leave_out_planned(dataset, loaded.data, calendar, asset)
        loaded = loaded.model_copy(update={"data": source})
        left_out = rows_planned(whole, dataset)
        dataset, notes = usable(loaded, dataset)
        used = usage_in_words(loaded, len(whole), dataset)
        held_out = None if validation is None else read_dataset(validation, loaded.data, dataset.sensors)
        if held_out is not None:
            held_out, _ = leave_out_planned(held_out, loaded.data, calendar, asset)

        class Shown(FitProgress):
            def stage(self, name: str) -> None:
                progress.update(task, description=name)

            def epoch(self, done: int, training_loss: float, holdout_loss: float) -> None:
                losses = f"epoch {done}, loss {training_loss:.4g}, held out {holdout_loss:.4g}"
                progress.update(task, completed=done, loss=losses)

            def part(self, done: int, parts: int) -> None:
                progress.update(task, completed=done, total=parts, loss=f"{done} of {parts} fits")

        fitted = fit_recipe(loaded, dataset, out, held_out, private_key, Shown())
        progress.update(task, description="writing the report")
        report_path = report or out.with_name(out.name + ".html")
        write_bytes(report_path, fit_report(fitted).encode())
    manifest = fitted.bundle.manifest
    for line in found:
        typer.echo(f"read: {line}")
    typer.echo(f"used: {used}")
    typer.echo(f"{out}: bundle {manifest.bundle_id}, recipe {manifest.recipe}, {len(manifest.sensors)} sensors")
    epochs = f" in {manifest.training.epochs} epochs" if manifest.training.epochs else ""
    typer.echo(f"learnt from {manifest.training.windows:,} normal windows{epochs}; seed {manifest.training.seed}")
    if manifest.fleet is not None:
        few = sorted(set(fitted.dataset.assets) - set(manifest.fleet.assets))
        strangers = f"; too few windows of {', '.join(few)}, to be learnt on the stream" if few else ""
        typer.echo(f"fleet: a scale for each of {len(manifest.fleet.assets)} machines{strangers}")
        if manifest.own_thresholds:
            own = ", ".join(f"{name} {value:.6g}" for name, value in manifest.own_thresholds.items())
            typer.echo(f"fleet: a threshold of its own for {own}; for the others the common one")
    if fitted.not_running:
        typer.echo(f"not running in {fitted.not_running:,} rows ([operating]): not learnt from, not judged")
    typer.echo(f"threshold {manifest.threshold_in_words}")
    if len(fitted.test):
        typer.echo("on the newest part, on which nothing was chosen:")
        for line in in_words(fitted.evaluation):
            typer.echo(f"  {line}")
    for note in [*left_out, *notes, *fitted.notes]:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {report_path}")
    if json is not None:
        summary = {"bundle_id": manifest.bundle_id, "threshold": manifest.threshold.model_dump(mode="json")}
        training_record = manifest.training.model_dump(mode="json")
        write_json(json, {**summary, "training": training_record, "test": fitted.evaluation.as_json()})
    if tracker is not None:
        typer.echo(f"mlflow: run {tracker.log(fitted, out, report_path)} at {tracker.shown}")


def _from_topics(
    config: "DataConfig", bootstrap: str | None, asset: str | None, since: str | None, until: str | None
) -> "Dataset":
    from stream_detector.settings import Settings
    from stream_detector.time_options import parse_moment
    from trainer.data.topic_dataset import read_topic_dataset

    since_seconds = None if since is None else parse_moment(since, "--since")
    until_seconds = None if until is None else parse_moment(until, "--until")
    settings = Settings.load(bootstrap=bootstrap)
    dataset, history = read_topic_dataset(settings, config, asset, since_seconds, until_seconds)
    judged = f", {history.judged_events} of them alarms that people judged real" if history.judged_events else ""
    unusable = f"; {history.unusable} records could not be used" if history.unusable else ""
    events = f"{int(history.events.sum()):,} events{judged}"
    typer.echo(f"{settings.topic_readings}: {len(dataset):,} rows of {history.asset}, {events}{unusable}")
    return dataset
