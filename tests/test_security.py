"""What SECURITY.md says is there is there: the tests that hold it, the settings, the files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from deployments.settings import IngressSettings
from edge_client.settings import EdgeSettings

TEXT = Path("SECURITY.md").read_text("utf-8")
TESTS = sorted(set(re.findall(r"T/(test_\w+\.py)(?:::(\w+))?", TEXT)))
SETTINGS = sorted(set(re.findall(r"`((?:limits|tls|cloud|peer|ingress)\.[\w.]+)`", TEXT)))


@pytest.mark.parametrize(("file", "name"), TESTS, ids=[f"{file}::{name}" for file, name in TESTS])
def test_each_test_that_it_names_is_there(file: str, name: str) -> None:
    tree = ast.parse((Path("tests") / file).read_text("utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not name or name in names


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_that_it_names_is_there(setting: str) -> None:
    room, *path = setting.split(".")
    kind: type[BaseModel] = IngressSettings if room == "ingress" else EdgeSettings
    for name in path if room == "ingress" else [room, *path]:
        assert name in kind.model_fields, setting
        inner = kind.model_fields[name].annotation
        kind = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else BaseModel


def test_each_defence_has_its_test() -> None:
    rows = [line.split("|") for line in TEXT.splitlines() if line.startswith("| ") and "T/" in line]
    tables = [line for line in TEXT.splitlines() if line.startswith("| ") and line.count("|") == 4]
    told = [line for line in tables if not line.startswith(("| asset", "| it might", "| they might"))]
    of_attackers = TEXT[TEXT.index("## Who might attack") : TEXT.index("## What is left open")]
    assert len(rows) > 15
    assert all("T/" in line for line in told if line in of_attackers)


def test_each_path_that_it_names_is_there() -> None:
    for path in re.findall(r"`(k8s/[\w/.-]+)`", TEXT):
        assert Path(path).exists(), path
