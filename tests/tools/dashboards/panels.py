"""Parts of dashboards, so that all look and read alike."""

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${source}")
_WHOLE: Final = 24
"""Grafana's grid has so many columns."""

Query = tuple[str, str]
"""An expression, and the names of its series: text and {{label}}."""
Steps = Sequence[tuple[float | None, str]]
"""Colours, each with its lowest value; the first has none."""

OR_NONE: Final = "or vector(0)"
"""A counter has no series before its first event. Then 0 is correct."""
UP: Final[Steps] = ((None, "red"), (1, "green"))
GOOD_LOW: Final[Steps] = ((None, "green"),)


def above(warn: float, bad: float) -> Steps:
    """Green, yellow from `warn` and red from `bad` on."""
    return ((None, "green"), (warn, "yellow"), (bad, "red"))


def below(bad: float, warn: float) -> Steps:
    """Red, yellow from `bad` and green from `warn` on."""
    return ((None, "red"), (bad, "yellow"), (warn, "green"))


def _query(query: Query, place: int) -> prometheus.Dataquery:
    expression, legend = query
    return (
        prometheus.Dataquery()
        .expr(expression)
        .legend_format(legend)
        .ref_id(chr(ord("A") + place))
        .datasource(SOURCE)
    )


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def figure(
    title: str, question: str, expression: str, unit: str, steps: Steps = GOOD_LOW, span: int = 4
) -> Any:
    """One number, coloured by what it means, with its last hour behind it."""
    return (
        stat.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(4)
        .thresholds(_thresholds(steps))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query((expression, title), 0))
    )


def graph(
    title: str,
    question: str,
    *queries: Query,
    unit: str,
    span: int = 12,
    limit: float | None = None,
    stacked: bool = False,
) -> Any:
    """Lines over time; `limit` is drawn as where trouble begins."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(8)
        .min(0)
        .line_width(2)
        .fill_opacity(20 if stacked else 5)
        .show_points(common_models.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "max"])
        )
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if limit is not None:
        panel.thresholds(_thresholds(((None, "transparent"), (limit, "red"))))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    for place, query in enumerate(queries):
        panel.with_target(_query(query, place))
    return panel


def board(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[Any]]],
    variables: Sequence[tuple[str, str, str, str]] = (),
) -> models.Dashboard:
    """A dashboard of `rows` with their panels; `variables`: name, label, query and the
    regular expression that cuts the value out of what it finds, of each.
    """
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["ringfence"])
        .timezone("utc")
        .refresh("10s")
        .time("now-1h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
        )
        .link(
            dashboard.DashboardLink("Ringfence")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["ringfence"])
            .as_dropdown(as_dropdown=True)
            .keep_time(keep_time=True)
        )
    )
    for name, label, query, regex in variables:
        made.with_variable(
            dashboard.QueryVariable(name)
            .label(label)
            .datasource(SOURCE)
            .query(query)
            .regex(regex)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
        )
    for name, panels in rows:
        made.with_row(dashboard.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return made.build()
