"""Who reaches whom: Services, policies of the network, budgets of disruption, monitors, and what scales the edges."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.manifests import (
    OVERLAYS,
    Document,
    Pods,
    everybody,
    matches,
    namespace,
    of_kind,
    overlay,
    pods,
    said,
    seconds,
    selected,
    the,
)
from tests.queries import unknown_names

pytestmark = pytest.mark.audit

each_overlay = pytest.mark.parametrize("name", OVERLAYS)
WITH_POLICIES = [name for name in OVERLAYS if name == "production"]

MADE_BY_OPERATORS = {  # Services that appear when their resource does, with their ports
    ("antiphon", "cloud-serve-svc"): 8000,
    ("antiphon", "cloud-head-svc"): 8000,
    ("envoy-gateway-system", "cloud"): 80,
    ("antiphon-telemetry", "alertmanager-operated"): 9093,
    ("antiphon-telemetry", "prometheus-operated"): 9090,
}
WITHOUT_SCALE = ("DaemonSet", "RayService")  # nobody can be asked how many pods they want
SCRAPER_LABELS = {"namespace"}  # what the operator of Prometheus puts on all that it reads


# -- Services --------------------------------------------------------------------------------------------------------


@each_overlay
def test_a_service_leads_to_one_workload_and_to_ports_that_it_has(name: str) -> None:
    for service in of_kind(overlay(name), "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        found = selected(everybody(overlay(name)), selector, namespace(service))
        assert len({one.owner for one in found}) == 1, said(service)
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in {each["name"] for each in found[0].ports}, said(service)


@each_overlay
def test_addresses_inside_the_cluster_are_those_of_services(name: str) -> None:
    """Wherever one stands: in variables, in arguments, in files of configuration."""
    known = {
        (namespace(one), one["metadata"]["name"]): {port["port"] for port in one["spec"]["ports"]}
        for one in of_kind(overlay(name), "Service")
    }
    known |= {place: {port} for place, port in MADE_BY_OPERATORS.items()}
    for host, in_namespace, port in set(cluster_addresses(list(overlay(name)))):
        assert (in_namespace, host) in known, f"{host}.{in_namespace}"
        assert not port or int(port) in known[in_namespace, host], f"{host}.{in_namespace}:{port}"


def cluster_addresses(value: Any) -> Iterator[tuple[str, str, str]]:
    match value:
        case str():
            yield from re.findall(r"([\w-]+)\.([\w-]+)\.svc\.cluster\.local(?::(\d+))?", value)
        case dict():
            for item in value.values():
                yield from cluster_addresses(item)
        case list():
            for item in value:
                yield from cluster_addresses(item)


# -- disruption ------------------------------------------------------------------------------------------------------


@each_overlay
def test_a_budget_is_of_one_workload_and_lets_it_move(name: str) -> None:
    for budget in of_kind(overlay(name), "PodDisruptionBudget"):
        found = selected(everybody(overlay(name)), budget["spec"]["selector"], namespace(budget))
        assert len({one.owner for one in found}) == 1, said(budget)
        assert budget["spec"].get("maxUnavailable") != 0
        if found[0].owner.split()[0] in WITHOUT_SCALE:
            assert "minAvailable" in budget["spec"], said(budget)
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", said(budget)


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_what_has_several_pods_is_not_moved_all_at_once(name: str) -> None:
    budgets = of_kind(overlay(name), "PodDisruptionBudget")
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of_kind(overlay(name), "ScaledObject")}
    for document in of_kind(overlay(name), "Deployment", "StatefulSet", "Prometheus", "Alertmanager", "RayService"):
        several = document["spec"].get("replicas", 1) > 1 or document["metadata"]["name"] in scaled
        for one in everybody([document]):
            if several or one.labels.get("ray.io/node-type") == "worker":
                assert [
                    budget for budget in budgets if selected([one], budget["spec"]["selector"], namespace(budget))
                ], one.owner


# -- policies --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outsider:
    """Who is no pod of ours: by the namespace of an operator, or by an address."""

    namespace: str = ""
    address: str = ""
    labels: Mapping[str, str] | None = None


def reaches(
    documents: tuple[Document, ...], source: Pods | Outsider, target: Pods | Outsider, port: int, protocol: str = "TCP"
) -> bool:
    """Whether the policies of both ends let it through, as Kubernetes reads them."""
    leaves = _lets(documents, "Egress", source, target, (port, protocol))
    return leaves and _lets(documents, "Ingress", target, source, (port, protocol))


def _lets(
    documents: tuple[Document, ...], way: str, own: Pods | Outsider, other: Pods | Outsider, port: tuple[int, str]
) -> bool:
    """Everything goes where no policy is about it; otherwise what any of them lets through."""
    if isinstance(own, Outsider) or own.spec.get("hostNetwork"):
        return True
    policies = [
        policy["spec"]
        for policy in of_kind(documents, "NetworkPolicy")
        if way in policy["spec"]["policyTypes"] and selected([own], policy["spec"]["podSelector"], namespace(policy))
    ]
    end = {"Egress": "to", "Ingress": "from"}[way]
    rules = [rule for policy in policies for rule in policy.get(way.lower(), ())]
    return not policies or any(
        _is_port(rule.get("ports"), *port) and _is_peer(documents, rule.get(end), own.namespace, other)
        for rule in rules
    )


def _is_port(ports: list[Document] | None, port: int, protocol: str) -> bool:
    return ports is None or any(
        int(one["port"]) <= port <= int(one.get("endPort") or one["port"]) and one.get("protocol", "TCP") == protocol
        for one in ports
    )


def _is_peer(documents: tuple[Document, ...], peers: list[Document] | None, own: str, other: Pods | Outsider) -> bool:
    return peers is None or any(_means(documents, peer, own, other) for peer in peers)


def _means(documents: tuple[Document, ...], peer: Document, own: str, other: Pods | Outsider) -> bool:
    if "ipBlock" in peer:
        address = other.address if isinstance(other, Outsider) else ""
        return bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    if isinstance(other, Outsider) and not other.namespace:
        return False
    there = namespace_labels(documents, other.namespace)
    in_namespace = matches(peer["namespaceSelector"], there) if "namespaceSelector" in peer else other.namespace == own
    return in_namespace and matches(peer.get("podSelector", {}), other.labels or {})


def namespace_labels(documents: tuple[Document, ...], name: str) -> dict[str, str]:
    (labels,) = [
        one["metadata"]["labels"] for one in of_kind(documents, "Namespace") if one["metadata"]["name"] == name
    ] or [{}]
    return {"kubernetes.io/metadata.name": name, **labels}


NODE = Outsider(address="10.0.3.4")
INTERNET = Outsider(address="203.0.113.9")
API_SERVER = Outsider(address="10.96.0.1")
GATEWAY = Outsider("envoy-gateway-system")
OPERATOR = Outsider("kuberay-system")
KEDA = Outsider("keda")
STRANGER = Outsider("default")
NAMES = Outsider("kube-system", labels={"k8s-app": "kube-dns"})
OUTSIDERS = {name.lower(): value for name, value in list(globals().items()) if isinstance(value, Outsider)}

NEEDED = """
gateway -> edge 8080
node -> edge 40000/UDP
edge -> gateway 10080
edge -> collector-agent 4318
edge -> names 53/UDP
gateway -> worker 8000
head -> worker 10002
worker -> head 6379
worker -> worker 20000
head -> redis 6379
head -> api_server 443
operator -> head 8265
worker -> collector-agent 4318
collector-agent -> collector-gateway 4317
collector-gateway -> jaeger 4317
jaeger -> prometheus 9090
grafana -> prometheus 9090
grafana -> jaeger 16686
keda -> prometheus 9090
prometheus -> alertmanager 9093
prometheus -> api_server 443
prometheus -> node 9641
alertmanager -> internet 443
"""
REFUSED = """
stranger -> edge 8080
internet -> edge 8080
internet -> worker 8000
stranger -> worker 8000
stranger -> head 8265
stranger -> redis 6379
edge -> redis 6379
edge -> head 8265
edge -> head 6379
edge -> prometheus 9090
edge -> internet 443
worker -> internet 443
worker -> edge 8080
worker -> api_server 443
redis -> internet 443
jaeger -> internet 443
collector-gateway -> internet 443
stranger -> collector-gateway 4317
stranger -> prometheus 9090
stranger -> grafana 3000
stranger -> alertmanager 9093
edge -> jaeger 4317
gateway -> redis 6379
"""


def flows(text: str) -> list[tuple[str, str, int, str]]:
    found = re.findall(r"^([\w-]+) -> ([\w-]+) (\d+)(?:/(\w+))?$", text, re.MULTILINE)
    assert len(found) == len(text.strip().splitlines())
    return [(source, target, int(port), protocol or "TCP") for source, target, port, protocol in found]


def whoever(name: str, called: str) -> Pods | Outsider:
    if called in OUTSIDERS:
        return OUTSIDERS[called]
    own = {"head": "ray.io/node-type", "worker": "ray.io/node-type"}.get(called, "app.kubernetes.io/name")
    found = [one for one in everybody(overlay(name)) if one.labels.get(own) == called]
    assert found, called
    # KubeRay's pods know which cluster they are of.
    one = found[0]
    added = {"ray.io/cluster": "cloud-x"} if own == "ray.io/node-type" else {}
    return Pods(one.owner, one.namespace, {**one.labels, **added}, one.spec)


@pytest.mark.parametrize("name", WITH_POLICIES)
@pytest.mark.parametrize("flow", flows(NEEDED), ids=lambda flow: f"{flow[0]}-{flow[1]}-{flow[2]}")
def test_what_is_needed_gets_through(name: str, flow: tuple[str, str, int, str]) -> None:
    source, target, port, protocol = flow
    assert reaches(overlay(name), whoever(name, source), whoever(name, target), port, protocol)


@pytest.mark.parametrize("name", WITH_POLICIES)
@pytest.mark.parametrize("flow", flows(REFUSED), ids=lambda flow: f"{flow[0]}-{flow[1]}-{flow[2]}")
def test_nothing_else_does(name: str, flow: tuple[str, str, int, str]) -> None:
    source, target, port, protocol = flow
    assert not reaches(overlay(name), whoever(name, source), whoever(name, target), port, protocol)


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_in_each_namespace_nothing_goes_that_is_not_said(name: str) -> None:
    closed = {
        namespace(policy)
        for policy in of_kind(overlay(name), "NetworkPolicy")
        if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert closed == {one["metadata"]["name"] for one in of_kind(overlay(name), "Namespace")}


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_each_policy_is_of_somebody(name: str) -> None:
    for policy in of_kind(overlay(name), "NetworkPolicy"):
        everyone = [whoever_has_cluster(one) for one in everybody(overlay(name))]
        assert selected(everyone, policy["spec"]["podSelector"], namespace(policy)), said(policy)


def whoever_has_cluster(one: Pods) -> Pods:
    added = {"ray.io/cluster": "cloud-x"} if "ray.io/node-type" in one.labels else {}
    return Pods(one.owner, one.namespace, {**one.labels, **added}, one.spec)


# -- monitors --------------------------------------------------------------------------------------------------------


@each_overlay
def test_a_monitor_finds_pods_with_its_port(name: str) -> None:
    for monitor in of_kind(overlay(name), "PodMonitor"):
        found = selected(pods(overlay(name)), monitor["spec"]["selector"], namespace(monitor))
        assert found, said(monitor)
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert any(port["name"] == endpoint["port"] for one in found for port in one.ports), said(monitor)


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_the_prometheus_reads_each_monitor_and_each_rule_and_gets_through(name: str) -> None:
    (prometheus,) = of_kind(overlay(name), "Prometheus")
    spec = prometheus["spec"]
    for kind, own, where in (
        ("PodMonitor", "podMonitorSelector", "podMonitorNamespaceSelector"),
        ("PrometheusRule", "ruleSelector", "ruleNamespaceSelector"),
    ):
        for document in of_kind(overlay(name), kind):
            assert matches(spec[own], document["metadata"]["labels"]), said(document)
            assert matches(spec[where], namespace_labels(overlay(name), namespace(document))), said(document)
    scraper = whoever(name, "prometheus")
    for monitor in of_kind(overlay(name), "PodMonitor"):
        for one in selected(pods(overlay(name)), monitor["spec"]["selector"], namespace(monitor)):
            there = whoever_has_cluster(one)
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                for port in (port for port in one.ports if port["name"] == endpoint["port"]):
                    target = NODE if one.spec.get("hostNetwork") else there
                    assert reaches(overlay(name), scraper, target, port["containerPort"]), (said(monitor), one.owner)


# -- scaling ---------------------------------------------------------------------------------------------------------


@each_overlay
def test_what_is_scaled_is_there_and_leaves_its_number_open(name: str) -> None:
    for scaled in of_kind(overlay(name), "ScaledObject", "HorizontalPodAutoscaler"):
        target = scaled["spec"]["scaleTargetRef"]
        deployment = the(overlay(name), target["kind"], target["name"])
        assert target["apiVersion"] == deployment["apiVersion"]
        assert namespace(deployment) == namespace(scaled)
        assert "replicas" not in deployment["spec"]  # else each `kubectl apply` would set it


@each_overlay
def test_what_it_is_scaled_by_is_measured(name: str) -> None:
    for scaled in of_kind(overlay(name), "ScaledObject"):
        spec = scaled["spec"]
        assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
        for trigger in spec["triggers"]:
            query = re.sub(r'\{namespace="[\w-]+"\}', "", trigger["metadata"]["query"])
            assert unknown_names(query) == []
            server = urlsplit(trigger["metadata"]["serverAddress"])
            assert server.hostname
            assert server.hostname.split(".")[0] == "prometheus"


@each_overlay
def test_each_alert_asks_for_what_is_measured(name: str) -> None:
    for rule in of_kind(overlay(name), "PrometheusRule"):
        for group in rule["spec"]["groups"]:
            for one in group["rules"]:
                assert unknown_names(one["expr"]) == [], one
                assert seconds(one.get("for", "0s")) >= 0


# -- the way in ------------------------------------------------------------------------------------------------------


@each_overlay
def test_a_route_leads_from_a_listener_to_a_service(name: str) -> None:
    gateways = {one["metadata"]["name"]: one["spec"]["listeners"] for one in of_kind(overlay(name), "Gateway")}
    services = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
        for one in of_kind(overlay(name), "Service")
    }
    for route in of_kind(overlay(name), "HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            (listener,) = (one for one in gateways[parent["name"]] if one["name"] == parent["sectionName"])
            assert route["spec"]["hostnames"] == [listener["hostname"]]
        for rule in route["spec"]["rules"]:
            assert all(end["port"] in services[end["name"]] for end in rule.get("backendRefs", ()))
            assert rule.get("backendRefs") or rule.get("filters")


@each_overlay
def test_nothing_goes_in_without_tls(name: str) -> None:
    """But a word that sends callers to where it does."""
    certificates = {
        (namespace(one), one["spec"]["secretName"]): one["spec"]["dnsNames"]
        for one in of_kind(overlay(name), "Certificate")
    }
    for gateway in of_kind(overlay(name), "Gateway"):
        for listener in gateway["spec"]["listeners"]:
            routes = [
                route
                for route in of_kind(overlay(name), "HTTPRoute")
                for parent in route["spec"]["parentRefs"]
                if (parent["name"], parent["sectionName"]) == (gateway["metadata"]["name"], listener["name"])
            ]
            if listener["protocol"] == "HTTPS":
                (certificate,) = listener["tls"]["certificateRefs"]
                assert listener["hostname"] in certificates[namespace(gateway), certificate["name"]]
            else:
                rules = [rule for route in routes for rule in route["spec"]["rules"]]
                assert all(rule["filters"][0]["requestRedirect"]["scheme"] == "https" for rule in rules)
                assert not any(rule.get("backendRefs") for rule in rules)


@each_overlay
def test_only_what_callers_need_is_open_to_them(name: str) -> None:
    paths = {
        match["path"]["value"]
        for route in of_kind(overlay(name), "HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule.get("matches", ())
    }
    assert paths <= {"/", "/page", "/v1/realtime", "/healthz", "/readyz"}
    assert all(one["spec"].get("type", "ClusterIP") == "ClusterIP" for one in of_kind(overlay(name), "Service"))
