"""The images: pinned, and not root's; what they copy is there, and what the edge's says can be done and then runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from edge_client.caller.server_process import server_process
from tests.audit import audit_tool, missing, program
from tests.dockerfile import Copy, Dockerfile, Ignored, Stage, fits, ignored, read
from tests.image_replay import USER, Replay
from tests.shared_libraries import foreign_libraries

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "k8s" / "images"
FILES = {path.stem: path for path in sorted(IMAGES.glob("*.Dockerfile"))}
READ = {name: read(path) for name, path in FILES.items()}
STAGES = [(name, stage) for name, file in READ.items() for stage in file.stages]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements-serve.txt").read_text()

each_image = pytest.mark.parametrize("name", FILES)
each_stage = pytest.mark.parametrize(("name", "stage"), STAGES, ids=[f"{name}-{stage.name}" for name, stage in STAGES])

# What every Debian has, without which Python itself would not start or apt would not.
BASE_LIBRARIES = set(
    "ld-linux-x86-64.so.2 libc.so.6 libdl.so.2 libgcc_s.so.1 libm.so.6 libmvec.so.1 libpthread.so.0 librt.so.1 "
    "libstdc++.so.6 libz.so.1".split()
)
PACKAGES = {"libgomp1": "libgomp.so.1"}  # what is installed besides, and what for
START_SEC = 60.0
READY = re.compile(r"ready at (http://[\d.:]+)")


# -- what they are built from ----------------------------------------------------------------------------------------


@each_image
def test_what_it_is_built_from_is_of_one_version_and_can_be_given_by_digest(name: str) -> None:
    file = READ[name]
    for stage in file.stages:
        if not any(stage.base == f"${{{argument}}}" for argument in file.arguments):
            assert stage.base.split("${")[0].rstrip("-") in {earlier.name.split("-")[0] for earlier in file.stages}
        else:
            assert re.fullmatch(r"docker\.io/[a-z/]+:\d+\.\d+\.\d+-[a-z0-9-]+", file.image(stage))


def test_ray_is_the_one_of_the_pins() -> None:
    version = re.search(r"^ray==(\S+)", LOCK, re.MULTILINE)
    assert version
    for hardware in ("cpu", "gpu"):
        image = READ["ray"].image(READ["ray"].stage("base"), HARDWARE=hardware)
        assert image == f"docker.io/rayproject/ray:{version[1]}-py312-{hardware}"


@pytest.mark.parametrize("hardware", ["cpu", "gpu"])
def test_there_are_pins_for_each_hardware(hardware: str) -> None:
    file = READ["ray"]
    base = file.image(file.stage("ray"), HARDWARE=hardware)
    assert file.stage(base).base == "base"


def test_the_pins_that_share_an_image_agree() -> None:
    pins = [dict(pinned(f"requirements-{extra}.txt")) for extra in ("serve", "lfm2")]
    shared = pins[0].keys() & pins[1].keys()
    assert len(shared) > 20
    assert {name: pins[0][name] for name in shared} == {name: pins[1][name] for name in shared}


def pinned(name: str) -> list[tuple[str, str]]:
    return re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (ROOT / name).read_text(), re.MULTILINE)


@each_stage
def test_what_is_installed_is_pinned(name: str, stage: Stage) -> None:
    for command in stage.commands():
        if "pip install" in command or "pip sync" in command:
            assert "--require-hashes" in command or "--offline" in command, command
        if command.startswith("apt-get install"):
            assert all("=" in word for word in command.split()[2:] if not word.startswith("--")), command


@each_stage
def test_what_is_installed_is_compiled(name: str, stage: Stage) -> None:
    """Python may write nothing where these run, and so every process would compile it at each start."""
    assert "PYTHONDONTWRITEBYTECODE" in READ[name].stages[-1].environment()
    for command in stage.commands():
        if "uv pip install" in command or "uv pip sync" in command:
            assert "--compile-bytecode" in command, command


@each_image
def test_it_installs_no_packages_but_those_whose_use_is_known(name: str) -> None:
    commands = [text for stage in READ[name].stages for text in stage.texts("RUN")]
    assert set(re.findall(r"([a-z0-9+.-]+)=\S+(?= &&)", " ".join(commands))) <= PACKAGES.keys()


# -- what is copied --------------------------------------------------------------------------------------------------


def from_context() -> list[tuple[str, str]]:
    copies = [(name, copy) for name, stage in STAGES for copy in stage.copies() if copy.stage is None]
    return [(name, source) for name, copy in copies for source in copy.sources]


@pytest.mark.parametrize(("name", "source"), from_context())
def test_what_is_copied_is_there_and_the_builder_is_sent_it(name: str, source: str) -> None:
    assert (ROOT / source).exists()
    sent = ignored(FILES[name])
    files = [PurePosixPath(path) for path in tracked() if path == source or path.startswith(f"{source}/")]
    assert files
    assert [path for path in files if not sent.sends(path)] == []


@each_image
def test_the_builder_is_sent_nothing_else(name: str) -> None:
    sources = [source for image, source in from_context() if image == name]
    sent = ignored(FILES[name])
    kept = [path for path in tracked() if sent.sends(PurePosixPath(path))]
    assert [
        path for path in kept if not any(path == source or path.startswith(f"{source}/") for source in sources)
    ] == []
    assert not sent.sends(PurePosixPath("edge_client/__pycache__/cli.cpython-312.pyc"))
    assert not sent.sends(PurePosixPath(".git/config"))


@cache
def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split("\0")[:-1]


@each_stage
def test_what_comes_from_another_stage_is_made_there(name: str, stage: Stage) -> None:
    for copy in (copy for copy in stage.copies() if copy.stage):
        earlier = READ[name].stage(str(copy.stage))
        assert READ[name].stages.index(earlier) < READ[name].stages.index(stage)
        for source in copy.sources:
            workdir = PurePosixPath(earlier.texts("WORKDIR")[-1])
            made = PurePosixPath(source).relative_to(workdir)
            assert any(str(made) in text for text in [*earlier.texts("RUN"), *earlier.texts("ENV")])
            assert str(copy.target) == source  # a venv knows its own place


def test_all_that_the_project_is_made_of_is_copied() -> None:
    """What pyproject.toml names: the packages, and what a build of it reads."""
    needed = {"pyproject.toml", "README.md", "LICENSE", "routing", "edge_client", "deployments"}
    for name in FILES:
        assert needed <= {source for image, source in from_context() if image == name}
    assert PROJECT["readme"] == "README.md"


# -- who runs what ---------------------------------------------------------------------------------------------------


@each_image
def test_it_runs_as_a_user_who_is_known_by_number_and_is_not_root(name: str) -> None:
    user = READ[name].stages[-1].texts("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert name != "edge" or user == f"{USER}:{USER}"


@each_image
def test_it_says_what_it_is(name: str) -> None:
    stage = READ[name].stages[-1]
    assert stage.labels() == {
        "org.opencontainers.image.title": f"antiphon-{name}",
        "org.opencontainers.image.description": stage.labels()["org.opencontainers.image.description"],
        "org.opencontainers.image.version": "${VERSION}",
        "org.opencontainers.image.licenses": PROJECT["license"],
    }
    assert f"VERSION={PROJECT['version']}" in stage.texts("ARG")


@each_image
def test_it_ends_on_sigterm_and_leaves_its_health_to_kubernetes(name: str) -> None:
    stage = READ[name].stages[-1]
    assert stage.texts("STOPSIGNAL") == ["SIGTERM"]
    assert stage.texts("HEALTHCHECK") == ["NONE"]


def test_no_shell_stands_between_the_edge_and_its_signals() -> None:
    edge = READ["edge"].stages[-1]
    assert [*edge.exec_form("ENTRYPOINT"), *edge.exec_form("CMD")] == ["antiphon", "edge"]
    assert {"antiphon"} <= PROJECT["scripts"].keys()


def test_what_fetches_and_builds_stays_behind() -> None:
    build, edge = READ["edge"].stage("build"), READ["edge"].stages[-1]
    assert build.texts("RUN")[-1] == "build/uv/bin/uv pip uninstall --python venv uv"
    assert "python -m pip uninstall --yes" in edge.texts("RUN")[-1]
    assert [copy.sources for copy in edge.copies()] == [("/opt/antiphon/venv",), ("/opt/antiphon/models",)]


# -- this reader of Dockerfiles --------------------------------------------------------------------------------------


EXAMPLE = """
ARG A=1
ARG B=i:${A}
FROM ${B} AS one
# a note
RUN a \\
    # why
    && b
