"""Pods: who they run as, what they may do and ask for, how they are asked whether they are well, and what they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from tests.dockerfile import read
from tests.manifests import (
    K8S,
    OTHERS,
    OVERLAYS,
    Document,
    Pods,
    namespace,
    of_kind,
    overlay,
    plain_name,
    pods,
    quantity,
    rendered,
)

pytestmark = pytest.mark.audit

each_folder = pytest.mark.parametrize("folder", [*(f"overlays/{name}" for name in OVERLAYS), *OTHERS])
each_overlay = pytest.mark.parametrize("name", OVERLAYS)

# Whoever may do more than the rest, and why.
CAPABILITIES = {"DaemonSet turn": ["NET_BIND_SERVICE"]}  # its image marks its program with it
ON_THE_NODES_NETWORK = {
    "DaemonSet turn": "a relay needs its node's address, and many ports of it",
    "Deployment edge": "on a laptop, where the node's address is the one that a browser reaches",
}
WITH_A_TOKEN = {
    "RayService cloud headgroup": "the autoscaler beside the head asks for workers",
}
RESOURCES = {"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}
ONCE = {"render"}  # what runs once and ends, before others start
OPERATORS_PORTS = {52365}  # of Ray's agent, where a probe asks it

USERS = {  # of our own images
    f"antiphon/{path.stem}": read(path).stages[-1].texts("USER")[-1].split(":")[0]
    for path in sorted((K8S / "images").glob("*.Dockerfile"))
}


# -- rights ----------------------------------------------------------------------------------------------------------


@each_folder
def test_nobody_runs_as_root(folder: str) -> None:
    for one in pods(rendered(folder)):
        context = one.spec["securityContext"]
        assert context["runAsNonRoot"] is True, one.owner
        assert context["runAsUser"] > 0, one.owner
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, one.owner
        assert not any({"runAsUser", "runAsNonRoot", "seccompProfile"} & rights(each).keys() for each in one.containers)


@each_folder
def test_nobody_gains_rights_or_writes_where_the_image_is(folder: str) -> None:
    for one in pods(rendered(folder)):
        for container in one.containers:
            context = rights(container)
            assert context["allowPrivilegeEscalation"] is False, one.owner
            assert context["readOnlyRootFilesystem"] is True, one.owner
            assert context["capabilities"]["drop"] == ["ALL"], one.owner
            assert context["capabilities"].get("add", []) in ([], CAPABILITIES.get(one.owner)), one.owner
            assert context.keys() <= {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}


def rights(container: Document) -> Document:
    context = container.get("securityContext", {})
    assert isinstance(context, dict)
    return context


@each_folder
def test_pods_keep_to_themselves(folder: str) -> None:
    """No folder of the node, no process of others, no token, and the node's network only where it must be."""
    for one in pods(rendered(folder)):
        assert not one.spec.get("hostPID"), one.owner
        assert not one.spec.get("hostIPC"), one.owner
        assert not any("hostPath" in volume for volume in one.spec.get("volumes", ())), one.owner
        assert not one.spec.get("hostNetwork") or one.owner in ON_THE_NODES_NETWORK
        assert one.spec["automountServiceAccountToken"] is False or one.owner in WITH_A_TOKEN
        assert one.spec["enableServiceLinks"] is False, one.owner  # they look like settings of ours


@each_overlay
def test_only_on_a_laptop_is_the_edge_on_the_nodes_network(name: str) -> None:
    (edge,) = (one for one in pods(overlay(name)) if one.owner == "Deployment edge")
    assert not edge.spec.get("hostNetwork") or name == "laptop"


@each_folder
def test_our_images_run_as_the_user_whom_they_are_made_for(folder: str) -> None:
    for one in pods(rendered(folder)):
        for container in one.containers:
            if user := USERS.get(container["image"].split(":")[0]):
                assert str(one.spec["securityContext"]["runAsUser"]) == user


