"""The list of known fields: right manifests pass, and a typo in any place of a custom resource is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes_fields import borrowed, faults, is_custom


def monitor(**endpoint: Any) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": "edge", "labels": {"any": "label"}},
        "spec": {
            "selector": {"matchLabels": {"whoever": "likes"}},
            "podMetricsEndpoints": [{"port": "http", "interval": "15s", **endpoint}],
        },
    }


def cluster() -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "ray", "image": "x"}]}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "cloud"},
        "spec": {"rayClusterConfig": {"headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": template}}},
    }


def test_what_is_right_passes() -> None:
    assert faults(monitor()) == []
    assert faults(cluster()) == []


def test_a_typo_is_told_with_its_place_and_the_nearest_name() -> None:
    assert faults(monitor(intervall="15s")) == [
        "spec.podMetricsEndpoints[0].intervall: there is no such field; did you mean interval?"
    ]


def test_what_is_of_another_kind_is_told() -> None:
    assert faults(monitor(honorLabels="yes")) == [
        "spec.podMetricsEndpoints[0].honorLabels: expected true or false, got 'yes'"
    ]
    assert faults(monitor(relabelings=[{"action": "keeep"}]))[0].startswith(
        "spec.podMetricsEndpoints[0].relabelings[0].action: expected one of drop, "
    )
    assert faults(monitor(relabelings={}))[0].endswith("expected a list, got {}")


def test_what_must_be_there_is_missed() -> None:
    wrong = monitor()
    del wrong["spec"]["selector"]
    assert faults(wrong) == ["spec.selector: is missing"]


def test_an_unknown_kind_is_no_right_one() -> None:
    assert faults(monitor() | {"kind": "PodMonitr"}) == [
        "monitoring.coreos.com/v1 PodMonitr: no fields are known of that kind"
    ]


def test_what_is_borrowed_from_kubernetes_becomes_documents_of_its_own() -> None:
    (pod,) = borrowed(cluster())
    assert (pod["kind"], pod["apiVersion"]) == ("Pod", "v1")
    assert pod["spec"] == {"containers": [{"name": "ray", "image": "x"}]}


@pytest.mark.parametrize(
    ("version", "custom"),
    [
        ("v1", False),
        ("apps/v1", False),
        ("networking.k8s.io/v1", False),
        ("gateway.networking.k8s.io/v1", True),
        ("ray.io/v1", True),
        ("kind.x-k8s.io/v1alpha4", True),
    ],
)
def test_what_kubernetes_does_not_know_itself_is_custom(version: str, custom: bool) -> None:
    assert is_custom({"apiVersion": version}) is custom
