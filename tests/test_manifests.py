"""The manifests as rendered: of known fields only, pinned, without secrets, and with the values of configs/."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import math
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from deployments.settings import checked
from edge_client.settings import EdgeSettings, read_settings
from tests.audit import audit_tool
from tests.kubernetes_fields import borrowed, faults, is_custom
from tests.manifests import (
    K8S,
    KUBERNETES,
    OTHERS,
    OVERLAYS,
    ROOT,
    Document,
    namespace,
    of_kind,
    overlay,
    plain_name,
    pods,
    rendered,
    said,
    schema_faults,
    the,
)

pytestmark = pytest.mark.audit

FOLDERS = [*(f"overlays/{name}" for name in OVERLAYS), *OTHERS]
LONE_FILES = [  # manifests that no kustomization reads: for programs, or applied by themselves
    path
    for path in sorted(K8S.rglob("*.yaml"))
    if path.parent.parent.name == "overlays" and "apiVersion: kind.x-k8s.io" in path.read_text()
]
FREE = (  # mappings whose keys belong to whoever writes them
    set("labels annotations matchLabels nodeSelector data binaryData stringData limits requests hard".split())
    | set("rayStartParams metadata.labels parameters".split())
)
ENTROPY_BITS = 4.3  # in each character of a text that is drawn from much more than words
SECRET_LENGTH = 24

each_folder = pytest.mark.parametrize("folder", FOLDERS)
each_overlay = pytest.mark.parametrize("name", OVERLAYS)


# -- what Kubernetes takes -------------------------------------------------------------------------------------------


@each_folder
def test_it_renders(folder: str) -> None:
    documents = rendered(folder)
    keys = Counter((one["apiVersion"], said(one), namespace(one)) for one in documents)
    assert documents
    assert [key for key, count in keys.items() if count > 1] == []


@each_folder
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_each_field(folder: str, version: str) -> None:
    documents = [one for one in rendered(folder) if not is_custom(one)]
    documents += [part for one in rendered(folder) if is_custom(one) for part in borrowed(one)]
    found = schema_faults(documents, version)
    assert [f"{said(one)}: {fault}" for one, fault in zip(documents, found, strict=True) if fault] == []


@each_folder
def test_custom_resources_have_known_fields_only(folder: str) -> None:
    custom = [one for one in rendered(folder) if is_custom(one)]
    assert [f"{said(one)}: {fault}" for one in custom for fault in faults(one)] == []


@pytest.mark.parametrize("path", LONE_FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_what_is_for_other_programs_has_known_fields_only(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        assert faults(document) == []


# -- a typo in each kind ---------------------------------------------------------------------------------------------


def kinds() -> list[str]:
    try:
        return sorted({one["kind"] for folder in FOLDERS for one in rendered(folder)})
    except (AssertionError, pytest.skip.Exception):
        return []  # where nothing renders, other tests say so


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The kinds are found where they are asked for only: rendering takes a second that `make unit` shall not wait."""
    if "kind" in metafunc.fixturenames:
        audited = "not audit" not in metafunc.config.option.markexpr
        metafunc.parametrize("kind", kinds() if audited else [])


def test_a_misspelt_key_is_refused_wherever_it_stands(kind: str) -> None:
    """One key after the other, at every depth."""
    examples = [one for folder in FOLDERS for one in rendered(folder) if one["kind"] == kind]
    misspelt = dict(typo for one in examples for typo in typos(one))
    assert len(misspelt) >= 3
    refused = refusals([*misspelt.values()])
    assert [place for place, fault in zip(misspelt, refused, strict=True) if not fault] == []


def refusals(documents: Sequence[Document]) -> list[bool]:
    """Which of them are refused, by the list of fields or by Kubernetes' schemas of what is borrowed."""
    told = [is_custom(one) and bool(faults(one)) for one in documents]
    parts = [
        [] if bad else borrowed(one) if is_custom(one) else [one] for one, bad in zip(documents, told, strict=True)
    ]
    found = iter(schema_faults([part for several in parts for part in several], KUBERNETES[-1]))
    return [bad or any(list(itertools.islice(found, len(several)))) for bad, several in zip(told, parts, strict=True)]


