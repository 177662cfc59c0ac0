"""How Ray Serve asks `deployments.autoscaling`.

Serve calls the policy ten times a second in its controller, which imports it by its name: the controller needs this
project's code, and neither a model nor PyTorch.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from deployments.autoscaling import AutoscalingSettings, Report, ScalingState, decide, report_of

logger = logging.getLogger("ray.serve")  # what the controller writes down

POLICY = "deployments.serve_autoscaling:SlotPolicy"
REPORTS_KEPT = 5  # by Serve, for each replica; only the last one is read


class SlotPolicy:
    """Called by Ray Serve with what it knows of a deployment; see `deployments.autoscaling.decide`.

    Args:
        settings: of `AutoscalingSettings`
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = AutoscalingSettings(**settings)

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """How many replicas there should be, and what Serve hands back with the next call."""
        reports = reports_of(ctx)
        replicas = min(ctx.current_num_replicas, ctx.target_num_replicas)  # more run while some are leaving
        decision = decide(
            [report.load for report in reports],
            replicas=replicas,
            starting=ctx.target_num_replicas - replicas,
            refused=sum(report.refused for report in reports),
            state=ScalingState.of(ctx.policy_state),
            settings=self._settings,
            now=ctx.current_time,
        )
        if decision.target != ctx.target_num_replicas:
            told = (ctx.deployment_name, ctx.target_num_replicas, decision.target, decision.reason)
            logger.info("Replicas of %s: from %d to %d, since %s.", *told)
        return decision.target, decision.state.as_dict()


def reports_of(ctx: AutoscalingContext) -> list[Report]:
    """The last report of each running replica that has told anything."""
    latest: dict[Any, dict[str, float]] = {}
    for name, by_replica in (ctx.raw_metrics or {}).items():
        for replica, series in by_replica.items():
            if series:
                latest.setdefault(replica, {})[name] = series[-1].value
    return [report_of(stats) for stats in latest.values() if "slots" in stats]


def autoscaling_config(settings: AutoscalingSettings) -> AutoscalingConfig:
    """For replicas that tell `as_stats`. Serve's own factors and delays do nothing: the policy decides."""
    with warnings.catch_warnings():
        # The variables that shall replace it are read by nothing yet, and its default is ten seconds.
        warnings.filterwarnings("ignore", "The `metrics_interval_s` field", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=settings.minimum_replicas,
            max_replicas=settings.maximum_replicas,
            metrics_interval_s=settings.report_every_sec,
            look_back_period_s=REPORTS_KEPT * settings.report_every_sec,
            upscaling_factor=1.0,
            downscaling_factor=1.0,
            upscale_delay_s=0.0,
            downscale_delay_s=0.0,
            policy=AutoscalingPolicy(policy_function=POLICY, policy_kwargs={"settings": settings.model_dump()}),
        )
