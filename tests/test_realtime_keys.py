"""Who is let in."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from edge_client.realtime.keys import ClientSecret, KeyRing, Unauthorized
from tests.edge import running_edge

KEYS = (SecretStr("key-one"), SecretStr("key-two"))


def test_every_key_of_the_operator_opens_and_others_do_not() -> None:
    ring = KeyRing(KEYS)
    assert ring.admit("key-one", now=0) == ring.admit("key-two", now=0) == {}
    for credential in (None, "", "key-three", "key-on", "ek_forged.signature", "ek_", "ek_a.b.c", "ék"):
        with pytest.raises(Unauthorized):
            ring.admit(credential, now=0)


def test_a_client_secret_brings_its_session_until_it_expires() -> None:
    ring = KeyRing(KEYS)
    secret = ring.issue({"instructions": "Be brief."}, now=100.0, lifetime_sec=60)
    assert secret.value.startswith("ek_")
    assert secret.expires_at == 160
    assert ring.admit(secret.value, now=159) == {"instructions": "Be brief."}
    with pytest.raises(Unauthorized):
        ring.admit(secret.value, now=160)


def test_a_client_secret_cannot_be_changed_or_used_elsewhere() -> None:
    ring = KeyRing(KEYS)
    secret = ring.issue({}, now=0, lifetime_sec=60).value
    longer = KeyRing(KEYS).issue({}, now=0, lifetime_sec=7200).value
    mixed = longer.partition(".")[0] + "." + secret.partition(".")[2]
    for forged in (longer, mixed, secret[:-1]):
        with pytest.raises(Unauthorized):
            ring.admit(forged, now=1)


def test_without_keys_everybody_is_let_in() -> None:
    assert KeyRing(()).admit(None, now=0) == {}


def test_a_secret_is_not_shown_by_accident() -> None:
    assert "ek_1" not in repr(ClientSecret("ek_1", 0, {}))


async def test_only_the_operators_keys_make_client_secrets() -> None:
    async with running_edge(api_keys="key-one") as edge, httpx.AsyncClient(base_url=edge.url) as client:
        refused = await client.post("/v1/realtime/client_secrets", json={})
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        operator = {"Authorization": "Bearer key-one"}
        made = await client.post("/v1/realtime/client_secrets", json={}, headers=operator)
        secret = {"Authorization": f"Bearer {made.json()['value']}"}
        assert (await client.post("/v1/realtime/client_secrets", json={}, headers=secret)).status_code == 401
        offer = {"content": "nonsense", "headers": secret | {"Content-Type": "application/sdp"}}
        assert (await client.post("/v1/realtime/calls", **offer)).status_code == 400  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds"),
        ({"session": {"output_modalities": ["smell"]}}, "session.output_modalities.0"),
        ([], ""),
    ],
)
async def test_a_wish_for_a_secret_that_cannot_be_met_is_explained(body: object, param: str) -> None:
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client:
        refused = await client.post("/v1/realtime/client_secrets", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
