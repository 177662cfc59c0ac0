"""What Ray Serve asks the policy, and what it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployments.autoscaling import AutoscalingSettings, Report, as_stats
from deployments.model_settings import settings_of
from deployments.settings import AppSettings
from routing.errors import SettingsError
from routing.load import Load

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingConfig, AutoscalingContext

# Ray takes seconds to import, so that is done in the tests: quick ones do not pay for it.
pytestmark = pytest.mark.slow

SETTINGS = AutoscalingSettings(maximum_replicas=10)
IDLE = Load(slots=8, in_use=0)
FULL = Load(slots=8, in_use=8)


def context(
    *reports: Report | None,
    target: int | None = None,
    now: float = 0.0,
    state: dict[str, Any] | None = None,
) -> AutoscalingContext:
    """As Serve's controller makes it, with the last two reports of each running replica; the older ones say "idle"."""
    from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
    from ray.serve.config import AutoscalingContext

    deployment = DeploymentID("replica", "antiphon")
    replicas = [ReplicaID(f"r{number}", deployment) for number in range(len(reports))]
    raw: dict[str, dict[ReplicaID, list[TimeStampedValue]]] = {}
    for replica, report in zip(replicas, reports, strict=True):
        older, newer = as_stats(IDLE), as_stats(*report) if report else {}
        for name, value in newer.items():
            series = [TimeStampedValue(now - 1.0, older[name]), TimeStampedValue(now, value)]
            raw.setdefault(name, {})[replica] = series
    return AutoscalingContext(
        deployment_id=deployment,
        deployment_name=deployment.name,
        app_name=deployment.app_name,
        current_num_replicas=len(replicas),
        target_num_replicas=len(replicas) if target is None else target,
        running_replicas=replicas,
        total_num_requests=0.0,
        total_queued_requests=0.0,
        aggregated_metrics=None,
        raw_metrics=raw,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=10,
        policy_state=state or {},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now,
        config=config_for(SETTINGS),
    )


def config_for(settings: AutoscalingSettings) -> AutoscalingConfig:
    from deployments.serve_autoscaling import autoscaling_config

    return autoscaling_config(settings)


def policy_of(config: AutoscalingConfig) -> Any:
    """What the controller makes of it, after the class has travelled as bytes."""
    found = config.policy.get_policy()
    return found(**config.policy.policy_kwargs)


def test_the_last_report_of_each_replica_counts() -> None:
    from deployments.serve_autoscaling import reports_of

    reports = [Report(replace(FULL, waiting=2, queue_wait_sec=0.5, first_audio_p95_sec=0.7), 3), Report(IDLE, 0)]
    assert reports_of(context(*reports, None)) == reports


def test_the_policy_travels_by_its_name_and_decides() -> None:
    policy = policy_of(config_for(SETTINGS))
    assert type(policy).__name__ == "SlotPolicy"
    target, state = policy(context(Report(FULL, 0), Report(FULL, 0)))
    assert target == 3
    assert policy(context(Report(FULL, 0), Report(FULL, 0), Report(FULL, 0), now=1.0, state=state))[0] == 4


def test_those_that_start_and_those_that_leave_are_not_asked_for_twice() -> None:
    policy = policy_of(config_for(SETTINGS))
    assert policy(context(Report(FULL, 0), Report(FULL, 0), target=4))[0] == 4
    assert policy(context(Report(IDLE, 0), Report(IDLE, 0), Report(IDLE, 0), target=2))[0] == 2
    assert policy(context(target=2))[0] == 2


def test_serve_adds_nothing_to_what_the_policy_says() -> None:
    """Its factors and delays stand around the policy: up and down are followed in the same moment."""
    from ray.serve.autoscaling_policy import _apply_autoscaling_config

    asked = _apply_autoscaling_config(policy_of(config_for(SETTINGS.model_copy(update={"look_back_sec": 3.0}))))
    full = [Report(FULL, 0)] * 2
    target, state = asked(context(*full))
    assert target == 3
    for now in (1.0, 2.0, 3.0, 4.0):
        target, state = asked(context(*[Report(IDLE, 0)] * 3, now=now, state=state))
    assert target == 2
    target, _ = asked(context(*full, now=5.0, state=state))
    assert target == 3


def test_the_configuration_says_how_often_replicas_tell() -> None:
    config = config_for(SETTINGS)
    assert config.metrics_interval_s == SETTINGS.report_every_sec
    assert (config.min_replicas, config.max_replicas) == (SETTINGS.minimum_replicas, SETTINGS.maximum_replicas)


def test_the_application_names_the_setting_that_may_be_meant() -> None:
    with pytest.raises(SettingsError, match=r"autoscaling\.ocupancy: there is no such setting; did you mean occupancy"):
        settings_of(AppSettings, {"autoscaling": {"ocupancy": 0.5}})
    settings = AppSettings.model_validate({"autoscaling": {"occupancy": 0.5}}).autoscaling
    assert settings is not None
    assert policy_of(config_for(settings))(context(Report(replace(IDLE, in_use=5), 0)))[0] == 2


def test_settings_are_checked_where_the_policy_is_made() -> None:
    from deployments.serve_autoscaling import SlotPolicy

    with pytest.raises(ValueError, match="maximum_replica"):
        SlotPolicy({"maximum_replica": 3})
