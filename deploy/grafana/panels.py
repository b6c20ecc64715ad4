"""The kinds of panel that the dashboards are made of, on top of Grafana's own foundation SDK."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="prometheus")
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"

Steps = Sequence[tuple[float | None, str]]
Panel = Builder[models.Panel]


def _query(expression: str, legend: str, *, instant: bool) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE)
    return query.instant() if instant else query.range()


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Colours from values on; the first value is None = from the bottom."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _texts(texts: Mapping[int, tuple[str, str]]) -> list[models.ValueMapping]:
    options = {
        str(value): models.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return [models.ValueMap(options=options)]


def number(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = "short",
    steps: Steps = ((None, GREEN),),
    span: int = 4,
    legend: str = "",
    decimals: int | None = None,
) -> Panel:
    """One big number, coloured by its value."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .thresholds(thresholds(steps))
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(expression, legend, instant=True))
        .height(4)
        .span(span)
    )
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    unit: str = "short",
    span: int = 12,
    height: int = 8,
    steps: Steps | None = None,
    stacked: bool = False,
    dashed: Sequence[str] = (),
    steps_drawn: bool = False,
) -> Panel:
    """Lines over time; `queries`: legend -> expression. Legends in `dashed` are limits, drawn red and dashed."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .line_width(2)
        .fill_opacity(30 if stacked else 5)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .height(height)
        .span(span)
    )
    if steps_drawn:
        panel.line_interpolation(common_models.LineInterpolation.STEP_AFTER)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if steps is not None:
        panel.thresholds(thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphTresholdsStyleMode.DASHED)
        )
    for legend, expression in queries.items():
        panel.with_target(_query(expression, legend, instant=False))
        if legend in dashed:
            # A limit per asset has the asset in its legend: match what Grafana shows.
            pattern = "/^" + legend.replace("{{asset}}", ".*").replace("(", r"\(").replace(")", r"\)") + "$/"
            panel.override_by_regexp(
                pattern,
                [
                    models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
                    models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
                    models.DynamicConfigValue("custom.fillOpacity", 0),
                ],
            )
    return panel


def states(
    title: str, description: str, expression: str, legend: str, texts: Mapping[int, tuple[str, str]], *, height: int = 6
) -> Panel:
    """A band per series whose colour is its state: `texts` gives word and colour of each value."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .mappings(_texts(texts))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .show_value(common_models.VisibilityMode.AUTO)
        .with_target(_query(expression, legend, instant=False))
        .height(height)
        .span(24)
    )


def bars(
    title: str,
    description: str,
    expression: str,
    legend: str,
    *,
    unit: str = "percentunit",
    span: int = 12,
    maximum: float | None = 1.0,
) -> Panel:
    """Horizontal bars of the newest values, the longest first if the expression sorts."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .thresholds(thresholds([(None, BLUE)]))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(expression, legend, instant=True))
        .height(8)
        .span(span)
    )
    return panel if maximum is None else panel.max(maximum)


def rows(
    title: str, description: str, queries: Mapping[str, str], *, units: Mapping[str, str] | None = None, span: int = 24
) -> Panel:
    """A table, one row an asset; `queries`: column -> expression that sums by asset."""
    panel = table.Panel().title(title).description(description).datasource(SOURCE).height(8).span(span)
    renamed: dict[str, str] = {"asset": "Asset"}
    for index, (column, expression) in enumerate(queries.items()):
        reference = chr(ord("A") + index)
        panel.with_target(_query(expression, column, instant=True).format(PromQueryFormat.TABLE))
        renamed[f"Value #{reference}" if len(queries) > 1 else "Value"] = column
        if units and column in units:
            panel.override_by_name(column, [models.DynamicConfigValue("unit", units[column])])
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    organize: dict[str, Any] = {"excludeByName": {"Time": True}, "renameByName": renamed, "indexByName": {"asset": 0}}
    return panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
