"""Writes the dashboards as JSON: `make dashboards` (python -m deploy.grafana.build [FOLDER])."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana import model, operators, pipeline
from deploy.grafana.panels import SOURCE, Panel

FOLDER = Path(__file__).parent / "dashboards"
ASSET_IN_TEXTS = "{{asset}}"

CONSOLE = "http://localhost:9464"
"""Where the console is, until somebody writes another address into the dashboard's field."""

ALARMS = 'max by (asset) (stream_detector_alarms_open{asset=~"$asset"}) > 0'
EVENTS = 'sum by (asset) (increase(stream_detector_events_total{asset=~"$asset"}[1m])) > 0'


SERIES = re.compile(r"(?<![\w:\"])((?:\w+:)?(?:stream_detector|process)_\w+(?::\w+)?)(\{)?")


CHOSEN = 'site=~"$site",job!="stream-detector-challenger"'


def of_site(expression: str) -> str:
    """The expression about the chosen sites only; a plant that names no site has an empty one. Nobody is told of a
    challenger's alarms, so no panel counts them.

    >>> of_site('rate(process_cpu_seconds_total{instance="a"}[1m])')
    'rate(process_cpu_seconds_total{site=~"$site",job!="stream-detector-challenger",instance="a"}[1m])'
    >>> of_site('job:stream_detector_lag:sum > 0')
    'job:stream_detector_lag:sum{site=~"$site",job!="stream-detector-challenger"} > 0'
    """
    return SERIES.sub(lambda found: f"{found[1]}{{{CHOSEN}{',' if found[2] else '}'}", expression)


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _annotation(name: str, expression: str, color: str) -> dashboard.AnnotationQuery:
    query = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).hide(False)
    return query.icon_color(color).expr(expression)


def _board(
    title: str, uid: str, description: str, hours: int, refresh: str, rows: Sequence[tuple[str, Sequence[Panel]]]
) -> Any:
    board = (
        dashboard.Dashboard(f"Stream Detector: {title}")
        .uid(uid)
        .description(description)
        .tags(["stream-detector"])
        .timezone("browser")
        .refresh(refresh)
        .time(f"now-{hours}h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("site", "Site", "label_values(stream_detector_ready, site)"))
        .with_variable(_variable("asset", "Asset", 'label_values(stream_detector_threshold{site=~"$site"}, asset)'))
        .with_variable(dashboard.TextBoxVariable("console").label("Console").default_value(CONSOLE))
        .annotation(_annotation("Alarms", ALARMS, "orange"))
        .annotation(_annotation("Events", EVENTS, "red"))
        .link(
            dashboard.DashboardLink("Stream Detector")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["stream-detector"])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .link(dashboard.DashboardLink("Console").url("$console").target_blank(True))
    )
    for title_of_row, panels in rows:
        board.with_row(dashboard.Row(title_of_row))
        for panel in panels:
            board.with_panel(panel)
    built = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    for number, panel in enumerate(built["panels"], start=1):
        panel["id"] = number
        for index, target in enumerate(panel.get("targets", [])):
            target["refId"] = chr(ord("A") + index)
            target["expr"] = of_site(target["expr"])
    for annotation in built["annotations"]["list"]:
        # The SDK has no field for it; Prometheus annotations show their labels through this format.
        annotation["expr"] = of_site(annotation["expr"])
        annotation["titleFormat"] = ASSET_IN_TEXTS
    return built


def boards() -> dict[str, Any]:
    """File name -> dashboard, as Grafana's JSON model."""
    return {
        "operators.json": _board(
            "Operators",
            "stream-detector-operators",
            "What is happening now, and why",
            3,
            "10s",
            operators.rows_of_panels(),
        ),
        "model.json": _board(
            "Model",
            "stream-detector-model",
            "Is the bundle still right, and does it pay",
            168,
            "5m",
            model.rows_of_panels(),
        ),
        "pipeline.json": _board(
            "Pipeline",
            "stream-detector-pipeline",
            "Do readings flow and alarms get out. Of the processes, and so of all assets",
            3,
            "10s",
            pipeline.rows_of_panels(),
        ),
    }


def text_of(board: Any) -> str:
    """The file's content, stable from run to run."""
    return json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, board in boards().items():
        (folder / name).write_text(text_of(board))
        print(f"wrote {folder / name}")


if __name__ == "__main__":
    main(*[Path(argument) for argument in sys.argv[1:2]])
