"""Whatever is printed, shown or told as an error: no secret is in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.door_keys import DoorKeys
from deployments.settings import AppSettings
from edge_client.realtime.client_secrets import new_claims
from edge_client.realtime.key_files import open_ring
from edge_client.settings import EdgeSettings, read_settings
from edge_client.tls import Identity, TlsSettings, server_identity
from edge_client.webrtc.turn import relays
from edge_client.workers.orders import Orders
from routing.errors import SettingsError
from tests.certificates import certificate_pair

HIDDEN = [f"hidden-{number}-" + "x" * 32 for number in range(6)]
API_KEY, FILED_KEY, SIGNING_KEY, TURN_SECRET, CLOUD_KEY, CREW_KEY = HIDDEN


@pytest.fixture
def settings(tmp_path: Path) -> EdgeSettings:
    (tmp_path / "api").write_text(FILED_KEY)
    (tmp_path / "signing").write_text(SIGNING_KEY)
    pair = certificate_pair(tmp_path)
    given: dict[str, Any] = {
        "api_keys": API_KEY,
        "api_keys_file": tmp_path / "api",
        "signing_keys_file": tmp_path / "signing",
        "peer": {"turn": {"urls": "turn:relay.example", "secret": TURN_SECRET}},
        "cloud": {"url": "wss://cloud.example", "key": CLOUD_KEY},
        "upstream": {"key": CLOUD_KEY},
        "tls": {"certificate_file": pair.certificate, "key_file": pair.key},
    }
    return read_settings(None, environment={}, **given)


def shown(settings: EdgeSettings, tmp_path: Path) -> Iterator[Any]:
    """Everything that holds a secret, or has been made of one."""
    ring, now = open_ring(settings, None), time.time()
    secret = ring.issue({"instructions": API_KEY}, now=now, lifetime_sec=60, issuer="key-1")
    orders = Orders(
        number=0, settings=settings, signing_key=CREW_KEY.encode(), folder=tmp_path, listening=1, board=2, log_level=0
    )
    yield from (settings, settings.api_keys, settings.peer, settings.cloud, settings.model_dump_json(), orders)
    yield from (ring, ring.admit(API_KEY, now=now), ring.admit(FILED_KEY, now=now), ring.admit(secret.value, now=now))
    yield from (secret, new_claims({"instructions": API_KEY}, issuer="", expires_at=1))
    yield from (relays(settings.peer.turn, name="caller", now=now), server_identity(settings.tls), ring.used)
    cloud = AppSettings.model_validate({"ingress": {"keys": [CLOUD_KEY]}})
    yield from (cloud, cloud.model_dump_json(), DoorKeys(cloud.ingress.keys))


def test_nothing_shows_a_secret(settings: EdgeSettings, tmp_path: Path) -> None:
    for each in shown(settings, tmp_path):
        for text in (str(each), repr(each), f"{each}", repr([each]), repr({"it": each})):
            assert not any(hidden in text for hidden in HIDDEN), type(each)
            assert "ek_" not in text
            assert "PRIVATE" not in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_keys": {"key": API_KEY}},
        {"api_keys": [[API_KEY]]},
        {"cloud": {"key": f"{API_KEY}\n"}},
        {"cloud": {"url": f"wss://{API_KEY}@cloud.example"}},
        {"peer": {"turn": {"secret": API_KEY}}},
        {"tls": {"certificate_file": "edge.crt", "key": API_KEY}},
    ],
)
def test_no_mistake_in_settings_is_told_with_a_secret(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(None, environment={}, **wrong)
    assert API_KEY not in str(refused.value)


def test_no_mistake_in_a_certificate_is_told_with_its_key(tmp_path: Path) -> None:
    pair = certificate_pair(tmp_path)
    swapped = TlsSettings(certificate_file=pair.key, key_file=pair.certificate)
    with pytest.raises(SettingsError) as refused:
        server_identity(swapped)
    assert not any(line in str(refused.value) for line in pair.key.read_text().splitlines())
    good = server_identity(TlsSettings(certificate_file=pair.certificate, key_file=pair.key))
    assert isinstance(good, Identity)
    assert not any(line in repr(vars(good)) for line in pair.key.read_text().splitlines())
