"""The compose file for a laptop: what it mounts is there, what it names is reached, and nobody else reaches it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

TELEMETRY = Path(__file__).parent.parent / "configs" / "telemetry"
COMPOSE = yaml.safe_load((TELEMETRY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONFIGURATIONS = [
    "collector-single.yaml",
    "jaeger.yaml",
    "prometheus.yaml",
    "grafana/provisioning/datasources/datasources.yaml",
]
FIELDS = set("image command environment volumes ports mem_limit restart depends_on healthcheck extra_hosts".split())
SERVED = {"collector": {4317, 8888, 8889}, "jaeger": {4317, 8888, 16686}, "prometheus": {9090}}  # inside, by default


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What is mounted, by the path in the container."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in service["volumes"]}


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    for source in mounts(SERVICES[name]).values():
        if source.startswith("."):
            assert (TELEMETRY / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_only_what_compose_understands(name: str) -> None:
    assert SERVICES[name].keys() <= FIELDS
    assert set(SERVICES[name].get("depends_on", ())) <= SERVICES.keys()
    assert SERVICES[name].get("healthcheck", {}).keys() <= {"test", "interval", "timeout", "retries"}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_of_one_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_ports_are_for_this_machine_only_and_do_not_clash() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    outside = [port.split(":")[1] for port in ports]
    assert len(outside) == len(set(outside))
    assert "8080" not in outside  # the edge's
    assert "8000" not in outside  # the cloud's


@pytest.mark.parametrize("file", CONFIGURATIONS)
def test_whoever_is_named_is_a_service(file: str) -> None:
    named = re.findall(r"\b([a-z][a-z-]+):(\d{4,5})\b", (TELEMETRY / file).read_text())
    for host, port in named:
        if host not in {"localhost", "host.docker.internal", "internal"}:
            assert int(port) in SERVED[host], f"{host}:{port}"


def test_a_program_reads_the_configuration_that_is_mounted_for_it() -> None:
    for service in SERVICES.values():
        asked = [
            option.split("=")[1]
            for option in service.get("command", ())
            if option.startswith(("--config", "--web.con"))
        ]
        assert all(path in mounts(service) for path in asked)
    rules = yaml.safe_load((TELEMETRY / "prometheus.yaml").read_text())["rule_files"]
    assert [str(Path(path).parent) for path in rules] == ["/etc/prometheus/rules"]
    assert "/etc/prometheus/rules" in mounts(SERVICES["prometheus"])


def test_targets_are_where_prometheus_looks_for_them() -> None:
    jobs = yaml.safe_load((TELEMETRY / "prometheus.yaml").read_text())["scrape_configs"]
    files = [path for job in jobs for found in job.get("file_sd_configs", ()) for path in found["files"]]
    assert len(files) == 2
    for path in files:
        inside = Path(path)
        assert mounts(SERVICES["prometheus"])[str(inside.parent)] == "./targets"
        assert isinstance(yaml.safe_load((TELEMETRY / "targets" / inside.name).read_text()), list)


def test_exemplars_lead_to_the_traces_of_a_datasource_that_there_is() -> None:
    provisioned = yaml.safe_load((TELEMETRY / "grafana/provisioning/datasources/datasources.yaml").read_text())
    sources = {source["uid"]: source for source in provisioned["datasources"]}
    (exemplars,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars == {"name": "trace_id", "datasourceUid": "jaeger"}
    assert sources[exemplars["datasourceUid"]]["type"] == "jaeger"
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]


def test_boards_are_where_grafana_looks_for_them() -> None:
    (provider,) = yaml.safe_load((TELEMETRY / "grafana/provisioning/dashboards/boards.yaml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert mounts(SERVICES["grafana"])[folder] == "./grafana/dashboards"
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == folder
    assert (TELEMETRY / "grafana" / "dashboards" / home.name).is_file()


def test_strangers_may_look_and_change_nothing() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert all(
        source.endswith(":ro") for service in SERVICES.values() for source in service["volumes"] if source[0] == "."
    )


def test_health_is_asked_for_where_an_image_has_something_to_ask_with() -> None:
    without = {name for name, service in SERVICES.items() if "healthcheck" not in service}
    assert without == {"collector"}  # its image holds the program and nothing else
    assert "127.0.0.1:13133:13133" in SERVICES["collector"]["ports"]
