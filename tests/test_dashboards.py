"""Grafana's boards: written by their generator, alike in what matters, and asking only for what somebody tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.dashboards.files import BOARDS, files
from routing.telemetry import names
from routing.telemetry.metrics import METRICS
from tests.queries import unknown_names

ROOT = Path(__file__).parent.parent
WRITTEN = ROOT / "configs" / "telemetry" / "grafana" / "dashboards"
JSON = {path.stem: json.loads(path.read_text()) for path in sorted(WRITTEN.glob("*.json"))}
BOUND = re.compile(r'(\w+)_bucket\{[^}]*\ble="([^"]+)"')
UNITS = {"s", "percentunit", "reqps", "short", "bytes", "watt", "joule"}


def test_what_is_written_is_what_the_generator_writes() -> None:
    written = {path: (ROOT / path).read_text() for path in files()}
    assert written == files(), "run: python -m deployments.dashboards"
    assert JSON.keys() == {board.name for board in BOARDS}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All but the rows, which hold those below them."""
    for panel in board["panels"]:
        yield from (inner for inner in [panel, *panel.get("panels", ())] if inner["type"] != "row")


def queries(board: dict[str, Any]) -> Iterator[str]:
    for panel in panels(board):
        yield from (target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("name", JSON)
def test_a_board_can_be_found_and_not_be_changed_by_hand(name: str) -> None:
    board = JSON[name]
    assert board["uid"] == f"antiphon-{name}"
    assert board["editable"] is False
    assert board["tags"] == ["antiphon"]
    assert board["refresh"] == "30s"
    assert board["schemaVersion"] == 36
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "jaeger", "runbooks"}


@pytest.mark.parametrize("name", JSON)
def test_panels_name_their_unit_and_no_datasource_of_one_installation(name: str) -> None:
    for panel in panels(JSON[name]):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
    ids = [panel["id"] for panel in JSON[name]["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", JSON)
def test_every_query_parses_and_asks_for_what_there_is(name: str) -> None:
    asked = {query: re.sub(r"\$__(rate_interval|range)\b", "5m", query) for query in queries(JSON[name])}
    assert {query: unknown for query, plain in asked.items() if (unknown := unknown_names(plain))} == {}


def test_every_metric_of_the_table_is_on_a_board() -> None:
    """What nobody looks at need not be counted."""
    asked = " ".join(query for board in JSON.values() for query in queries(board))
    assert [metric.name for metric in METRICS if metric.prometheus_name not in asked] == []


def test_every_bound_is_the_edge_of_a_bucket() -> None:
    metrics = {metric.prometheus_name: metric for metric in METRICS}
    asked = [found for board in JSON.values() for query in queries(board) for found in BOUND.findall(query)]
    assert asked
    assert all(float(bound) in metrics[name.removeprefix("ray_")].bounds for name, bound in asked)


def test_spans_are_asked_for_by_the_names_that_they_have() -> None:
    known = {value for value in vars(names).values() if isinstance(value, str)}
    for board in JSON.values():
        for query in queries(board):
            for spans in re.findall(r'span_name=~?"([^"]+)"', query):
                assert {span.removesuffix(" .+") for span in spans.split("|")} <= known


@pytest.mark.parametrize("name", JSON)
def test_a_board_leads_to_traces_and_to_a_runbook(name: str) -> None:
    links = {link["title"]: link for link in JSON[name]["links"]}
    assert links["Antiphon's boards"]["tags"] == ["antiphon"]
    assert links["Traces in Jaeger"]["url"].startswith("${jaeger}/search?service=antiphon-")
    runbook = re.fullmatch(r"\$\{runbooks\}/(\w+\.md)", links["Runbook"]["url"])
    assert runbook is not None
    assert (ROOT / "k8s" / "runbooks" / runbook[1]).is_file()


def test_points_lead_to_traces_where_a_histogram_has_them() -> None:
    asked = [target for board in JSON.values() for panel in panels(board) for target in panel["targets"]]
    with_exemplars = [target["expr"] for target in asked if target.get("exemplar")]
    assert with_exemplars
    assert all("_bucket" in query and "ray_" not in query for query in with_exemplars)  # Ray's exporter has none