COPY --from=z c d e/
ENV F=g \\
    H="i j"
CMD ["k"]
"""


def test_a_dockerfile_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.Dockerfile"
    path.write_text(EXAMPLE)
    file = read(path)
    (stage,) = file.stages
    assert isinstance(file, Dockerfile)
    assert (file.image(stage), file.image(stage, A="2")) == ("i:1", "i:2")
    assert stage.texts("RUN") == ["a && b"]
    assert stage.commands() == ["a", "b"]
    assert stage.copies() == [Copy(("c", "d"), "e/", "z")]
    assert stage.environment() == {"F": "g", "H": "i j"}
    assert stage.exec_form("CMD") == ["k"]


@pytest.mark.parametrize(
    ("patterns", "path", "sends"),
    [
        (("*", "!a"), "a/b/c", True),
        (("*", "!a"), "b", False),
        (("*", "!a", "**/x"), "a/b/x/c", False),
        (("*", "!a", "**/*.pyc"), "a/b.pyc", False),
        (("a/*",), "a/b/c", False),
        (("*.md", "!R*.md"), "README.md", True),
    ],
)
def test_what_a_builder_is_sent(patterns: tuple[str, ...], path: str, sends: bool) -> None:
    assert Ignored(patterns).sends(PurePosixPath(path)) is sends


def test_a_pattern_is_no_regular_expression() -> None:
    assert fits("a.b", PurePosixPath("a.b"))
    assert not fits("a.b", PurePosixPath("axb"))


# -- with tools ------------------------------------------------------------------------------------------------------


@pytest.mark.audit
def test_hadolint_has_nothing_to_say() -> None:
    outcome = subprocess.run(
        [audit_tool("hadolint"), "--config", IMAGES / ".hadolint.yaml", *FILES.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout == ""
    assert outcome.returncode == 0


@pytest.fixture(scope="session")  # tests of it do not all run one after the other
def edge(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The edge's image, or rather what lies in it, made by its own commands."""
    if reason := lack_of_root_folders():
        missing(reason)
    folder, sent = tmp_path_factory.mktemp("image"), ignored(FILES["edge"])
    folder.chmod(0o755)
    build = Replay(READ["edge"].stage("build"), folder, ROOT, sent)
    build.run(builds=True)
    final = Replay(READ["edge"].stages[-1], folder, ROOT, sent, {"build": build})
    final.run(builds=False)
    return final


