"""The pieces of a board: what is asked, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

from deployments.dashboards.objective import RAY
from routing.telemetry.metrics import Metric

DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
SPANS: Final = "traces_span_metrics_duration_seconds_bucket"  # the collector's, of every span before sampling
CALLS: Final = "traces_span_metrics_calls_total"

INTERVAL: Final = "$__rate_interval"  # for curves: as short as there are enough points for
SHOWN: Final = "$__range"  # for single numbers: all that the board shows
_LATEST: Final = common.ReduceDataOptions().calcs(["lastNotNull"])

type Panel = timeseries.Panel | stat.Panel | bargauge.Panel


@dataclass(frozen=True, slots=True)
class Query:
    """``legend`` may hold {{label}}. With ``exemplars``, points on the graph lead to the traces behind it."""

    expression: str
    legend: str
    exemplars: bool = False


def lines(
    title: str, *queries: Query, unit: str, description: str = "", width: int = 12, limit: float | None = None
) -> timeseries.Panel:
    """Curves over time; ``limit`` is drawn as a line."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .min(0)
        .fill_opacity(8)
        .line_width(1)
        .legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(query, letter))
    if limit is not None:
        panel.thresholds(_limit(limit)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        )
    return panel


def number(title: str, expression: str, *, unit: str, description: str = "", limit: float | None = None) -> stat.Panel:
    """The latest value, large; red from ``limit`` on."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(4)
        .height(4)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(_LATEST)
        .with_target(_target(Query(expression, ""), "A"))
    )
    return panel.thresholds(_limit(limit)) if limit is not None else panel


def bars(title: str, query: Query, *, unit: str, description: str = "", width: int = 12) -> bargauge.Panel:
    """One bar for each label of the latest value."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(10)
        .min(0)
        .reduce_options(_LATEST)
        .with_target(_target(query, "A").instant())
    )


def quantile(level: float, metric: Metric, by: str = "", *, ray: bool = False, window: str = INTERVAL) -> str:
    """PromQL of a quantile of a histogram, apart for each value of ``by``."""
    name = (RAY if ray else "") + metric.prometheus_name
    return f"histogram_quantile({level}, sum by ({_listed('le', by)}) (rate({name}_bucket[{window}])))"


def span_quantile(level: float, where: str, by: str = "span_name", *, window: str = INTERVAL) -> str:
    """The same of how long spans took."""
    return f"histogram_quantile({level}, sum by ({_listed('le', by)}) (rate({SPANS}{{{where}}}[{window}])))"


def rate(name: str, by: str = "", *, where: str = "", window: str = INTERVAL) -> str:
    """PromQL of how much a counter grows a second."""
    labels = f"{{{where}}}" if where else ""
    return f"sum{f' by ({by}) ' if by else ''}(rate({name}{labels}[{window}]))"


def _listed(*labels: str) -> str:
    return ", ".join(label for label in labels if label)


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(letter)
    return target.exemplar(True) if query.exemplars else target


def _limit(value: float) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green"), Threshold(value=value, color="red")]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
