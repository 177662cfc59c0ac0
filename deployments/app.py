"""The application that Ray Serve runs: ``serve run configs/serve.local.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from deployments.ingress import Ingress
from deployments.replica import Replica
from deployments.serve_autoscaling import autoscaling_config
from deployments.settings import AppSettings, checked

ROUTER = "deployments.session_router:SessionRouter"
UNBOUNDED = 1_000_000  # Serve counts calls and would make them wait; places are given by the replica, which says no


def app(args: Mapping[str, Any]) -> Application:
    """Replicas of one model behind an ingress. ``args`` are those of `AppSettings`.

    Raises:
        SettingsError: one of them or of the model's own is unknown or wrong, or there is no such model.
    """
    return application(checked(args))


def application(args: AppSettings) -> Application:
    """The same, of settings that were checked."""
    replicas = serve.deployment(
        Replica,
        name="replica",
        **_how_many(args),
        max_ongoing_requests=UNBOUNDED,
        ray_actor_options={"num_cpus": args.replicas.cpus, "num_gpus": args.replicas.gpus},
        request_router_config=RequestRouterConfig(
            request_router_class=ROUTER, initial_backoff_s=0.01, max_backoff_s=0.1
        ),
        graceful_shutdown_timeout_s=args.replicas.drain_sec,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=args.replicas.health_check_sec,
        health_check_timeout_s=2 * args.replicas.health_check_sec,
    ).bind(args.model, args.model_settings, args.replicas.maximum_turns, args.telemetry)
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        num_replicas=args.ingress.count,
        max_ongoing_requests=UNBOUNDED,
        ray_actor_options={"num_cpus": 0},
    )
    return ingress.bind(replicas, args.ingress, args.telemetry)


def _how_many(args: AppSettings) -> dict[str, Any]:
    if args.autoscaling is None:
        return {"num_replicas": args.replicas.count}
    return {"autoscaling_config": autoscaling_config(args.autoscaling)}
