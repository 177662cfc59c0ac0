"""Keys of an edge in files: changed while it runs, without a caller noticing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from edge_client.realtime.key_files import open_ring
from edge_client.realtime.keys import KeyRing, Unauthorized
from edge_client.settings import EdgeSettings
from routing.errors import SettingsError
from tests.edge import running_edge

type Files = dict[str, Any]  # settings that name a file

OLD, NEW = "signing-key-number-one-of-thirty-two", "signing-key-number-two-of-thirty-two"
SECRETS = "/v1/realtime/client_secrets"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "api").write_text("key-one\n")
    (tmp_path / "signing").write_text(f"{OLD}\n")
    return {"api_keys_file": tmp_path / "api", "signing_keys_file": tmp_path / "signing"}


def admitted(ring: KeyRing, credential: str) -> bool:
    try:
        ring.admit(credential, now=time.time())
    except Unauthorized:
        return False
    return True


def test_keys_of_the_settings_and_of_the_file_count(files: Files) -> None:
    settings = EdgeSettings(api_keys=(SecretStr("key-zero"),), host="0.0.0.0", **files)
    ring = open_ring(settings, None)
    assert [admitted(ring, key) for key in ("key-zero", "key-one", "key-two")] == [True, True, False]


def test_edges_with_the_same_signing_keys_believe_each_other(files: Files) -> None:
    one, other = (open_ring(EdgeSettings(**files), None) for _ in range(2))
    assert admitted(other, one.issue({}, now=time.time(), lifetime_sec=60).value)
    stranger = open_ring(EdgeSettings(api_keys_file=files["api_keys_file"]), None)
    assert not admitted(stranger, one.issue({}, now=time.time(), lifetime_sec=60).value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("api_keys_file", "", "expected at least one key, got none"),
        ("signing_keys_file", "too-short", "expected a key of at least 32 visible characters"),
        ("signing_keys_file", None, "No such file"),
    ],
)
def test_a_file_that_is_wrong_at_the_start_is_an_error(
    files: Files, name: str, content: str | None, reason: str
) -> None:
    files[name].unlink() if content is None else files[name].write_text(content)
    with pytest.raises(SettingsError, match=reason):
        open_ring(EdgeSettings(**files), None)


def test_a_file_ends_development_mode_even_while_it_was_not_read() -> None:
    assert not EdgeSettings(api_keys_file=Path("keys")).development


@pytest.mark.slow
async def test_keys_are_changed_while_the_edge_runs(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.key_file.LOOK_SEC", 0.02)
    unlimited = {"requests_per_minute": 0}  # who asks again and again with the wrong key would be answered with 429
    async with running_edge(**files, limits=unlimited) as edge, httpx.AsyncClient(base_url=edge.url) as client:

        async def made(key: str) -> httpx.Response:
            return await client.post(SECRETS, json={}, headers={"Authorization": f"Bearer {key}"})

        async def until(key: str, status: int) -> None:
            async with asyncio.timeout(10):
                while (await made(key)).status_code != status:
                    await asyncio.sleep(0.02)

        async def asked(secret: str) -> int:
            headers = {"Authorization": f"Bearer {secret}"}
            return (await client.get("/v1/realtime/ice_servers", headers=headers)).status_code

        async def signed_with(*keys: str) -> None:
            async with asyncio.timeout(10):
                while edge.edge.keys._signing_keys != tuple(key.encode() for key in keys):
                    await asyncio.sleep(0.02)

        await until("key-one", 200)
        await signed_with(OLD)  # each file is read by itself
        secret = (await made("key-one")).json()["value"]
        await asyncio.to_thread(files["api_keys_file"].write_text, "key-two\n")
        await until("key-two", 200)
        assert (await made("key-one")).status_code == 401
        assert await asked(secret) == 200
        await asyncio.to_thread(files["api_keys_file"].write_text, "")  # a mistake
        await asyncio.to_thread(files["signing_keys_file"].write_text, f"{NEW}\n{OLD}\n")
        await signed_with(NEW, OLD)
        assert (await made("key-two")).status_code == 200
        assert await asked(secret) == 200  # the old key still opens
        await asyncio.to_thread(files["signing_keys_file"].write_text, f"{NEW}\n")
        async with asyncio.timeout(10):
            while await asked(secret) != 401:
                await asyncio.sleep(0.02)
