"""`trainer backtest`: does a recipe pay on days that it has not seen, and which of several pays most?"""

from pathlib import Path
from typing import Annotated

import typer

from trainer.data_options import AssetColumn, Calendar, LabelColumn, LabelsAre, TimeColumn, TimeFormat, override


def command(
    recipe: Annotated[
        list[str], typer.Option(help="Name of a recipe, or FILE.toml; give it several times to compare recipes.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="History with labelled events: a file, a folder, or a name with *."),
    ],
    start: Annotated[
        str | None,
        typer.Option(help="Judge from this row (a number) or time (ISO 8601) on; default: the midnight after a third."),
    ] = None,
    retrain: Annotated[str, typer.Option(help="Fit anew this often: 12h, 1d, 1w.")] = "1d",
    json: Annotated[Path | None, typer.Option(help="Write the numbers, machine-readable.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="Also judge the file with other event rates and orders of its days.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a processor.")] = None,
    time_column: TimeColumn = None,
    time_format: TimeFormat = None,
    label_column: LabelColumn = None,
    labels_are: LabelsAre = None,
    asset_column: AssetColumn = None,
    calendar: Calendar = None,
) -> None:
    """Judge recipes as they would have done: fitted again and again on the past alone, priced event by event.

    Every missed event costs fn, every alarm fp or tp, once for the episode.max_steps that it may last.
    With several recipes --json holds the first one's numbers, all of them under "recipes", and paired differences.
    """
    import os

    # One thread a process: this many processes of several threads each would only wait for one another.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from stream_detector.errors import UsageError
    from trainer.backtesting.alarm_value import paired_difference
    from trainer.backtesting.backtest import Known, fits_needed, run_backtest
    from trainer.backtesting.folds import plan_folds
    from trainer.backtesting.methods import method_of
    from trainer.backtesting.stress import PROTOCOLS
    from trainer.backtesting.verdict import difference_in_words, in_words
    from trainer.backtesting.workers import workers
    from trainer.data.dataset import read_dataset
    from trainer.data.planned import leave_out_planned, rows_planned
    from trainer.output import error_console, write_bytes, write_json
    from trainer.recipe import load_recipe
    from trainer.reports.backtest_report import backtest_report

    loaded = []
    for name in recipe:
        each = load_recipe(name)
        training = each.train if seed is None else each.train.model_copy(update={"seed": seed})
        source = override(each.data, time_column, time_format, label_column, labels_are, asset_column)
        loaded.append(each.model_copy(update={"data": source, "train": training}))
    methods = [method_of(each) for each in loaded]
    whole = read_dataset(data, loaded[0].data)
    dataset, _ = leave_out_planned(whole, loaded[0].data, calendar)
    for note in rows_planned(whole, dataset):
        typer.echo(note)
    folds = plan_folds(dataset, start, retrain)
    files = {"as it was": dataset}
    if stress and len(dataset.assets) > 1:
        raise UsageError(f"--stress moves the days of one asset, and {dataset.name} holds {len(dataset.assets)}")
    if stress:
        gap_seconds = max((each.grid.max_gap_steps + 1) * each.grid.step_seconds for each in loaded)
        seed_of_files = loaded[0].train.seed
        files |= {name: make(dataset, folds[0].begin, seed_of_files, gap_seconds) for name, make in PROTOCOLS.items()}
    plans = {name: plan_folds(file, start if name == "as it was" else None, retrain) for name, file in files.items()}
    if start is not None:
        from datetime import UTC, datetime

        begin = datetime.fromtimestamp(folds[0].begin, UTC).isoformat()
        plans = {name: plan_folds(file, begin, retrain) for name, file in files.items()}
    total = sum(fits_needed(methods, files[name], plans[name], name == "as it was") for name in files)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found = {}
    known: Known | None = {} if stress else None
    console = error_console()
    with (
        Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress,
        workers(jobs or len(os.sched_getaffinity(0))) as work,
    ):
        task = progress.add_task("fits", total=total)
        for name, file in files.items():

            def on_fold(which: str, name: str = name) -> None:
                progress.update(task, advance=1, description=f"{which}, {name}")

            found[name] = run_backtest(
                methods, file, plans[name], on_fold=on_fold, check=name == "as it was", work=work, known=known
            )
    worths = found.pop("as it was")
    differences = [paired_difference(worths[0], other) for other in worths[1:]]
    for worth in worths:
        how = f"fitted every {retrain} on the past alone, seed {worth.recipe.train.seed}"
        typer.echo(f"{worth.recipe.name} on {dataset.name}, {how}:")
        for line in in_words(worth):
            typer.echo(f"  {line}")
        numbers = worth.as_json()
        if numbers["auc"] is not None:
            typer.echo(f"  Area under ROC {numbers['auc']:.3f}, average precision {numbers['average_precision']:.3f}.")
    for pair in differences:
        typer.echo(difference_in_words(pair))
    for name, others in found.items():
        for worth in others:
            typer.echo(f"{worth.recipe.name}, {name}: {' '.join(in_words(worth)[2:])}")
    if json is not None:
        stressed = {name: [worth.as_json() for worth in others] for name, others in found.items()}
        content = {
            **worths[0].as_json(),
            "data": dataset.name,
            "data_sha256": dataset.sha256,
            "retrain": retrain,
            "interval": 0.9,
            "recipes": [worth.as_json() for worth in worths],
            "paired": differences,
            "stress": stressed,
        }
        write_json(json, content)
    if report is not None:
        write_bytes(report, backtest_report(dataset, worths, differences, found, retrain).encode())
        typer.echo(f"report: {report}")
