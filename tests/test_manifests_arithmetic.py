"""Numbers that stand in several places and must fit: times to drain, places for replicas, memory of GPUs and edges."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from deployments.engine.settings import EngineSettings
from deployments.engine.shape import shape_of
from deployments.settings import AppSettings, checked
from edge_client.settings import EdgeSettings
from tests.manifests import OVERLAYS, ROOT, Document, Pods, of_kind, overlay, pods, quantity, seconds, the
from tests.test_manifests import read_edge

pytestmark = pytest.mark.audit

each_overlay = pytest.mark.parametrize("name", OVERLAYS)

LEAVE_SEC = 15.0  # to write the last spans and to close what is open, after all has been answered
RAY_DRAIN_SEC = 30.0  # RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S where nobody sets it
MIB = 2**20
# Of LFM2.5-Audio-1.5B, as published: the model in bfloat16 and the detokenizer in float32.
WEIGHT_BYTES = 2_940_723_992 + 314_137_512
GPU_SHARE = 0.9  # of its memory: the rest is CUDA's own, recorded graphs, and what a step computes with


def edge_of(name: str) -> Pods:
    return pods_of(name, "Deployment edge")


def pods_of(name: str, owner: str) -> Pods:
    (found,) = (one for one in pods(overlay(name)) if one.owner == owner)
    return found


def workers_of(name: str) -> list[tuple[Document, Pods]]:
    """Each group of Ray's workers, and its pods."""
    groups = the(overlay(name), "RayService", "cloud")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return [(group, pods_of(name, f"RayService cloud {group['groupName']}")) for group in groups]


def application_of(name: str) -> AppSettings:
    service = the(overlay(name), "RayService", "cloud")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    return checked(application["args"])


def variable(one: Pods, name: str) -> str | None:
    found = [each.get("value") for each in one.lasting[0].get("env", ()) if each["name"] == name]
    return found[0] if found else None


def longest_turn_sec(edge: EdgeSettings, application: AppSettings) -> float:
    """From the first word to the last sample of the answer."""
    engine = EngineSettings.model_validate(application.model_settings) if is_engine(application) else EngineSettings()
    return edge.turn_taking.maximum_turn_sec + engine.maximum_reply_sec


def is_engine(application: AppSettings) -> bool:
    return application.model == "lfm2-audio"


# -- time ------------------------------------------------------------------------------------------------------------


