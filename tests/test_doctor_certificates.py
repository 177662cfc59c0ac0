"""Certificates that are of another key, over, not yet begun, or for another name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from edge_client.cloud.settings import CloudSettings
from edge_client.doctor.certificates import look_at_certificates
from edge_client.doctor.finding import Finding
from edge_client.settings import EdgeSettings
from edge_client.tls import TlsSettings
from tests.certificates import certificate_pair


def look(certificate: Path, key: Path, host: str | None = None) -> Finding:
    [found] = look_at_certificates(EdgeSettings(tls=TlsSettings(certificate_file=certificate, key_file=key)), host=host)
    return found


@pytest.mark.parametrize("host", [None, "localhost", "LOCALHOST", "127.0.0.1", "voice.example"])
def test_one_that_fits_is_told_with_its_names_and_days(tmp_path: Path, host: str | None) -> None:
    pair = certificate_pair(tmp_path, names=("localhost", "*.example"))
    found = look(pair.certificate, pair.key, host)
    assert found.verdict == "ok"
    assert found.found == "for localhost, *.example, 127.0.0.1, 89 days left"
    assert "signed by itself" in found.advice


@pytest.mark.parametrize("host", ["voice.test", "deep.voice.example", "127.0.0.2"])
def test_one_for_another_name_is_a_fault(tmp_path: Path, host: str) -> None:
    pair = certificate_pair(tmp_path, names=("localhost", "*.example"))
    found = look(pair.certificate, pair.key, host)
    assert (found.verdict, found.expected) == ("fault", f"one for {host}")


@pytest.mark.parametrize(
    ("begins", "ends", "verdict", "told"),
    [
        (-9, -1, "fault", "one that ended on"),
        (1, 9, "fault", "one that begins on"),
        (-9, 9, "warning", "8 days"),
    ],
)
def test_its_dates_are_told(tmp_path: Path, begins: int, ends: int, verdict: str, told: str) -> None:
    pair = certificate_pair(tmp_path, begins=timedelta(days=begins), ends=timedelta(days=ends))
    found = look(pair.certificate, pair.key)
    assert found.verdict == verdict
    assert told in found.found


def test_one_with_the_key_of_another_is_a_fault(tmp_path: Path) -> None:
    one, other = certificate_pair(tmp_path, name="one"), certificate_pair(tmp_path, name="other")
    found = look(one.certificate, other.key)
    assert found.verdict == "fault"
    assert "the key of another certificate" in found.found
    assert found.advice.startswith("Name the files of one and the same pair")


def test_files_that_are_missing_or_no_certificates_are_faults(tmp_path: Path) -> None:
    pair = certificate_pair(tmp_path)
    assert "No such file" in look(tmp_path / "nowhere.crt", pair.key).found
    pair.certificate.write_text("nothing of the kind")
    assert look(pair.certificate, pair.key).verdict == "fault"


def test_what_the_cloud_is_shown_is_looked_at_too(tmp_path: Path) -> None:
    pair = certificate_pair(tmp_path, ends=timedelta(days=-1), begins=timedelta(days=-2))
    cloud = CloudSettings(
        url="wss://cloud.example", ca_file=pair.certificate, certificate_file=pair.certificate, key_file=pair.key
    )
    shown, authority = look_at_certificates(EdgeSettings(cloud=cloud), host=None)
    assert (shown.about, shown.verdict) == ("certificate for the cloud", "fault")
    assert (authority.about, authority.verdict) == ("authority of the cloud", "ok")


def test_an_authority_that_is_none_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("nothing of the kind")
    [found] = look_at_certificates(EdgeSettings(cloud=CloudSettings(url="wss://a.example", ca_file=file)), host=None)
    assert found.verdict == "fault"