def typos(document: Document) -> Iterator[tuple[str, Document]]:
    """The document with one of its keys misspelt, each under the place where that is. Items of lists share a place."""
    for path in paths(document, ()):
        changed: Any = copy.deepcopy(document)
        parent = changed
        for step in path[:-1]:
            parent = parent[step]
        parent[f"{path[-1]}x"] = parent.pop(path[-1])
        yield ".".join("[]" if isinstance(step, int) else step for step in path), changed


def paths(value: Any, above: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*above, index))
    if isinstance(value, dict) and not is_free(above):
        for name, item in value.items():
            if above or name not in {"apiVersion", "kind"}:  # without them it is no manifest at all
                yield (*above, name)
                yield from paths(item, (*above, name))


def is_free(path: Sequence[str | int]) -> bool:
    """A Service's selector is labels too; a Deployment's has parts."""
    return bool(path) and (path[-1] in FREE or path == ("spec", "selector"))


# -- what is pinned --------------------------------------------------------------------------------------------------


@each_folder
def test_images_are_of_one_version(folder: str) -> None:
    images = [container["image"] for one in pods(rendered(folder)) for container in one.containers]
    assert [
        image for image in images if not re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?", image)
    ] == []
    assert not any(image.rpartition(":")[2] in {"latest", "main", "nightly"} for image in images)


def test_our_own_images_are_those_that_are_built() -> None:
    told = "".join(path.read_text() for path in sorted((K8S / "images").glob("*.Dockerfile")))
    built = set(re.findall(r"--tag (antiphon/\S+)", told))
    images = {container["image"] for name in OVERLAYS for one in pods(overlay(name)) for container in one.containers}
    assert {image for image in images if image.startswith("antiphon/")} <= built


def test_what_runs_here_and_there_is_of_the_same_version() -> None:
    """The stack that a laptop watches with is the one that was tested: configs/telemetry/compose.yaml."""
    compose = yaml.safe_load((ROOT / "configs" / "telemetry" / "compose.yaml").read_text())
    tested = dict(service["image"].rsplit(":", 1) for service in compose["services"].values())
    for name in OVERLAYS:
        for one in pods(overlay(name)):
            for container in one.containers:
                image, tag = container["image"].rsplit(":", 1)
                assert tested.get(image, tag) == tag


# -- secrets ---------------------------------------------------------------------------------------------------------


@each_folder
def test_secrets_are_named_and_not_told(folder: str) -> None:
    """Alertmanager's configuration is a Secret only because its operator wants it so; then none is in it."""
    secrets = of_kind(rendered(folder), "Secret")
    assert [said(one) for one in secrets if plain_name(one["metadata"]["name"]) != "alertmanager"] == []
    told = [one for one in rendered(folder) if one["kind"] != "Secret"]
    contents = [base64.b64decode(content).decode() for one in secrets for content in one["data"].values()]
    assert [text for text in (*texts(told), *contents) if looks_secret(text)] == []


@each_folder
def test_no_variable_that_is_a_secret_has_its_value_beside_it(folder: str) -> None:
    variables = [
        variable
        for one in pods(rendered(folder))
        for container in one.containers
        for variable in container.get("env", ())
    ]
    secret = re.compile(r"(KEY|SECRET|PASSWORD|TOKEN)S?$")
    told = [variable for variable in variables if secret.search(variable["name"]) and "value" in variable]
    assert told == []


def texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from texts(item)
        case list():
            for item in value:
                yield from texts(item)


def looks_secret(text: str) -> bool:
    """Whether a long word in it is drawn from more than words are, or is a private key."""
    words = re.findall(rf"[A-Za-z0-9+/_=-]{{{SECRET_LENGTH},}}", text)
    return "PRIVATE KEY" in text or any(entropy(word) > ENTROPY_BITS for word in words if is_mixed(word))