@each_folder
def test_roles_are_small(folder: str) -> None:
    for role in of_kind(rendered(folder), "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert not {"*"} & {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}, role["metadata"]["name"]
            assert set(rule["verbs"]) <= {"get", "list", "watch"}, role["metadata"]["name"]
            assert "secrets" not in rule["resources"], role["metadata"]["name"]


# -- resources -------------------------------------------------------------------------------------------------------


@each_folder
def test_each_container_says_what_it_needs(folder: str) -> None:
    for one in pods(rendered(folder)):
        for container in one.containers:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert {"cpu", "memory"} <= requests.keys() <= RESOURCES, one.owner
            assert {"memory"} <= limits.keys() <= RESOURCES, one.owner
            assert all(quantity(requests.get(each, 0)) <= quantity(limits[each]) for each in limits), one.owner


@each_folder
def test_a_gpu_is_not_shared(folder: str) -> None:
    for container in chain.from_iterable(one.containers for one in pods(rendered(folder))):
        resources = container["resources"]
        assert resources["requests"].get("nvidia.com/gpu") == resources["limits"].get("nvidia.com/gpu")


@each_folder
def test_what_is_written_has_a_bound_and_fits(folder: str) -> None:
    """A folder on the node's disk counts as ephemeral storage, one in memory as memory."""
    for one in pods(rendered(folder)):
        empty = [volume["emptyDir"] for volume in one.spec.get("volumes", ()) if "emptyDir" in volume]
        limits = [container["resources"]["limits"] for container in one.lasting]
        for medium, resource in (("Memory", "memory"), ("", "ephemeral-storage")):
            sizes = [quantity(volume["sizeLimit"]) for volume in empty if volume.get("medium", "") == medium]
            assert sum(sizes) <= sum(quantity(each.get(resource, 0)) for each in limits), one.owner


@each_folder
def test_go_collects_its_garbage_before_it_is_killed(folder: str) -> None:
    for container in chain.from_iterable(one.containers for one in pods(rendered(folder))):
        for variable in container.get("env", ()):
            if variable["name"] == "GOMEMLIMIT":
                given = quantity(variable["value"].removesuffix("B"))
                assert given <= 0.9 * quantity(container["resources"]["limits"]["memory"])


# -- health ----------------------------------------------------------------------------------------------------------


@each_folder
def test_whoever_lasts_is_asked_whether_it_is_well(folder: str) -> None:
    for one in pods(rendered(folder)):
        for container in one.lasting if not is_job(one) else ():
            assert {"livenessProbe", "readinessProbe"} <= container.keys(), one.owner


@each_folder
def test_a_slow_start_is_no_death(folder: str) -> None:
    """A startup probe, or a first question that comes late, and then patience for half a minute at least."""
    for one in pods(rendered(folder)):
        for container in one.lasting if not is_job(one) else ():
            alive, start = container["livenessProbe"], container.get("startupProbe")
            assert start or alive.get("initialDelaySeconds", 0) >= 10, one.owner
            assert alive["periodSeconds"] * alive["failureThreshold"] >= 30, one.owner


@each_folder
def test_probes_ask_at_ports_that_there_are(folder: str) -> None:
    for one in pods(rendered(folder)):
        for container in one.lasting:
            names = {port["name"] for port in container.get("ports", ())}
            numbers = {port["containerPort"] for port in container.get("ports", ())} | OPERATORS_PORTS
            for port in probed(container):
                assert port in (names if isinstance(port, str) else numbers), (one.owner, port)


def probed(container: Document) -> Iterator[str | int]:
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        for how in ("httpGet", "tcpSocket", "grpc"):
            if how in container.get(kind, {}):
                yield container[kind][how]["port"]


def is_job(one: Pods) -> bool:
    return one.owner.split()[0] in {"Job", "CronJob"}


@each_folder
def test_ports_have_names_and_do_not_clash(folder: str) -> None:
    """Not in a pod, and not on the node where several are on its network."""
    for one in pods(rendered(folder)):
        assert len({port["name"] for port in one.ports}) == len(one.ports), one.owner
        assert [port for port, count in taken([one]).items() if count > 1] == [], one.owner
    hosted = [one for one in pods(rendered(folder)) if one.spec.get("hostNetwork")]
    assert [port for port, count in taken(hosted).items() if count > 1] == []


def taken(several: list[Pods]) -> Counter[tuple[int, str]]:
    return Counter((port["containerPort"], port.get("protocol", "TCP")) for one in several for port in one.ports)


# -- names -----------------------------------------------------------------------------------------------------------


@each_folder
def test_what_is_mounted_is_a_volume_and_each_volume_is_mounted(folder: str) -> None:
    for document in rendered(folder):
        for one in pods([document]):
            claims = document["spec"].get("volumeClaimTemplates", ())
            volumes = {volume["name"] for volume in one.spec.get("volumes", ())}
            volumes |= {claim["metadata"]["name"] for claim in claims}
            mounts = [mount for container in one.containers for mount in container.get("volumeMounts", ())]
            assert {mount["name"] for mount in mounts} == volumes, one.owner
            places = [
                (container["name"], mount["mountPath"])
                for container in one.containers
                for mount in container.get("volumeMounts", ())
            ]
            assert len(set(places)) == len(places), one.owner


@each_folder
def test_accounts_classes_and_claims_are_there(folder: str) -> None:
    documents = [
        *rendered(folder),
        *(chain.from_iterable(overlay(name) for name in OVERLAYS) if folder in OTHERS else ()),
    ]
    accounts = {(namespace(one), one["metadata"]["name"]) for one in of_kind(documents, "ServiceAccount")}
    claims = {(namespace(one), one["metadata"]["name"]) for one in of_kind(documents, "PersistentVolumeClaim")}
    classes = {one["metadata"]["name"] for one in of_kind(documents, "PriorityClass")}
    for one in pods(rendered(folder)):
        account = one.spec.get("serviceAccountName")
        assert account or one.owner.startswith("RayService") or is_job(one), one.owner  # KubeRay makes the head's own
        assert not account or (one.namespace, account) in accounts, one.owner
        assert one.spec.get("priorityClassName") in {None, *classes}, one.owner
        for volume in one.spec.get("volumes", ()):
            if claim := volume.get("persistentVolumeClaim"):
                assert (one.namespace, claim["claimName"]) in claims, one.owner


@each_folder
def test_configurations_that_are_named_are_there_with_their_keys(folder: str) -> None:
    known = {
        (namespace(one), one["metadata"]["name"]): one["data"].keys() for one in of_kind(rendered(folder), "ConfigMap")
    }
    for one in pods(rendered(folder)):
        for name, keys in named_in(one, "configMap", "configMapRef", "configMapKeyRef"):
            assert (one.namespace, name) in known, (one.owner, name)
            assert keys <= known[one.namespace, name], (one.owner, name)


@each_folder
def test_no_configuration_is_left_over(folder: str) -> None:
    used = {
        (one.namespace, name)
        for one in pods(rendered(folder))
        for name, _ in named_in(one, "configMap", "configMapRef", "configMapKeyRef")
    }
    for custom in of_kind(rendered(folder), "Prometheus"):
        used |= {(namespace(custom), volume["configMap"]["name"]) for volume in custom["spec"].get("volumes", ())}
    known = {(namespace(one), one["metadata"]["name"]) for one in of_kind(rendered(folder), "ConfigMap")}
    assert known - used == set()


@each_folder
def test_secrets_that_are_named_are_made_or_told_of(folder: str) -> None:
    """By a Certificate, or by whoever follows the README, which names each."""
    documents = rendered(folder)
    made = {(namespace(one), one["spec"]["secretName"]) for one in of_kind(documents, "Certificate")}
    readme = (K8S / "README.md").read_text()
    for one in pods(documents):
        for name, _ in named_in(one, "secret", "secretRef", "secretKeyRef"):
            told = re.search(rf"create secret \w+ {re.escape(name)}\b", readme)
            assert told or (one.namespace, name) in made, (one.owner, name)


def named_in(one: Pods, *ways: str) -> Iterator[tuple[str, set[str]]]:
    """Names of ConfigMaps or Secrets that must be there, and which keys of them."""
    for place in dictionaries(one.spec):
        for way in ways:
            found = place.get(way)
            if isinstance(found, dict) and {"name", "secretName"} & found.keys() and not found.get("optional"):
                keys = {item["key"] for item in found.get("items", ())}
                yield found.get("name") or found["secretName"], keys | ({found["key"]} if "key" in found else set())


def dictionaries(value: Any) -> Iterator[Document]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from dictionaries(item)


@each_folder
def test_each_thing_is_in_a_namespace_that_there_is(folder: str) -> None:
    documents = rendered(folder)
    here = {one["metadata"]["name"] for one in of_kind(documents, "Namespace")}
    here |= {one["metadata"]["name"] for name in OVERLAYS for one in of_kind(overlay(name), "Namespace")}
    others = {"envoy-gateway-system"}  # of an operator
    assert {namespace(one) for one in documents} <= here | others | {""}


@each_overlay
def test_pods_may_be_what_their_namespace_allows(name: str) -> None:
    """The strictest of Kubernetes' levels, but where pods are on the network of their node."""
    for one in of_kind(overlay(name), "Namespace"):
        level = one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        hosted = [
            each
            for each in pods(overlay(name))
            if each.namespace == one["metadata"]["name"] and each.spec.get("hostNetwork")
        ]
        assert level == ("privileged" if hosted else "restricted")


@each_overlay
def test_variables_are_defined_once_and_before_they_are_used(name: str) -> None:
    """Kubernetes puts ``$(NAME)`` in only where NAME comes earlier; otherwise it stays as it stands."""
    for one in pods(overlay(name)):
        for container in one.containers:
            known: set[str] = set()
            for variable in container.get("env", ()):
                assert variable["name"] not in known, (one.owner, variable["name"])
                assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= known, (
                    one.owner,
                    variable["name"],
                )
                known.add(variable["name"])


@each_overlay
def test_the_same_things_bear_the_same_labels(name: str) -> None:
    for document in overlay(name):
        labels = document["metadata"].get("labels", {})
        assert (
            document["kind"] in {"ConfigMap", "Secret", "PriorityClass"}
            or labels.get("app.kubernetes.io/part-of") == "antiphon"
        )


def test_plain_names_lose_their_hash_only() -> None:
    assert plain_name("edge-7d8f5h2m4k") == "edge"
    assert plain_name("grafana-datasources") == "grafana-datasources"
    assert plain_name("collector-agent") == "collector-agent"