@pytest.mark.audit
@pytest.mark.timeout(180)
def test_the_edge_in_the_image_has_all_that_it_needs(edge: Replay) -> None:
    venv = edge.root / "opt" / "antiphon" / "venv"
    assert foreign_libraries(venv) <= BASE_LIBRARIES | {PACKAGES[name] for name in installed(edge.stage)}
    assert not {"pip", "uv"} & {path.name for path in (venv / "bin").iterdir()}
    assert "all as they should be" in run(edge, "antiphon", "models", "verify")
    stamps = json.loads((edge.root / "opt" / "antiphon" / "models" / "verified.json").read_text())
    assert stamps
    assert all(time % 1_000_000_000 == 0 for _, time, _ in stamps.values())  # a layer keeps whole seconds


@pytest.mark.audit
@pytest.mark.timeout(180)
def test_nobody_in_the_image_can_change_it(edge: Replay) -> None:
    attempt = "import os, pathlib; print(os.getuid()); pathlib.Path('/opt/antiphon/venv/x').touch()"
    ended = subprocess.run(
        edge.command(["python", "-c", attempt], access="ro"), capture_output=True, text=True, check=False
    )
    assert "Read-only file system" in ended.stderr
    assert ended.stdout.strip() == (str(USER) if os.geteuid() == 0 else "0")  # no other user can be had without root


@pytest.mark.audit
@pytest.mark.models
@pytest.mark.timeout(180)
async def test_the_edge_in_the_image_answers_a_turn(edge: Replay, tmp_path: Path) -> None:
    stage = edge.stage
    words = [*stage.exec_form("ENTRYPOINT"), *stage.exec_form("CMD")]
    command = edge.command(words, access="ro", ANTIPHON_PORT="0", ANTIPHON_HOST="127.0.0.1")
    async with server_process(
        command, name="the edge", ready=READY, environment=dict(os.environ), start_timeout_sec=START_SEC
    ) as server:
        report = await asyncio.to_thread(called, server.url, tmp_path / "report.json")
    assert "84" in report or "eighty" in report.lower(), report


def called(url: str, report: Path) -> str:
    """What a caller reports who asks one question."""
    antiphon = Path(sys.executable).with_name("antiphon")
    question = ["--text", "What is twelve times seven?", "--json", str(report)]
    ended = subprocess.run([antiphon, "call", url, *question], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return report.read_text()


def lack_of_root_folders() -> str | None:
    """What the replay needs of the system."""
    attempt = [program("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "true"]
    allowed = subprocess.run(attempt, capture_output=True, check=False).returncode == 0
    return None if allowed else "this system lets nobody mount folders in a namespace of their own"


def run(replay: Replay, *words: str) -> str:
    ended = subprocess.run(replay.command(words, access="ro"), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def installed(stage: Stage) -> set[str]:
    return set(re.findall(r"([a-z0-9+.-]+)=\S+(?= &&)", " ".join(stage.texts("RUN"))))
