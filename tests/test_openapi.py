"""The description of the HTTP surface is true: of every route, and of whatever a running edge answers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from edge_client.caller.edge_process import edge_process
from edge_client.realtime.openapi import DOCUMENT, PATH
from edge_client.realtime.server import create_app
from tests.edge import running_edge, scripted_edge

KEY = "key-of-the-operator"
SCHEMATHESIS = Path(sys.prefix) / "audit" / "bin" / "schemathesis"
PAGE = {("get", "/")}  # for people

# An offer is neither JSON nor a form; schemathesis has to be told how text is sent.
HOOKS = """
import schemathesis


@schemathesis.serializer("application/sdp")
def sdp(ctx, value):
    return value.encode(errors="replace") if isinstance(value, str) else str(value).encode()
"""


async def test_every_route_is_described_and_no_other() -> None:
    async with scripted_edge() as edge:
        routes = {
            (method.lower(), route.path)
            for route in create_app(edge).routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }
    assert routes - PAGE == {(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations}


async def test_the_description_is_served_to_everybody() -> None:
    async with running_edge(api_keys=(KEY,)) as edge, httpx.AsyncClient(base_url=edge.url, verify=False) as client:
        served = await client.get(PATH)
    assert served.json() == DOCUMENT


@pytest.fixture
def schemathesis() -> None:
    """The program, or a reason to go without; in CI there is none."""
    if not SCHEMATHESIS.exists():
        assert "CI" not in os.environ, "expected the tools of `make audit`"
        pytest.skip("no schemathesis; run: make audit")


@pytest.mark.hostile
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("key", "examples"), [(KEY, 40), ("a-wrong-one", 10)])
async def test_a_running_edge_answers_as_described(
    key: str, examples: int, tmp_path: Path, schemathesis: None, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "ANTIPHON_API_KEYS": KEY,
        "ANTIPHON_LIMITS__REQUESTS_PER_MINUTE": "0",
        "ANTIPHON_TELEMETRY__FILE": str(tmp_path / "traces.jsonl"),
    }
    hooks = tmp_path / "hooks.py"
    await asyncio.to_thread(hooks.write_text, HOOKS)
    async with edge_process(arguments=("--engine", "tone"), settings=settings) as edge:
        outcome = await asyncio.to_thread(examine, f"{edge.url}{PATH}", key, hooks, examples)
        assert edge.process.returncode is None
    with capsys.disabled():
        print("\n" + "\n".join(outcome.stdout.splitlines()[-12:]))  # noqa: T201 (figures to be read)
    assert outcome.returncode == 0, outcome.stdout[-8000:]


def examine(url: str, key: str, hooks: Path, examples: int) -> subprocess.CompletedProcess[str]:
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance,response_headers_conformance"
    )
    command: list[str | Path] = [SCHEMATHESIS, "run", url, "--checks", checks, "--max-examples", str(examples)]
    command += ["--header", f"Authorization: Bearer {key}", "--seed", "1", "--no-color", "--continue-on-failure"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(hooks.with_suffix("").name), "PYTHONPATH": str(hooks.parent)}
    return subprocess.run(command, env=environment, cwd=hooks.parent, capture_output=True, text=True, check=False)
