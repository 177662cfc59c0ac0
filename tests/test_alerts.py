"""Alerts: what the rules name exists, each fires in one story and is silent in another, and each says what to do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from deployments.dashboards.burn_rules import BURNS, rules
from deployments.dashboards.objective import OBJECTIVES
from edge_client.realtime.edge_metrics import NOBODY
from edge_client.turn_trace import TurnOutcome
from routing.telemetry.metrics import METRICS
from tests.queries import RECORDED, unknown_names

TELEMETRY = Path(__file__).parent.parent / "configs" / "telemetry"
RULES = sorted((TELEMETRY / "rules").glob("*.yaml"))
STORIES = sorted((TELEMETRY / "rules" / "tests").glob("*.yaml"))


def rules_of(path: Path) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(path.read_text())["groups"]:
        yield from group["rules"]


EVERY_RULE = [rule for path in RULES for rule in rules_of(path)]
ALERTS = [rule for rule in EVERY_RULE if "alert" in rule]


def test_the_objectives_are_written_by_the_generator() -> None:
    assert (TELEMETRY / "rules" / "objectives.yaml").read_text() == rules(), "run: python -m deployments.dashboards"


def test_rules_ask_for_metrics_and_labels_that_there_are() -> None:
    assert {rule["expr"]: unknown for rule in EVERY_RULE if (unknown := unknown_names(rule["expr"]))} == {}


def test_nobody_asks_for_sums_that_ray_guesses() -> None:
    assert unknown_names("voice_turn_ttfa_seconds_sum") == []
    assert unknown_names("ray_voice_queue_wait_seconds_sum") == ["ray_voice_queue_wait_seconds_sum"]


def test_a_name_is_recorded_once() -> None:
    assert len(RECORDED) == len(set(RECORDED))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: "-".join([alert["alert"], *alert["labels"].values()]))
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["labels"]["slo"] in {"none", *(objective.name for objective in OBJECTIVES)}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"{{{{ $externalURL }}}}/consoles/{alert['alert']}.md"
    assert "for" in alert


def test_a_budget_that_melts_is_told_of_four_times() -> None:
    for objective in OBJECTIVES:
        told = [alert["labels"]["burn"] for alert in ALERTS if alert["alert"] == objective.alert]
        assert told == [f"{burn.rate:g}" for burn in BURNS]


def test_every_bound_is_the_edge_of_a_bucket() -> None:
    """Otherwise Prometheus would find nothing, and that would look like nothing being wrong."""
    metrics = {metric.prometheus_name: metric for metric in METRICS}
    for rule in EVERY_RULE:
        for name, labels in re.findall(r"(\w+)_bucket\{([^}]*)\}", rule["expr"]):
            (bound,) = re.findall(r'le="([^"]+)"', labels)
            assert float(bound) in metrics[name.removeprefix("ray_")].bounds
            assert "." in bound, "the text format and OpenMetrics write whole numbers differently"


def test_rules_know_how_turns_and_connections_end() -> None:
    ends = {*get_args(TurnOutcome.__value__), "connected", "failed"}
    asked = [value for rule in EVERY_RULE for value in re.findall(r'outcome=~?"([^"]+)"', rule["expr"])]
    assert asked
    assert {each for value in asked for each in value.split("|")} <= ends


def test_rules_know_who_answers_where_nobody_does() -> None:
    asked = [value for rule in EVERY_RULE for value in re.findall(r'target!?[=~]+"([^"]+)"', rule["expr"])]
    assert {each for value in asked for each in value.split("|")} == {"device", NOBODY}


# -- stories -----------------------------------------------------------------------------------------------------------


def test_each_alert_has_a_story_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    told = [told for path in STORIES for told in stories(path)]
    names = {alert["alert"] for alert in ALERTS}
    assert {name for name, fires in told if fires} == names
    assert {name for name, fires in told if not fires} == names


def stories(path: Path) -> Iterator[tuple[str, bool]]:
    """The alert, and whether it fires."""
    for story in yaml.safe_load(path.read_text())["tests"]:
        for look in story.get("alert_rule_test", ()):
            yield look["alertname"], bool(look["exp_alerts"])
        for look in story.get("promql_expr_test", ()):
            (name,) = re.findall(r'ALERTS\{alertname="(\w+)"', look["expr"])
            yield name, bool(look["exp_samples"])


@pytest.mark.slow
@pytest.mark.promtool
@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_stories_come_true(path: Path) -> None:
    outcome = promtool("test", "rules", str(path))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.promtool
def test_prometheus_can_read_its_configuration(tmp_path: Path) -> None:
    """With the paths of this machine instead of those of its container."""
    text = (TELEMETRY / "prometheus.yaml").read_text().replace("/etc/prometheus", str(TELEMETRY))
    (tmp_path / "prometheus.yaml").write_text(text)
    outcome = promtool("check", "config", str(tmp_path / "prometheus.yaml"))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
