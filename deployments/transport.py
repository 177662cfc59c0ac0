"""How Ray must be started for speech: what its own defaults cost is told in the README.

Ray reads these variables when it is imported, so they must be there before any of its processes starts, on every node.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

FAST: Mapping[str, str] = {
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",  # the default transport delays small pieces of many streams by 100 ms
    "RAY_SERVE_PROXY_USE_GRPC": "1",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",  # models have threads of their own; nothing else blocks
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
}
# On a cluster: a proxy in C on each node before the ingress, instead of one in Python.
CLUSTER: Mapping[str, str] = {**FAST, "RAY_SERVE_ENABLE_HA_PROXY": "1"}


type Transport = Literal["direct", "haproxy", "ray"]


def environment(transport: Transport, port: int) -> Mapping[str, str]:
    """For one machine. "direct" is without any proxy, and "ray" is how Ray comes."""
    alone = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}  # nobody else's Ray
    return alone | {"direct": _direct(port), "haproxy": _behind_haproxy(port), "ray": {}}[transport]


def proxy_folder(port: int) -> Path:
    """Where the proxy behind that port keeps its files, which outlive it."""
    return Path(tempfile.gettempdir()) / f"antiphon-haproxy-{port}"


def _behind_haproxy(port: int) -> dict[str, str]:
    """With ports and files of its own, so that several may stand side by side."""
    folder = proxy_folder(port)
    return {
        **CLUSTER,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(port + 1),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(port + 2),
    }


def _direct(port: int) -> dict[str, str]:
    """The ingress itself listens on ``port``, and gets it back after a crash."""
    return {
        **FAST,
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(port + 1),  # not counted itself
        "RAY_SERVE_PORT_QUARANTINE_S": "0",
    }
