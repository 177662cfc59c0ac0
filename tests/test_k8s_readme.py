"""The commands of the documents for operators: a shell understands them, and what they name is there."""

from __future__ import annotations

import pkgutil
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main
import yaml

from deployments.settings import checked
from edge_client.cli import app
from edge_client.settings import EdgeSettings
from tests.audit import kubectl
from tests.kubernetes_fields import faults, is_custom
from tests.manifests import K8S, OTHERS, OVERLAYS, ROOT, Document, namespace, overlay, rendered
from tests.test_house import PROJECT, make_targets

DOCUMENTS = [path for path in (K8S / "README.md", K8S / "CAPACITY.md", ROOT / "SECURITY.md") if path.exists()]
RUNBOOKS = sorted((K8S / "runbooks").glob("*.md"))  # whose commands have a test of their own, but for kubectl's
MADE = "artifacts/"  # what the commands themselves make

# What other programs are told, and all that they may be: a typo in an option fails here and not at the reader's.
OPTIONS = {
    "awk": "", "cat": "", "chmod": "", "curl": "--fail --data --header --include --request --silent -H -X -d -i -s",
    "docker": "--build-arg --file --tag --push", "echo": "", "getent": "", "grep": "-r -n -E", "head": "-n",
    "helm": "--create-namespace --namespace --set --version --wait", "install": "-m",
    "kind": "--config --name", "minikube": "--cpus --driver --memory --ports", "mkdir": "-p -m", "mv": "",
    "openssl": "-CA -CAkey -addext -base64 -days -hex -in -key -keyout -newkey -nodes -out -req -subj -x509",
    "printf": "", "promtool": "", "sed": "-i -n", "shred": "-u", "sort": "", "tail": "-n", "tr": "-d", "umask": "",
}  # fmt: skip
OURS = {"antiphon", "kubectl", "make", "python", "git"}
SUBCOMMANDS = {
    "docker": {"build", "push", "tag", "buildx imagetools"}, "helm": {"install", "repo add", "upgrade"},
    "kind": {"create cluster", "delete cluster", "load docker-image"}, "minikube": {"start", "image load"},
    "openssl": {"rand", "req", "x509", "ecparam", "genpkey"},
}  # fmt: skip
RESOURCES = {  # short and plural names that kubectl takes, of what our overlays have or a cluster always has
    "deploy": "Deployment", "deployment": "Deployment", "svc": "Service", "service": "Service",
    "daemonset": "DaemonSet", "ds": "DaemonSet", "statefulset": "StatefulSet", "sts": "StatefulSet", "job": "Job",
    "rayservice": "RayService", "certificate": "Certificate", "gateway": "Gateway", "scaledobject": "ScaledObject",
    "configmap": "ConfigMap", "pdb": "PodDisruptionBudget", "httproute": "HTTPRoute", "prometheus": "Prometheus",
    "alertmanager": "Alertmanager",
}  # fmt: skip


class Command(NamedTuple):
    document: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0].removeprefix(".venv/bin/")

    @property
    def options(self) -> set[str]:
        """Without their values; after ``--`` nothing belongs to the program itself."""
        own = self.words[1 : self.words.index("--")] if "--" in self.words else self.words[1:]
        return {word.split("=")[0] for word in own if re.match(r"--?[a-zA-Z]", word)}

    @property
    def inner(self) -> tuple[str, ...]:
        return self.words[self.words.index("--") + 1 :] if "--" in self.words else ()


# -- reading ---------------------------------------------------------------------------------------------------------


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def scripts(path: Path) -> list[str]:
    """What stands in fences, and what stands in the text between backticks and begins with a program of ours."""
    spoken = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL))
    programs = "|".join(sorted({*OPTIONS, *OURS} - {"head", "tail", "install", "sort", "git", "python", "kind"}))
    inline = [
        " ".join(text.split())
        for text in spoken
        if re.match(rf"(?:\.venv/bin/)?({programs}) \S", text.replace("\n", " "))
    ]
    return [*blocks(path, "sh"), *inline]


def commands(path: Path) -> Iterator[Command]:
    for script in scripts(path):
        for line in script.replace("\\\n", " ").splitlines():
            for part in parts(line):
                yield Command(path.name, part)
                yield from (Command(path.name, part[part.index("--") + 1 :]) for _ in range(part.count("--")))