def is_mixed(word: str) -> bool:
    """A path has its slashes, a name its dashes: what was drawn has small and large letters and digits."""
    return all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]"))


def entropy(word: str) -> float:
    shares = [count / len(word) for count in Counter(word).values()]
    return -sum(share * math.log2(share) for share in shares)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("ghp_" + "a1B2c3D4e5F6g7H8i9J0kLmNoPqRsTuVwXyZ", True),
        ("-----BEGIN EC PRIVATE KEY-----", True),
        ("http://collector.antiphon-telemetry.svc.cluster.local:4318", False),
        ("antiphon-telemetry-gateway-of-all-collectors-2", False),
    ],
)
def test_what_looks_like_a_secret(text: str, secret: bool) -> None:
    assert looks_secret(text) is secret


# -- what was tested is what is deployed -----------------------------------------------------------------------------


@each_overlay
def test_the_application_is_one_of_configs(name: str) -> None:
    service = the(overlay(name), "RayService", "cloud")
    tested = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs").glob("serve.cluster.*.yaml"))]
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) in tested


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("serve.*.yaml")), ids=lambda path: path.name)
def test_serve_knows_each_field_of_the_application(path: Path) -> None:
    from ray.serve import schema  # a second, which whoever runs other tests shall not wait

    config = yaml.safe_load(path.read_text())
    assert unknown(config, schema.ServeDeploySchema) == []
    for application in config["applications"]:
        assert unknown(application, schema.ServeApplicationSchema) == []
        checked(application["args"])
        for deployment in application.get("deployments", ()):
            assert unknown(deployment, schema.DeploymentSchema) == []
            assert unknown(deployment.get("ray_actor_options", {}), schema.RayActorOptionsSchema) == []
            assert deployment["name"] in {"replica", "ingress"}
    assert unknown(config.get("http_options", {}), schema.HTTPOptionsSchema) == []
    schema.ServeDeploySchema.model_validate(config)


def unknown(given: Mapping[str, Any], kind: type[BaseModel]) -> list[str]:
    """Serve lets through what it does not know (`max_ongoing_requsts`), and so it is compared here."""
    return [name for name in given if name not in kind.model_fields]


@each_overlay
def test_ray_starts_with_what_serve_needs(name: str) -> None:
    """The variables of configs/serve.env, on head and workers alike: Ray reads them when it is imported."""
    lines = (ROOT / "configs" / "serve.env").read_text().splitlines()
    wanted = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for one in (one for one in pods(overlay(name)) if one.owner.startswith("RayService")):
        ray = one.spec["containers"][0]
        (source,) = (source["configMapRef"]["name"] for source in ray["envFrom"])
        (config,) = (each for each in of_kind(overlay(name), "ConfigMap") if each["metadata"]["name"] == source)
        assert config["data"] == wanted


@each_overlay
def test_the_edge_takes_its_settings(name: str) -> None:
    read_edge(name)


def read_edge(name: str) -> EdgeSettings:
    """As the edge reads them: the file, and the variables of its container over it."""
    (edge,) = (one for one in pods(overlay(name)) if one.owner == "Deployment edge")
    container = edge.spec["containers"][0]
    (volume,) = (each["configMap"]["name"] for each in edge.spec["volumes"] if each["name"] == "config")
    (config,) = (each for each in of_kind(overlay(name), "ConfigMap") if each["metadata"]["name"] == volume)
    file = Path(container["command"][-1])
    mounted = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "config"}
    assert str(file.parent) in mounted
    environment = {variable["name"]: value_of(variable) for variable in container.get("env", ())}
    return settings_of(config["data"][file.name], environment)


def value_of(variable: Document) -> str:
    """What a container finds; an address or some word where only the cluster knows."""
    field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
    return str(variable.get("value", "10.1.2.3" if field.endswith("IP") else "told-elsewhere"))


def settings_of(text: str, environment: Mapping[str, str]) -> EdgeSettings:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        return read_settings(Path(file.name), environment=environment)


