"""Things written twice agree, and the house rules that no linter knows are kept."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from deployments.engine.settings import EngineSettings
from edge_client.settings import EdgeSettings

ROOT = Path(__file__).parent.parent
ROOMS = ("routing", "edge_client", "deployments")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
PINS = [*sorted(ROOT.glob("requirements*.txt")), ROOT / "edge_client" / "models" / "wheels.txt"]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
CI = (ROOT / ".ci" / "run").read_text()

FUNCTION_LINES = 10  # what half of all functions fit in


# -- code ------------------------------------------------------------------------------------------------------------


def test_half_of_the_functions_are_short() -> None:
    lengths = [length for path in MODULES for length in function_lengths(path)]
    assert statistics.median(lengths) <= FUNCTION_LINES


def function_lengths(path: Path) -> list[int]:
    """Lines from ``def`` to the end, decorators and docstring not counted."""
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [last_line(node) - node.lineno + 1 - docstring_lines(node) for node in functions]


def last_line(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return last_line(node.body[0]) - node.body[0].lineno + 1


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_holds(path: Path) -> None:
    module = parsed(path)
    assert not module.body or ast.get_docstring(module)


def test_imports_keep_their_direction() -> None:
    # In a process of its own: it configures logging for the whole process, and no log would be seen after it.
    program = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([program, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


# -- commands --------------------------------------------------------------------------------------------------------


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE))


def test_the_readme_names_every_command() -> None:
    assert set(re.findall(r"^\| `make ([a-z]+)` \|", README, re.MULTILINE)) == make_targets()


def test_continuous_integration_runs_commands_of_the_readme() -> None:
    commands = re.findall(r"^make ([a-z]+)", CI, re.MULTILINE)
    assert commands == ["check", "test", "audit", "hostile", "demo"]
    assert set(commands) <= make_targets()


# -- settings --------------------------------------------------------------------------------------------------------


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| `(.*?)` \|", README, re.MULTILINE)
    settings = [*values(EdgeSettings()), *values(EngineSettings(), "engine.")]
    assert {name: yaml.safe_load(default) for name, default in rows} == dict(settings)


def values(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings:
        if isinstance(value, BaseModel):
            yield from values(value, f"{prefix}{name}.")
        elif isinstance(value, SecretStr):
            yield prefix + name, value.get_secret_value()
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value


# -- dependencies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.name)
def test_every_pin_has_its_hashes_and_names_no_index(path: Path) -> None:
    text = path.read_text()
    pins = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all(re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ .*--hash=sha256:", pin, re.DOTALL) for pin in pins)
    assert "://" not in text
    assert "index-url" not in text


def test_what_the_demo_needs_is_part_of_what_development_needs() -> None:
    """Otherwise one environment could not serve both."""
    assert pinned("requirements.txt") <= pinned("requirements-dev.txt")


@pytest.mark.parametrize("extra", ["serve", "lfm2"])
def test_an_extra_stands_on_the_same_pins(extra: str) -> None:
    assert pinned("requirements.txt") <= pinned(f"requirements-{extra}.txt")


def pinned(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==[^ ;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_edge_needs_no_torch() -> None:
    assert not any(re.match(r"(torch|nvidia-(?!ml-py)|triton)", pin) for pin in pinned("requirements.txt"))


def test_uv_builds_the_project_by_itself() -> None:
    """With another version it would have to fetch the build backend, outside the pins."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert build[0].replace("uv_build", "uv") in pinned("requirements.txt")


# -- words -----------------------------------------------------------------------------------------------------------


def test_the_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    entries = changelog.split(f"## {PROJECT['version']}\n")[1].split("\n## ")[0]
    lines = [line for line in entries.splitlines() if line.startswith("- ")]
    assert lines
    assert all(re.match(r"- (Added|Changed|Fixed) ", line.replace(":", " ", 1)) for line in lines)


def test_no_file_names_a_home_or_a_registry() -> None:
    """What is true of one machine only has no place here. Every image of Ray has the home of its user `ray`."""
    private = re.compile(
        rf"{'/root'}/|/home/(?!ray\b)\w|/Users/\w|files\.pythonhosted|registry\.npmjs|pypi\.org/simple"
    )
    guilty = [path for path in tracked_files() if private.search(read_text(path))]
    assert not guilty


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def read_text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")
