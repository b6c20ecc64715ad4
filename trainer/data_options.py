"""Options by which a command reads a file that is written differently from what the recipe says."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stream_detector.choices import choice
from trainer.recipe import DataConfig

TimeColumn = Annotated[str | None, typer.Option(help="Column of the times, if not the recipe's.")]
TimeFormat = Annotated[str | None, typer.Option(help="Format of the times as of strptime, e.g. '%d.%m.%Y %H:%M'.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the labels, if not the recipe's.")]
AssetColumn = Annotated[
    str | None, typer.Option(help="Column of the assets, if not the recipe's; '' where the file is of one asset.")
]
LabelsAre = Annotated[
    Literal["normal", "anomaly"] | None,
    choice("--labels-are", ("normal", "anomaly"), "What a label of the recipe's label values marks."),
]

Calendar = Annotated[
    Path | None,
    typer.Option(help="Calendar of planned downtime (.toml or iCalendar): its rows are left out, as if not there."),
]

MlflowOption = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Log parameters, metrics, report and bundle to MLflow: a server, or a folder."),
]


def override(
    config: DataConfig,
    time_column: str | None = None,
    time_format: str | None = None,
    label_column: str | None = None,
    labels_are: Literal["normal", "anomaly"] | None = None,
    asset_column: str | None = None,
) -> DataConfig:
    """The recipe's data section with what was given on the command line."""
    given: dict[str, Any] = {
        "time_column": time_column,
        "time_format": time_format,
        "label_column": label_column,
        "labels_are": labels_are,
        "asset_column": asset_column,
    }
    return config.model_copy(update={name: value for name, value in given.items() if value is not None})
