"""The manifests of k8s/ as `kubectl kustomize` renders them, and what is asked of them in tests."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.audit import AUDIT, audit_tool, kubectl

ROOT = Path(__file__).parent.parent
K8S = ROOT / "k8s"
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
OTHERS = sorted(  # what is applied by itself, before or beside an overlay
    str(path.relative_to(K8S))
    for path in K8S.glob("*/*.yaml")
    if not (path.parent / "kustomization.yaml").exists() and not path.name.startswith(".")
)
KUBERNETES = ("1.33", "1.37")  # the oldest and the newest that the manifests are for

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of one workload, or of one group of Ray's nodes."""

    owner: str  # as in "Deployment edge", "RayService cloud head"
    namespace: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def lasting(self) -> list[Document]:
        """Those that run as long as the pod does."""
        initial = self.spec.get("initContainers", ())
        return [*(one for one in initial if one.get("restartPolicy") == "Always"), *self.spec["containers"]]

    @property
    def ports(self) -> list[Document]:
        return [port for container in self.lasting for port in container.get("ports", ())]


@cache
def rendered(folder: str) -> tuple[Document, ...]:
    """All documents of a kustomization below k8s/, ``overlays/laptop`` for example, or of a file there."""
    if folder in OTHERS:
        return tuple(yaml.safe_load_all((K8S / folder).read_text()))
    outcome = subprocess.run([kubectl(), "kustomize", K8S / folder], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return tuple(document for document in yaml.load_all(outcome.stdout, Loader=yaml.CSafeLoader) if document)


def overlay(name: str) -> tuple[Document, ...]:
    return rendered(f"overlays/{name}")


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def the(documents: Iterable[Document], kind: str, name: str) -> Document:
    """The one of that kind and name; generated names count without the hash behind them."""
    (found,) = (one for one in of_kind(documents, kind) if plain_name(one["metadata"]["name"]) == name)
    return found


def plain_name(name: str) -> str:
    """Without the hash that kustomize puts behind the names of what it generates."""
    return re.sub(r"-[0-9bcdfghkmt5-9]{10}$", "", name)


def said(document: Document) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def namespace(document: Document) -> str:
    return str(document["metadata"].get("namespace", ""))


def pods(documents: Iterable[Document]) -> list[Pods]:
    return [one for document in documents for one in _pods(document)]


def _pods(document: Document) -> Iterator[Pods]:
    spec = document.get("spec", {})
    match document["kind"]:
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            yield _of_template(said(document), document, spec["template"])
        case "CronJob":
            yield _of_template(said(document), document, spec["jobTemplate"]["spec"]["template"])
        case "RayService":
            yield from _ray_pods(document, spec["rayClusterConfig"])


def _ray_pods(document: Document, cluster: Document) -> Iterator[Pods]:
    """With the labels that KubeRay adds, and the ports of the containers it completes."""
    groups = [("head", "headgroup", cluster["headGroupSpec"])]
    groups += [("worker", group["groupName"], group) for group in cluster.get("workerGroupSpecs", ())]
    for node_type, name, group in groups:
        added = {"ray.io/node-type": node_type, "ray.io/group": name, "ray.io/is-ray-node": "yes"}
        added["ray.io/serve"] = "true"  # while the proxy there is well
        yield _of_template(f"{said(document)} {name}", document, group["template"], added)


def _of_template(owner: str, document: Document, template: Document, added: Mapping[str, str] | None = None) -> Pods:
    labels = {**template.get("metadata", {}).get("labels", {}), **(added or {})}
    return Pods(owner, namespace(document), labels, template["spec"])


def selected(pods_: Iterable[Pods], selector: Mapping[str, Any], in_namespace: str) -> list[Pods]:
    """Those that a selector with matchLabels and matchExpressions means."""
    return [one for one in pods_ if one.namespace == in_namespace and matches(selector, one.labels)]


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}, selector
    wanted = selector.get("matchLabels", {})
    return all(labels.get(name) == value for name, value in wanted.items()) and all(
        expression_holds(expression, labels) for expression in selector.get("matchExpressions", ())
    )


def expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise AssertionError(expression)


# -- quantities ------------------------------------------------------------------------------------------------------

UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(value: str | int | float) -> float:
    """What ``500m``, ``2``, ``1Gi`` or ``1200M`` says, in cores or bytes."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(value))
    assert found, value
    return float(found[1]) * UNITS[found[2]]


def seconds(value: str) -> float:
    """What Prometheus and others write as ``90s``, ``5m`` or ``1h30m``."""
    parts = re.findall(r"(\d+)(ms|s|m|h|d)", value)
    assert "".join(map("".join, parts)) == value, value
    return sum(int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for number, unit in parts)


# -- Kubernetes' own schemas -----------------------------------------------------------------------------------------


def schema_faults(documents: Sequence[Mapping[str, Any]], version: str) -> list[str | None]:
    """What Kubernetes has against each of the documents."""
    audit_tool("kubernetes-validate")
    outcome = subprocess.run(
        [AUDIT / "python", ROOT / "tests" / "kubernetes_check.py", version],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    faults = json.loads(outcome.stdout)
    assert isinstance(faults, list)
    return faults


# -- pods that operators make ----------------------------------------------------------------------------------------


def everybody(documents: Iterable[Document]) -> list[Pods]:
    """All pods, those too that an operator makes of its resources, with the labels and the ports that it gives them."""
    documents = list(documents)
    return [*pods(documents), *(operated(one) for one in of_kind(documents, "Prometheus", "Alertmanager"))]


def operated(document: Document) -> Pods:
    name, kind = document["metadata"]["name"], document["kind"].lower()
    labels = {kind: name, "app.kubernetes.io/name": kind, "app.kubernetes.io/managed-by": "prometheus-operator"}
    ports = {"prometheus": {"web": 9090}, "alertmanager": {"web": 9093, "mesh-tcp": 9094}}[kind]
    listening = [{"name": port, "containerPort": number} for port, number in ports.items()]
    spec = {"containers": [{"name": kind, "ports": listening}], **document["spec"]}
    return Pods(said(document), namespace(document), labels, spec)
