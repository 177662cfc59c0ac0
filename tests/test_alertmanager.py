"""Who is told of an alert, and what is not told because something else says it better."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TELEMETRY = ROOT / "configs" / "telemetry"
CONTENT = yaml.safe_load((TELEMETRY / "alertmanager.yaml").read_text())
MATCHER = re.compile(r'(?P<label>\w+) (?P<how>=~|!~|!=|=) "?(?P<value>[^"]+)"?')

type Labels = Mapping[str, str]


def alerts() -> Iterator[Labels]:
    """What each alert would be told with."""
    for path in sorted((TELEMETRY / "rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from ({"alertname": rule["alert"], **rule["labels"]} for rule in group["rules"] if "alert" in rule)


ALERTS = list(alerts())


def matches(labels: Labels, matchers: list[str]) -> bool:
    return all(_matches(labels, matcher) for matcher in matchers)


def _matches(labels: Labels, matcher: str) -> bool:
    found = MATCHER.fullmatch(matcher)
    assert found, matcher
    value = labels.get(found["label"], "")
    is_so = bool(re.fullmatch(found["value"], value)) if "~" in found["how"] else value == found["value"]
    return not is_so if found["how"].startswith("!") else is_so


def receiver(labels: Labels) -> str:
    route: dict[str, Any] = CONTENT["route"]
    chosen: str = next(
        (each["receiver"] for each in route["routes"] if matches(labels, each["matchers"])), route["receiver"]
    )
    return chosen


def inhibited(target: Labels, source: Labels) -> bool:
    return any(
        matches(source, rule["source_matchers"])
        and matches(target, rule["target_matchers"])
        and all(source.get(label) == target.get(label) for label in rule.get("equal", ()))
        for rule in CONTENT["inhibit_rules"]
    )


def burns(alert: str) -> list[Labels]:
    """Of one objective, the fastest first."""
    found = [labels for labels in ALERTS if labels["alertname"] == alert]
    return sorted(found, key=lambda labels: -float(labels["burn"]))


def test_pages_wake_somebody_and_tickets_do_not() -> None:
    assert {receiver(labels) for labels in ALERTS if labels["severity"] == "page"} == {"pages"}
    assert {receiver(labels) for labels in ALERTS if labels["severity"] == "ticket"} == {"tickets"}
    assert {each["name"] for each in CONTENT["receivers"]} == {"pages", "tickets"}


@pytest.mark.parametrize("alert", sorted({labels["alertname"] for labels in ALERTS if "burn" in labels}))
def test_a_slow_burn_is_silent_while_a_faster_one_is_told(alert: str) -> None:
    fastest_first = burns(alert)
    assert len(fastest_first) == 4
    for at, labels in enumerate(fastest_first):
        assert all(inhibited(slower, labels) for slower in fastest_first[at + 1 :])
        assert not any(inhibited(faster, labels) for faster in fastest_first[: at + 1])


def test_one_objective_does_not_silence_another() -> None:
    turn, sound = burns("TurnBudgetBurn"), burns("SoundBudgetBurn")
    assert not any(inhibited(target, source) for target in sound for source in turn)


def test_whoever_is_silenced_or_silences_is_an_alert() -> None:
    for rule in CONTENT["inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            assert any(matches(labels, rule[side]) for labels in ALERTS), rule


def test_no_page_is_silenced_for_good() -> None:
    """Somebody is always told: of those that silence each other there is one that nobody silences."""
    pages = [labels for labels in ALERTS if labels["severity"] == "page"]
    assert all(not (inhibited(one, other) and inhibited(other, one)) for one in pages for other in pages)


def test_where_alerts_go_is_no_part_of_the_repository() -> None:
    for each in CONTENT["receivers"]:
        for webhook in each["webhook_configs"]:
            assert webhook.keys() == {"url_file", "send_resolved"}
            assert webhook["url_file"] == f"/etc/alertmanager/secrets/alert-receivers/{each['name']}"


def test_a_cluster_has_each_runbook_that_an_alert_points_to() -> None:
    (generator,) = yaml.safe_load((ROOT / "k8s" / "runbooks" / "kustomization.yaml").read_text())["configMapGenerator"]
    assert set(generator["files"]) == {f"{labels['alertname']}.md" for labels in ALERTS}