@each_overlay
def test_an_edge_may_drain_before_it_is_killed(name: str) -> None:
    edge = edge_of(name)
    waits = edge.lasting[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    settings = read_edge(name)
    assert settings.drain_sec > 0
    assert edge.spec["terminationGracePeriodSeconds"] >= waits + settings.drain_sec + LEAVE_SEC


@each_overlay
def test_an_edge_is_taken_from_the_list_before_it_ends(name: str) -> None:
    """It goes on taking callers until nobody is sent there: readiness, and then every proxy's list."""
    edge = edge_of(name).lasting[0]
    assert edge["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5


@each_overlay
def test_a_drain_outlasts_a_turn(name: str) -> None:
    """Else callers could not leave between two turns."""
    assert read_edge(name).drain_sec >= 0.5 * longest_turn_sec(read_edge(name), application_of(name))


@each_overlay
def test_a_worker_may_drain_before_it_is_killed(name: str) -> None:
    application = application_of(name)
    for _, one in workers_of(name):
        drain = float(variable(one, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S") or RAY_DRAIN_SEC)
        assert drain >= application.replicas.drain_sec  # Ray ends its node then, with whoever still answers there
        wanted = drain + application.replicas.drain_sec + LEAVE_SEC
        assert one.spec["terminationGracePeriodSeconds"] >= wanted
        assert "preStop" not in one.lasting[0].get("lifecycle", {})  # `ray stop` would end replicas at once


@each_overlay
def test_a_replica_may_end_the_longest_reply(name: str) -> None:
    application = application_of(name)
    if is_engine(application):
        engine = EngineSettings.model_validate(application.model_settings)
        assert application.replicas.drain_sec >= engine.maximum_reply_sec


@each_overlay
def test_the_old_cluster_outlives_its_turns(name: str) -> None:
    service = the(overlay(name), "RayService", "cloud")
    wanted = longest_turn_sec(read_edge(name), application_of(name)) + application_of(name).replicas.drain_sec
    assert service["spec"]["rayClusterDeletionDelaySeconds"] >= wanted + LEAVE_SEC


@each_overlay
def test_a_step_of_an_upgrade_is_longer_than_a_turn(name: str) -> None:
    upgrade = the(overlay(name), "RayService", "cloud")["spec"]["upgradeStrategy"]
    if upgrade["type"] == "NewClusterWithIncrementalUpgrade":
        assert upgrade["clusterUpgradeOptions"]["intervalSeconds"] >= longest_turn_sec(
            read_edge(name), application_of(name)
        )


@each_overlay
def test_proxies_on_the_way_wait_as_long_as_a_turn_or_a_call_takes(name: str) -> None:
    edge = read_edge(name)
    turn = longest_turn_sec(edge, application_of(name))
    for proxy in of_kind(overlay(name), "EnvoyProxy"):
        assert seconds(proxy["spec"]["shutdown"]["drainTimeout"]) >= turn
    for policy in of_kind(overlay(name), "BackendTrafficPolicy", "ClientTrafficPolicy"):
        for what, limit in policy["spec"]["timeout"]["http"].items():
            if what != "requestHeadersReceivedTimeout":
                assert seconds(limit) in (0, pytest.approx(seconds(limit))), what
                assert seconds(limit) == 0 or seconds(limit) > edge.limits.idle_sec, what


@each_overlay
def test_a_relay_may_drain_before_it_is_killed(name: str) -> None:
    for one in (one for one in pods(overlay(name)) if one.owner == "DaemonSet turn"):
        hook = str(one.lasting[0].get("lifecycle", {}))
        waits = [int(each) for each in re.findall(r"sleep (\d+)", hook)]
        assert one.spec["terminationGracePeriodSeconds"] >= sum(waits) + LEAVE_SEC


@each_overlay
def test_a_cold_start_is_as_long_as_the_plan_says(name: str) -> None:
    """The policy adds replicas ahead of what callers do meanwhile; workers that wait are not taken away so soon."""
    application = application_of(name)
    for group, _ in workers_of(name):
        if application.autoscaling:
            assert group["idleTimeoutSeconds"] > application.autoscaling.cold_start_sec


# -- places ----------------------------------------------------------------------------------------------------------


def replicas_of(application: AppSettings) -> tuple[int, int]:
    """How few and how many."""
    scaling = application.autoscaling
    return (scaling.minimum_replicas, scaling.maximum_replicas) if scaling else (application.replicas.count,) * 2


def places_in(one: Pods, application: AppSettings) -> int:
    """Replicas that one worker has room for, with processors left for the doors."""
    requests = one.lasting[0]["resources"]["requests"]
    needs = {"cpu": application.replicas.cpus, "nvidia.com/gpu": application.replicas.gpus}
    return min(int(quantity(requests.get(what, 0)) / each) for what, each in needs.items() if each)


@each_overlay
def test_workers_have_room_for_the_replicas(name: str) -> None:
    application = application_of(name)
    fewest, most = replicas_of(application)
    groups = workers_of(name)
    assert sum(group["maxReplicas"] * places_in(one, application) for group, one in groups) >= most
    assert sum(group["minReplicas"] * places_in(one, application) for group, one in groups) >= fewest
    for group, _ in groups:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@each_overlay
def test_one_worker_is_warm_where_replicas_grow(name: str) -> None:
    application = application_of(name)
    if application.autoscaling:
        fewest, _ = replicas_of(application)
        assert sum(group["minReplicas"] * places_in(one, application) for group, one in workers_of(name)) > fewest


@each_overlay
def test_ray_grows_where_serve_does(name: str) -> None:
    cluster = the(overlay(name), "RayService", "cloud")["spec"]["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is (application_of(name).autoscaling is not None)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@each_overlay
def test_a_budget_keeps_as_many_workers_as_replicas_must_be(name: str) -> None:
    for budget in of_kind(overlay(name), "PodDisruptionBudget"):
        if budget["metadata"]["name"] == "cloud-workers":
            fewest, _ = replicas_of(application_of(name))
            assert budget["spec"]["minAvailable"] == fewest
            assert budget["spec"]["minAvailable"] < sum(group["minReplicas"] for group, _ in workers_of(name))


@each_overlay
def test_ray_is_the_version_of_the_pins(name: str) -> None:
    pinned = re.search(r"^ray==(\S+)", (ROOT / "requirements-serve.txt").read_text(), re.MULTILINE)
    assert pinned
    assert the(overlay(name), "RayService", "cloud")["spec"]["rayClusterConfig"]["rayVersion"] == pinned[1]


@each_overlay
def test_an_edge_is_added_before_one_is_full(name: str) -> None:
    for scaled in of_kind(overlay(name), "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            assert float(trigger["metadata"]["threshold"]) <= 0.8 * read_edge(name).maximum_sessions


@each_overlay
def test_scaling_down_waits_for_the_drain(name: str) -> None:
    """One edge after the other, and not again while the last one may still be draining."""
    for scaled in of_kind(overlay(name), "ScaledObject"):
        behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        assert behavior["stabilizationWindowSeconds"] >= read_edge(name).drain_sec
        assert [policy["value"] for policy in behavior["policies"]] == [1]


# -- memory ----------------------------------------------------------------------------------------------------------


@each_overlay
def test_an_edge_has_the_memory_that_it_was_measured_with(name: str) -> None:
    """Of each process with its models, and of each call: configs/plan.yaml has both."""
    plan = yaml.safe_load((ROOT / "configs" / "plan.yaml").read_text())["gateways"]
    settings = read_edge(name)
    wanted = settings.workers * plan["base_mib"] + settings.maximum_sessions * plan["session_mib"]
    resources = edge_of(name).lasting[0]["resources"]
    assert quantity(resources["requests"]["memory"]) / MIB >= wanted
    assert quantity(resources["limits"]["memory"]) >= 1.25 * quantity(resources["requests"]["memory"])


@each_overlay
def test_the_sessions_of_a_replica_fit_on_its_gpu(name: str) -> None:
    application = application_of(name)
    if is_engine(application):
        engine = EngineSettings.model_validate(application.model_settings)
        kept = engine.slots * engine.slot_positions * shape_of(released()).kv_bytes_per_position(itemsize=2)
        for _, one in workers_of(name):
            assert kept + WEIGHT_BYTES <= GPU_SHARE * gpu_memory(one) * application.replicas.gpus


def released() -> dict[str, Any]:
    """The shape of LFM2.5-Audio-1.5B."""
    from deployments.engine.random_checkpoint import PRESETS, model_config

    return model_config(PRESETS["full"], text_run=6, audio_run=12)


def gpu_memory(one: Pods) -> float:
    """In bytes, at least: pods go to nodes only whose GPUs have more MiB than the affinity says."""
    affinity = one.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    (expression,) = (each for each in term["matchExpressions"] if each["key"] == "nvidia.com/gpu.memory")
    assert expression["operator"] == "Gt"
    return float(expression["values"][0]) * MIB


@each_overlay
def test_a_replica_keeps_a_slot_for_each_turn_that_it_answers(name: str) -> None:
    application = application_of(name)
    if is_engine(application):
        engine = EngineSettings.model_validate(application.model_settings)
        turns = engine.scheduler.maximum_running + engine.scheduler.maximum_waiting
        assert engine.slots >= turns
        assert application.replicas.maximum_turns >= turns


@each_overlay
def test_what_ray_keeps_in_memory_fits_there(name: str) -> None:
    cluster = the(overlay(name), "RayService", "cloud")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        spec = group["template"]["spec"]
        (shared,) = (volume for volume in spec["volumes"] if volume["name"] == "shared-mem")
        store = int(group["rayStartParams"]["object-store-memory"])
        memory = quantity(spec["containers"][0]["resources"]["requests"]["memory"])
        assert store < quantity(shared["emptyDir"]["sizeLimit"]) < 0.5 * memory


@each_overlay
def test_the_weights_fit_in_their_volume_twice(name: str) -> None:
    """A new version is put beside the old one before replicas change over."""
    for claim in of_kind(overlay(name), "PersistentVolumeClaim"):
        assert quantity(claim["spec"]["resources"]["requests"]["storage"]) >= 2 * WEIGHT_BYTES
