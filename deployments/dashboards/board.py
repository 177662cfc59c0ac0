"""A board of Grafana: rows of panels, and what all boards have in common."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, VariableOption

from deployments.dashboards.panel import Panel

TAG: Final = "antiphon"
JAEGER: Final = "http://127.0.0.1:16686"  # of compose.yaml; a board's variables may name others
RUNBOOKS: Final = "http://127.0.0.1:9090/consoles"


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One board; ``search`` is what its link to Jaeger looks for, ``runbook`` the one that concerns it most."""

    name: str
    title: str
    description: str
    search: str
    runbook: str
    rows: tuple[Row, ...]

    def json(self) -> str:
        """The board as Grafana reads it."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(f"{TAG}-{self.name}")
            .description(self.description)
            .tags([TAG])
            .readonly()
            .refresh("30s")
            .time("now-1h", "now")
            .links([_others(), *self._outside()])
            .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
            .with_variable(_address("jaeger", JAEGER))
            .with_variable(_address("runbooks", RUNBOOKS))
        )
        ids = count(1)
        for row in self.rows:
            board.with_row(dashboard.Row(row.title).id(next(ids)))
            for panel in row.panels:
                board.with_panel(panel.id(next(ids)))
        return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"

    def _outside(self) -> list[dashboard.DashboardLink]:
        return [
            _link("Traces in Jaeger", "bolt", f"${{jaeger}}/search?{self.search}"),
            _link("Runbook", "doc", f"${{runbooks}}/{self.runbook}.md"),
        ]


def _address(name: str, url: str) -> dashboard.TextBoxVariable:
    current = VariableOption(selected=True, text=url, value=url)
    return dashboard.TextBoxVariable(name).label(name.capitalize()).default_value(url).current(current)


def _others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Antiphon's boards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
        .icon("apps")
    )


def _link(title: str, icon: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).icon(icon).url(url).target_blank(True)
