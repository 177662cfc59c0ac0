"""The table of metrics, and that the README tells the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from routing.telemetry.metrics import METRICS, Metric

ROW = re.compile(r"^\| `([a-z_]+)` \| (edge|cloud|both) \|", re.MULTILINE)


def test_the_readme_lists_every_metric_and_no_other() -> None:
    rows = ROW.findall(Path("README.md").read_text("utf-8"))
    assert rows == [(metric.prometheus_name, metric.place) for metric in METRICS]


def test_no_two_metrics_have_one_name() -> None:
    assert len({metric.prometheus_name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_only_histograms_have_bounds_and_they_rise(metric: Metric) -> None:
    assert bool(metric.bounds) == (metric.kind == "histogram")
    assert list(metric.bounds) == sorted(set(metric.bounds))
