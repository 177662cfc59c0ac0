"""What an operator may say of the cloud tier, in every file that says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.local import read_args, with_telemetry
from deployments.settings import AppSettings, checked
from deployments.transport import CLUSTER, environment
from routing.errors import SettingsError

CONFIGS = sorted(Path("configs").glob("serve.*.yaml"))


def values_in(file: Path) -> dict[str, str]:
    lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_configuration_says_what_is_known(config: Path) -> None:
    assert isinstance(checked(read_args(config)), AppSettings)


def test_there_are_configurations() -> None:
    assert {"serve.local.yaml", "serve.lfm2-audio.yaml"} <= {config.name for config in CONFIGS}


def test_the_environment_of_a_cluster_is_written_down_as_it_is_meant() -> None:
    assert values_in(Path("configs/serve.env")) == CLUSTER


def test_two_clouds_on_one_machine_share_no_file_and_no_port() -> None:
    one, other = environment("haproxy", 20_000), environment("haproxy", 20_010)
    own = [name for name in one if "HAPROXY_" in name]
    assert own
    assert all(one[name] != other[name] for name in own)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"modell": "cascade"}, "modell: there is no such setting; did you mean model?"),
        ({"replicas": {"maximum_turn": 1}}, "replicas.maximum_turn: there is no such setting; did you mean maximum_t"),
        ({"ingress": {"zzz": 1}}, "ingress.zzz: there is no such setting; expected one of count, keys,"),
        ({"autoscaling": {"occupency": 1}}, "autoscaling.occupency: there is no such setting; did you mean occupancy?"),
        ({"replicas": {"count": 0}}, "replicas.count: Input should be greater than or equal to 1"),
        (
            {"model": "cascade", "model_settings": {"slot": 2}},
            "model_settings of cascade: slot: there is no such setting; did you mean slots?",
        ),
        (
            {"model": "lfm2-audio", "model_settings": {"scheduler": {"maximum_runing": 2}}},
            "model_settings of lfm2-audio: scheduler.maximum_runing: there is no such setting; did you mean maximum_r",
        ),
        ({"model": "cascad"}, "model: expected one of cascade, lfm2-audio or package.module:function, got 'cascad'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(args: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        checked(args)
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    "content",
    ["", "applications: []", "applications: [1]", "applications: [{}, {}]", "a: [", "applications: [{args: 1}]"],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: str) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(content)
    with pytest.raises(SettingsError, match=r"serve\.yaml: expected a Serve configuration with one application"):
        read_args(config)


def test_a_fault_in_a_file_is_told_with_its_name(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump({"applications": [{"args": {"modell": "cascade"}}]}))
    with pytest.raises(SettingsError, match=r"serve\.yaml: modell: there is no such setting; did you mean model\?"):
        read_args(config)


def test_the_command_line_says_last_where_traces_go(tmp_path: Path) -> None:
    args = {"telemetry": {"file": "elsewhere", "content": True}, "model": "cascade"}
    told = with_telemetry(args, traces=tmp_path / "traces.jsonl", otlp="http://127.0.0.1:4318")
    assert checked(told).telemetry.model_dump(include={"file", "endpoint", "content"}) == {
        "file": str(tmp_path / "traces.jsonl"),
        "endpoint": "http://127.0.0.1:4318",
        "content": True,
    }
    assert checked(with_telemetry(args, traces=None, otlp="")) == checked(args)
    assert checked(with_telemetry({}, traces=Path("here"), otlp="")).telemetry.file == str(Path("here").absolute())


def test_a_collector_without_an_address_is_told_before_ray_starts() -> None:
    with pytest.raises(SettingsError, match="--otlp: expected the address of a collector like"):
        with_telemetry({}, traces=None, otlp="nowhere")