def parts(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of a line: those in front of and behind a pipe or a semicolon, and those whose output is a word."""
    line = re.sub(r"\\\|", "|", line)
    for inner in re.findall(r"\$\(([^)]*)\)", line):
        yield from parts(inner)
    lexer = shlex.shlex(re.sub(r"\$\([^)]*\)", "OUTPUT", line), posix=True, punctuation_chars="|;&(){}")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if re.fullmatch(r"[|;&(){}]+", word):
            found.append([])
        else:
            found[-1].append(word)
    yield from (tuple(without_settings(words)) for words in found if without_settings(words))


def without_settings(words: Sequence[str]) -> list[str]:
    """Without variables that are set in front, and without redirections."""
    words = list(words)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    places = [place for place, word in enumerate(words) if word in {">", ">>", "<"}]
    return words[: places[0]] if places else words


ALL = [command for path in DOCUMENTS for command in commands(path)]
each = pytest.mark.parametrize(
    "command", ALL, ids=lambda command: f"{command.document}: {' '.join(command.words)[:70]}"
)


def of(*programs: str) -> list[Command]:
    runbooks = [command for path in RUNBOOKS for command in commands(path)] if "kubectl" in programs else []
    return [command for command in (*ALL, *runbooks) if command.program in programs]


def named(found: Sequence[Command]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("command", found, ids=[" ".join(command.words)[:80] for command in found])


# -- the shell -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_shell_understands_it(path: Path) -> None:
    outcome = subprocess.run(
        ["bash", "-n"], input="\n".join(scripts(path)), capture_output=True, text=True, check=False
    )
    assert outcome.stderr == ""


def test_there_are_commands_to_look_at() -> None:
    assert len(ALL) > 50
    assert {"antiphon", "docker", "helm", "kind", "kubectl", "openssl"} <= {command.program for command in ALL}


@each
def test_programs_and_their_options_are_known(command: Command) -> None:
    assert command.program in OURS | OPTIONS.keys(), command.words
    if command.program in OPTIONS:
        assert command.options <= set(OPTIONS[command.program].split()), command.words
    if allowed := SUBCOMMANDS.get(command.program):
        said = " ".join(command.words[1:3])
        assert any(said == one or said.startswith(f"{one} ") for one in allowed), command.words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_folders_exist(path: Path) -> None:
    text = path.read_text()
    places = re.findall(r"(?<![\w./-])(?:k8s|configs|deployments|tests|routing|edge_client)/[\w./*<>-]*\w", text)
    for place in places:
        assert list(ROOT.glob(re.sub(r"<\w+>", "*", place))), place
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / link).exists(), link


@named(of("make"))
def test_make_has_such_a_target(command: Command) -> None:
    assert set(command.words[1:]) <= make_targets()


@named(of("antiphon"))
def test_the_command_line_understands_it(command: Command) -> None:
    tool: Any = typer.main.get_command(app)
    words = list(command.words[1:])
    while hasattr(tool, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        known_commands = {**tool.commands, **(brought() if tool.name == "antiphon" else {})}
        assert name in known_commands
        tool = known_commands[name]
    known = {option for parameter in tool.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert command.options <= known


def brought() -> dict[str, Any]:
    """The commands of other rooms, as pyproject.toml names them."""
    named_there = PROJECT["entry-points"]["antiphon.commands"]
    return {name: typer.main.get_command(pkgutil.resolve_name(place)) for name, place in named_there.items()}


@named(of("python"))
def test_modules_exist(command: Command) -> None:
    if command.words[1] == "-m":
        place = ROOT.joinpath(*command.words[2].split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_settings_exist(path: Path) -> None:
    for name in re.findall(r"ANTIPHON_([A-Z_]+)\b", path.read_text()):
        settings: Any = EdgeSettings()
        for part in name.lower().split("__") if name not in {"MODELS", "LOG_FORMAT"} else ():
            assert part in type(settings).model_fields, name
            settings = getattr(settings, part)


# -- the cluster -----------------------------------------------------------------------------------------------------


@cache
def kubectl_options(*words: str) -> set[str]:
    """As kubectl's own help lists them; it needs no cluster for that."""
    texts = [
        subprocess.run([kubectl(), *ask], capture_output=True, text=True, check=False).stdout
        for ask in ((*words, "--help"), ("options",))
    ]
    return set(re.findall(r"^\s+(?:-\w, )?(--[\w-]+)=", "\n".join(texts), re.MULTILINE)) | set(
        re.findall(r"^\s+(-\w), --", "\n".join(texts), re.MULTILINE)
    )


def subcommand(command: Command) -> tuple[str, ...]:
    words = command.words[1:]
    long = {"rollout", "create", "set"}
    if words[0] == "create" and words[1].startswith("-"):
        return words[:1]
    if words[:2] == ("create", "secret"):
        return words[:3]
    return words[:2] if words[0] in long else words[:1]


@pytest.mark.audit
@named(of("kubectl"))
def test_kubectl_understands_it(command: Command) -> None:
    known = kubectl_options(*subcommand(command))
    assert "--help" in known or len(known) > 20
    assert command.options <= known, command.options - known


@pytest.mark.audit
@named(of("kubectl"))
def test_what_kubectl_is_asked_about_is_in_an_overlay(command: Command) -> None:
    here = {(one["kind"], one["metadata"]["name"]) for one in everything()}
    placed = {(one["kind"], one["metadata"]["name"], namespace(one)) for one in everything()}
    wanted = value_of(command, "--namespace", "-n")
    for word in own_words(command):
        kind, separator, name = word.partition("/")
        if separator and kind in RESOURCES:
            assert (RESOURCES[kind], name) in here, word
            assert not wanted or (RESOURCES[kind], name, wanted) in placed, (word, wanted)
        else:
            assert not separator or word.startswith(("k8s/", "configs/", MADE, "http")) or "=" in word, word


@pytest.mark.audit
@named(of("kubectl"))
def test_namespaces_are_those_of_the_overlays(command: Command) -> None:
    known = {one["metadata"]["name"] for one in everything() if one["kind"] == "Namespace"} | {"kuberay-system"}
    wanted = value_of(command, "--namespace", "-n")
    assert wanted is None or wanted in known


@pytest.mark.audit
@named([command for command in of("kubectl") if command.words[1:3] == ("create", "secret")])
def test_secrets_that_are_made_are_used_with_their_keys(command: Command) -> None:
    """Each file becomes a key: of its name, or of what stands in front of it."""
    name, place = command.words[4], value_of(command, "--namespace", "-n")
    given = [word.removeprefix("--from-file=") for word in command.words if word.startswith("--from-file=")]
    keys = {one.split("=")[0] if "=" in one else Path(one).name for one in given}
    asked = [where for one in everything() if namespace(one) == place for where in naming(one, name)]
    assert asked, name
    assert {key for where in asked for key in keys_of(where)} <= keys


def everything() -> list[Document]:
    return [one for folder in (*(f"overlays/{name}" for name in OVERLAYS), *OTHERS) for one in rendered(folder)]


def own_words(command: Command) -> list[str]:
    words = command.words[1 : command.words.index("--")] if "--" in command.words else command.words[1:]
    return [word for word in words if not word.startswith("-")]


def value_of(command: Command, *options: str) -> str | None:
    for place, word in enumerate(command.words):
        if word in options:
            return command.words[place + 1]
        if word.split("=")[0] in options:
            return word.split("=", 1)[1]
    return None


def naming(value: Any, name: str) -> Iterator[Document]:
    """Each place of a document that names that secret."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in {"secretKeyRef", "secret", "credentials"} and name in (item.get("name"), item.get("secretName")):
                yield item
            if key == "secrets" and isinstance(item, list) and name in item:
                yield {}
            yield from naming(item, name)
    for item in value if isinstance(value, list) else ():
        yield from naming(item, name)


def keys_of(place: Document) -> set[str]:
    keys = {place["key"]} if "key" in place and not place.get("optional") else set()
    return keys | {item["key"] for item in place.get("items", ())}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_manifests_in_the_text_have_known_fields(path: Path) -> None:
    for block in blocks(path, "yaml"):
        for document in (one for one in yaml.safe_load_all(block) if one and "kind" in one):
            assert not is_custom(document) or faults(document) == []


@pytest.mark.audit
def test_the_table_of_grace_periods_is_right() -> None:
    rows = dict(re.findall(r"^\| ([\w ,]+?) \| (\d+) \|", (K8S / "README.md").read_text(), re.MULTILINE))
    production, laptop = overlay("production"), overlay("laptop")
    service = next(one for one in production if one["kind"] == "RayService")
    groups = [one["spec"]["rayClusterConfig"]["workerGroupSpecs"][0] for one in (service, of_laptop(laptop))]
    assert int(rows["Ray worker, GPU"]) == groups[0]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert int(rows["Ray worker, CPU"]) == groups[1]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert int(rows["the old RayCluster"]) == service["spec"]["rayClusterDeletionDelaySeconds"]
    for row, name in (("edge", "edge"), ("relay", "turn"), ("collector, second tier", "collector-gateway")):
        (workload,) = (
            one for one in production if one["kind"] in {"Deployment", "DaemonSet"} and one["metadata"]["name"] == name
        )
        assert int(rows[row]) == workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def of_laptop(documents: Sequence[Document]) -> Document:
    service = next(one for one in documents if one["kind"] == "RayService")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    checked(application["args"])
    return service
