"""The kinds of panel that the dashboards are made of, on top of Grafana's own foundation SDK."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
YELLOW, ORANGE, RED, BLUE = "yellow", "orange", "red", "blue"
NORMAL, CALM = "#8e8e8e", "#5f6770"
"""Grey, as on the console: colour is kept for what is not normal."""

NO_DATA = "no data"
NO_FORWARDER = "no data: no forwarder tells it"
OF_A_FORWARDER = ("stream_detector_forwarder_", "stream_detector_ledger_")
EACH_ASSET = "{{asset}}"
CONSOLE = "${console}/#/"

Steps = Sequence[tuple[float | None, str]]
Panel = Builder[models.Panel]


def _query(expression: str, legend: str, *, instant: bool) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE)
    return query.instant() if instant else query.range()


def _said_without_data(*expressions: str) -> str:
    """An empty panel says so, and who is missing: nothing is never drawn as a good number."""
    return NO_FORWARDER if any(name in text for text in expressions for name in OF_A_FORWARDER) else NO_DATA


def _console_of(asset: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink("Console").url(f"{CONSOLE}${{{asset}:percentencode}}").target_blank(True)


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
    steps: Steps = ((None, NORMAL),),
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
        .no_value(_said_without_data(expression))
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
        .no_value(_said_without_data(*queries.values()))
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
    if any(EACH_ASSET in legend for legend in queries):
        panel.data_links([_console_of("__field.labels.asset")])
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
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .no_value(_said_without_data(expression))
        .mappings(_texts(texts))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .show_value(common_models.VisibilityMode.AUTO)
        .with_target(_query(expression, legend, instant=False))
        .height(height)
        .span(24)
    )
    return panel.data_links([_console_of("__field.labels.asset")]) if EACH_ASSET in legend else panel


def bars(
    title: str,
    description: str,
    expression: str,
    legend: str,
    *,
    unit: str = "percentunit",
    span: int = 12,
    maximum: float | None = 1.0,
    buckets: bool = False,
) -> Panel:
    """Horizontal bars of the newest values, the longest first if the expression sorts.

    `buckets`: the expression sums a histogram by `le`. Grafana's format for heatmaps takes from each bucket those below
    it, so a bar is what lies in the bucket and not all that lies under its end.
    """
    query = _query(expression, legend, instant=True)
    if buckets:
        query.format(PromQueryFormat.HEATMAP)
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .no_value(_said_without_data(expression))
        .min(0)
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .thresholds(thresholds([(None, BLUE)]))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(query)
        .height(8)
        .span(span)
    )
    if EACH_ASSET in legend:
        panel.data_links([_console_of("__field.labels.asset")])
    return panel if maximum is None else panel.max(maximum)


def spread(title: str, description: str, expression: str, *, span: int = 12) -> Panel:
    """A histogram over time: the darker, the more values lie in that bucket. The expression sums buckets by `le`."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .no_value(_said_without_data(expression))
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues"))
        .show_tooltip()
        .y_axis(heatmap.YAxisConfig().axis_placement(common_models.AxisPlacement.LEFT))
        .with_target(_query(expression, "{{le}}", instant=False).format(PromQueryFormat.HEATMAP))
        .height(8)
        .span(span)
    )


def rows(
    title: str, description: str, queries: Mapping[str, str], *, units: Mapping[str, str] | None = None, span: int = 24
) -> Panel:
    """A table, one row an asset; `queries`: column -> expression that sums by asset."""
    panel = table.Panel().title(title).description(description).datasource(SOURCE).height(8).span(span)
    panel.no_value(_said_without_data(*queries.values()))
    link = _console_of('__data.fields["Asset"]').build()
    panel.override_by_name("Asset", [models.DynamicConfigValue("links", [link])])
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
