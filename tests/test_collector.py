"""The collectors' and Jaeger's configurations hold together: they cannot be run here, so they are read strictly."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml

from deployments.dashboards.objective import CLOUD_SEC
from deployments.engine.sequence import Pace
from deployments.engine.settings import EngineSettings
from edge_client.turn_trace import TurnOutcome
from routing.telemetry import names
from tests.queries import SPAN

TELEMETRY = Path(__file__).parent.parent / "configs" / "telemetry"
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((TELEMETRY / f"{name}.yaml").read_text())
    for name in ("collector-agent", "collector-gateway", "collector-single", "jaeger")
}
AGENT, GATEWAY, SINGLE = (CONFIGURATIONS[f"collector-{name}"] for name in ("agent", "gateway", "single"))
COLLECTORS: Final = {name: content for name, content in CONFIGURATIONS.items() if name != "jaeger"}
KINDS: Final = ("receivers", "processors", "exporters", "connectors", "extensions")

# -- fields ------------------------------------------------------------------------------------------------------------
# What components know, from the documentation of the collector 0.159 and of Jaeger 2.20, as far as we use components.
# A mapping names fields; ... is a value of whatever kind; a list holds what each of several may have.

type Fields = Mapping[str, "Fields | list[Fields] | object"]

ANY: Final = ...
TLS: Final = dict.fromkeys("insecure insecure_skip_verify server_name_override ca_file cert_file key_file".split(), ANY)
QUEUE: Final = {
    **dict.fromkeys("enabled num_consumers queue_size sizer block_on_overflow storage wait_for_result".split(), ANY),
    "batch": dict.fromkeys("flush_timeout min_size max_size sizer".split(), ANY),
}
RETRY: Final = dict.fromkeys(
    "enabled initial_interval max_interval max_elapsed_time multiplier randomization_factor".split(), ANY
)
SERVER: Final = {
    **dict.fromkeys("endpoint include_metadata max_request_body_size read_timeout write_timeout".split(), ANY),
    "tls": TLS,
    "cors": dict.fromkeys("allowed_origins allowed_headers exposed_headers max_age".split(), ANY),
}
GRPC_SERVER: Final = {
    **dict.fromkeys("endpoint transport max_recv_msg_size_mib max_concurrent_streams include_metadata".split(), ANY),
    "tls": TLS,
}
OTLP_EXPORTER: Final = {
    **dict.fromkeys("endpoint timeout compression headers wait_for_ready balancer_name authority".split(), ANY),
    "tls": TLS,
    "sending_queue": QUEUE,
    "retry_on_failure": RETRY,
}
MEMORY: Final = dict.fromkeys(
    "check_interval limit_mib spike_limit_mib limit_percentage spike_limit_percentage".split(), ANY
)
POLICY: Final = {
    "name": ANY,
    "type": ANY,
    "status_code": {"status_codes": ANY},
    "numeric_attribute": dict.fromkeys("key min_value max_value invert_match".split(), ANY),
    "string_attribute": dict.fromkeys("key values enabled_regex_matching cache_max_size invert_match".split(), ANY),
    "boolean_attribute": dict.fromkeys("key value invert_match".split(), ANY),
    "probabilistic": {"hash_salt": ANY, "sampling_percentage": ANY},
    "trace_state": {"key": ANY, "values": ANY},
}
KNOWN: Final[Mapping[str, Mapping[str, Fields]]] = {
    "receivers": {"otlp": {"protocols": {"http": SERVER, "grpc": GRPC_SERVER}}},
    "processors": {
        "memory_limiter": MEMORY,
        "resource": {"attributes": [dict.fromkeys("key value action from_attribute from_context".split(), ANY)]},
        "batch": dict.fromkeys("timeout send_batch_size send_batch_max_size metadata_keys".split(), ANY),
        "tail_sampling": {
            **dict.fromkeys(
                "decision_wait decision_wait_after_root_received num_traces expected_new_traces_per_sec"
                " sample_on_first_match block_on_overflow drop_pending_traces_on_shutdown sampling_strategy".split(),
                ANY,
            ),
            "decision_cache": {"sampled_cache_size": ANY, "non_sampled_cache_size": ANY},
            "policies": [POLICY],
        },
    },
    "connectors": {
        "span_metrics": {
            **dict.fromkeys(
                "namespace exclude_dimensions aggregation_temporality aggregation_cardinality_limit metrics_expiration"
                " series_expiration metrics_flush_interval resource_metrics_cache_size resource_metrics_key_attributes"
                " add_resource_attributes".split(),
                ANY,
            ),
            "histogram": {"unit": ANY, "disable": ANY, "explicit": {"buckets": ANY}, "exponential": {"max_size": ANY}},
            "dimensions": [{"name": ANY, "default": ANY}],
            "exemplars": {"enabled": ANY, "max_per_data_point": ANY},
        },
    },
    "exporters": {
        "otlp_grpc": OTLP_EXPORTER,
        "nop": {},
        "load_balancing": {
            "routing_key": ANY,
            "protocol": {"otlp": OTLP_EXPORTER},
            "resolver": {
                "dns": dict.fromkeys("hostname port interval timeout".split(), ANY),
                "static": {"hostnames": ANY},
            },
        },
        "prometheus": {
            **SERVER,
            **dict.fromkeys(
                "namespace const_labels send_timestamps metric_expiration enable_open_metrics translation_strategy"
                " without_scope_info".split(),
                ANY,
            ),
        },
        "jaeger_storage_exporter": {"trace_storage": ANY, "queue": QUEUE, "retry_on_failure": RETRY},
    },
    "extensions": {
        "health_check": {**SERVER, "path": ANY, "response_body": ANY},
        "healthcheckv2": {"use_v2": ANY, "http": {**SERVER, "status": ANY, "config": ANY}, "grpc": GRPC_SERVER},
        "jaeger_storage": {
            "backends": {"turns": {"memory": {"max_traces": ANY}}},
            "metric_backends": {
                "spans": {
                    "prometheus": dict.fromkeys("endpoint latency_unit normalize_calls normalize_duration".split(), ANY)
                }
            },
        },
        "jaeger_query": {
            "storage": dict.fromkeys("traces traces_archive metrics".split(), ANY),
            **dict.fromkeys("base_path max_clock_skew_adjust max_trace_size enable_tracing".split(), ANY),
            "http": SERVER,
            "grpc": GRPC_SERVER,
        },
    },
}
SERVICE: Final[Fields] = {
    "extensions": ANY,
    "pipelines": ANY,
    "telemetry": {
        "resource": ANY,
        "metrics": {
            "level": ANY,
            "readers": [{"pull": {"exporter": {"prometheus": {"host": ANY, "port": ANY}}}}],
        },
    },
}


def unknown_fields(content: object, known: object, path: str) -> Iterator[str]:
    """Where something is written that no component reads."""
    if known is ANY or content is None:
        return
    if isinstance(known, list):
        assert isinstance(content, list), f"{path}: expected a list"
        for index, each in enumerate(content):
            yield from unknown_fields(each, known[0], f"{path}[{index}]")
        return
    assert isinstance(known, Mapping)
    assert isinstance(content, Mapping), f"{path}: expected fields"
    for name, value in content.items():
        if name in known:
            yield from unknown_fields(value, known[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_components_know_all_that_is_written_for_them(name: str) -> None:
    content = CONFIGURATIONS[name]
    assert content.keys() <= {*KINDS, "service"}
    unknown = list(unknown_fields(content["service"], SERVICE, "service"))
    for kind in KINDS:
        for component, fields in content.get(kind, {}).items():
            known = KNOWN[kind].get(component.split("/")[0])
            assert known is not None, f"{kind}: {component}"
            unknown += unknown_fields(fields, known, component)
    assert unknown == []


def test_a_slip_of_the_pen_is_seen() -> None:
    slip = {"decision_wai": "20s", "policies": [{"name": "slow", "numeric_attribute": {"kay": "a"}}]}
    unknown = unknown_fields(slip, KNOWN["processors"]["tail_sampling"], "tail_sampling")
    assert list(unknown) == ["tail_sampling.decision_wai", "tail_sampling.policies[0].numeric_attribute.kay"]


# -- pipelines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_pipelines_name_what_is_defined_and_leave_nothing_out(name: str) -> None:
    content = CONFIGURATIONS[name]
    used: set[tuple[str, str]] = {("extensions", each) for each in content["service"]["extensions"]}
    connectors = set(content.get("connectors", {}))
    for pipeline in content["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            used |= {("connectors" if each in connectors else kind, each) for each in pipeline[kind]}
    assert used == {(kind, each) for kind in KINDS for each in content.get(kind, {})}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_pipeline_minds_its_memory_first(name: str) -> None:
    for pipeline in CONFIGURATIONS[name]["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_connector_ends_one_pipeline_and_begins_another(name: str) -> None:
    content = CONFIGURATIONS[name]
    pipelines = content["service"]["pipelines"].items()
    for connector in content.get("connectors", {}):
        assert {signal.split("/")[0] for signal, each in pipelines if connector in each["exporters"]} == {"traces"}
        assert {signal.split("/")[0] for signal, each in pipelines if connector in each["receivers"]} == {"metrics"}


# -- what is counted, and what is kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [AGENT, SINGLE], ids=["agent", "single"])
def test_spans_are_counted_before_any_is_left_out(content: dict[str, Any]) -> None:
    for pipeline in content["service"]["pipelines"].values():
        if "span_metrics" in pipeline["exporters"]:
            assert "tail_sampling" not in pipeline["processors"]
    connector = content["connectors"]["span_metrics"]
    dimensions = {each["name"] for each in connector["dimensions"]}
    assert dimensions == {names.ROUTE_TARGET, names.OUTCOME}
    assert {each.replace(".", "_") for each in dimensions} <= SPAN
    assert connector["exemplars"]["enabled"]
    assert connector["histogram"]["unit"] == "s"
    assert content["exporters"]["prometheus"]["enable_open_metrics"]


def test_a_trace_is_judged_whole() -> None:
    balancing = AGENT["exporters"]["load_balancing"]
    assert balancing["routing_key"] == "traceID"
    assert "collector-gateway" in balancing["resolver"]["dns"]["hostname"]
    port = balancing["resolver"]["dns"]["port"]
    assert GATEWAY["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(f":{port}")


@pytest.mark.parametrize("content", [GATEWAY, SINGLE], ids=["gateway", "single"])
def test_what_somebody_would_look_for_is_kept(content: dict[str, Any]) -> None:
    policies = {policy["name"]: policy for policy in content["processors"]["tail_sampling"]["policies"]}
    assert all(policy["type"] in policy for policy in policies.values())
    assert "latency" not in {policy["type"] for policy in policies.values()}  # a long answer is not a slow one
    slow, queued = (policies[name]["numeric_attribute"] for name in ("slow", "queued"))
    assert (slow["key"], slow["min_value"]) == (names.V2V_MS, CLOUD_SEC * 1000)
    assert (queued["key"], queued["min_value"]) == (names.QUEUE_WAIT_MS, 100)
    step = policies["slow-step"]["numeric_attribute"]
    assert (step["key"], step["min_value"]) == (names.STEP_MS, math.ceil(1000 * Pace(0.08, 6, 12).step_budget_sec))
    ended = policies["ended-badly"]["string_attribute"]
    assert ended["key"] == names.OUTCOME
    assert set(ended["values"]) == {*get_args(TurnOutcome.__value__)} - {"ok", "dropped"}
    assert policies["failed"]["status_code"]["status_codes"] == ["ERROR"]
    assert policies["asked-for"]["trace_state"] == {"key": "antiphon", "values": ["keep"]}


def test_both_samplers_keep_the_same_but_for_the_rest() -> None:
    kept = [
        [policy for policy in content["processors"]["tail_sampling"]["policies"] if policy["name"] != "baseline"]
        for content in (GATEWAY, SINGLE)
    ]
    assert kept[0] == kept[1]


def test_the_longest_reply_is_waited_for() -> None:
    waiting_sec = float(GATEWAY["processors"]["tail_sampling"]["decision_wait"].removesuffix("s"))
    assert waiting_sec > EngineSettings().maximum_reply_sec + 10


def test_decisions_are_remembered_for_longer_than_traces() -> None:
    for content in (GATEWAY, SINGLE):
        sampling = content["processors"]["tail_sampling"]
        assert min(sampling["decision_cache"].values()) > sampling["num_traces"]


# -- Jaeger ------------------------------------------------------------------------------------------------------------


def test_jaeger_reads_what_it_writes() -> None:
    jaeger = CONFIGURATIONS["jaeger"]
    storage = jaeger["extensions"]["jaeger_storage"]
    query = jaeger["extensions"]["jaeger_query"]
    assert jaeger["exporters"]["jaeger_storage_exporter"]["trace_storage"] in storage["backends"]
    assert query["storage"]["traces"] in storage["backends"]
    assert query["storage"]["metrics"] in storage["metric_backends"]
    assert query["max_clock_skew_adjust"] == "1s"  # off by default


def test_jaeger_finds_what_the_collector_counts() -> None:
    for collector in (AGENT, SINGLE):
        connector = collector["connectors"]["span_metrics"]
        assert connector["namespace"] == "traces.span.metrics"  # what Jaeger asks for by default
        spans = CONFIGURATIONS["jaeger"]["extensions"]["jaeger_storage"]["metric_backends"]["spans"]["prometheus"]
        assert spans["latency_unit"] == connector["histogram"]["unit"]


@pytest.mark.parametrize("name", COLLECTORS)
def test_variables_have_a_default(name: str) -> None:
    text = (TELEMETRY / f"{name}.yaml").read_text()
    assert all(":-" in variable for variable in re.findall(r"\$\{env:([^}]*)\}", text))