def test_rules_and_boards_are_those_that_are_tested() -> None:
    """In whichever way they are deployed: files for a Prometheus of ours, or rules of its operator."""
    seen = Counter(kind for name in OVERLAYS for kind in watched(overlay(name)))
    assert seen["board"] == len(BOARDS) * len(OVERLAYS)
    assert seen["group of rules"] == len(GROUPS) * len(OVERLAYS)


TELEMETRY = ROOT / "configs" / "telemetry"
BOARDS = {path.name: path.read_text() for path in TELEMETRY.glob("grafana/dashboards/*.json")}
RULES = {path.name: path.read_text() for path in TELEMETRY.glob("rules/*.yaml")}
GROUPS = [group for text in RULES.values() for group in yaml.safe_load(text)["groups"]]


def watched(documents: Sequence[Document]) -> Iterator[str]:
    """Each board and each group of rules that is deployed, which is as it was tested."""
    for config in of_kind(documents, "ConfigMap"):
        for file, content in config.get("data", {}).items():
            if file in BOARDS:
                assert content == BOARDS[file]
                yield "board"
            if file in RULES:
                assert content == RULES[file]
                yield from ["group of rules"] * len(yaml.safe_load(content)["groups"])
    for rule in of_kind(documents, "PrometheusRule"):
        for group in rule["spec"]["groups"]:
            assert group in GROUPS
            yield "group of rules"


# -- tools -----------------------------------------------------------------------------------------------------------


def test_yamllint_has_nothing_to_say() -> None:
    outcome = subprocess.run(
        [audit_tool("yamllint"), "--strict", "--config-file", K8S / ".yamllint.yaml", K8S, ROOT / "configs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout == ""


@pytest.fixture(scope="module")
def checkov(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """What checkov says of all overlays, their RayServices' pods, which it does not see, and the images."""
    folder = tmp_path_factory.mktemp("rendered")
    for name in FOLDERS:
        documents = [*rendered(name), *ray_pods(rendered(name))]
        (folder / f"{name.replace('/', '-')}.yaml").write_text(yaml.safe_dump_all(documents))
    shutil.copytree(K8S / "images", folder / "images")
    given = ["--config-file", str(K8S / ".checkov.yaml"), "--directory", str(folder), "--output", "json"]
    command = [str(audit_tool("checkov")), *given]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    reports = json.loads(outcome.stdout)
    return reports if isinstance(reports, list) else [reports]


def ray_pods(documents: Sequence[Document]) -> list[Document]:
    """A RayService's groups as Deployments, with the annotations of the service: skips and their reasons are there."""
    found = []
    for service in of_kind(documents, "RayService"):
        for one in pods([service]):
            metadata = {**service["metadata"], "name": one.owner.split()[-1]}
            template = {"metadata": {"labels": dict(one.labels)}, "spec": dict(one.spec)}
            spec = {"selector": {"matchLabels": dict(one.labels)}, "template": template}
            found.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    return found


@pytest.mark.timeout(120)
def test_checkov_has_nothing_to_say(checkov: list[Document]) -> None:
    assert {report["check_type"] for report in checkov} == {"kubernetes", "dockerfile"}
    failed = {
        f"{check['check_id']} {check['check_name']}: {check['resource']}"
        for report in checkov
        for check in report["results"]["failed_checks"]
    }
    assert sorted(failed) == []


@pytest.mark.timeout(120)
def test_each_check_that_is_skipped_has_its_reason(checkov: list[Document]) -> None:
    skipped = [check for report in checkov for check in report["results"].get("skipped_checks", ())]
    assert skipped
    for check in skipped:
        reason = check["check_result"]["suppress_comment"]
        assert len(reason.split()) >= 4, check["check_id"]


def test_each_check_that_is_skipped_everywhere_has_its_reason_beside_it() -> None:
    text = (K8S / ".checkov.yaml").read_text()
    skipped = yaml.safe_load(text).get("skip-check", ())
    assert [check for check in skipped if not re.search(rf"- {check} # \S+ .{{20,}}", text)] == []
