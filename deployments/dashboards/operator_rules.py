"""The rules once more, in the words of the Prometheus operator: a cluster's Prometheus takes them as objects only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

HEADER: Final = "# Written by `python -m deployments.dashboards` from configs/telemetry/rules, and tested there.\n"
NAMESPACE: Final = "antiphon-telemetry"


def operator_rules(contents: dict[str, str]) -> str:
    """A PrometheusRule for each rule file, as YAML; ``contents`` is what is in them, by the name of the rule."""
    objects = [_prometheus_rule(name, yaml.safe_load(content)) for name, content in contents.items()]
    return HEADER + yaml.safe_dump_all(objects, sort_keys=False, width=110, allow_unicode=True)


def read_rules(folder: Path) -> dict[str, str]:
    """The rule files of a folder, for `operator_rules`."""
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.yaml"))}


def _prometheus_rule(name: str, rules: dict[str, Any]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/part-of": "antiphon"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": f"antiphon-{name}", "namespace": NAMESPACE, "labels": labels},
        "spec": rules,
    }
