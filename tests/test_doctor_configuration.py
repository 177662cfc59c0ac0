"""Settings that cannot be read, and what those mean that can."""

from __future__ import annotations

from pathlib import Path

from edge_client.doctor.configuration import read


def test_the_defaults_are_development_and_say_what_that_means(tmp_path: Path) -> None:
    settings, [source, who] = read(None, {"XDG_STATE_HOME": str(tmp_path)})
    assert settings is not None
    assert source.found == "no file: the defaults, and 0 variables of the environment over it"
    assert who.verdict == "ok"
    assert "development mode" in who.found
    assert "ANTIPHON_API_KEYS" in who.advice


def test_an_unknown_setting_is_a_fault_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text("prot: 8080\n")
    settings, [found] = read(file, {})
    assert settings is None
    assert found.verdict == "fault"
    assert "prot: there is no such setting" in found.found


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    _, [found] = read(tmp_path / "edge.yaml", {})
    assert (found.verdict, "No such file" in found.found) == ("fault", True)


def test_keys_without_encryption_are_warned_of_and_not_shown(tmp_path: Path) -> None:
    environment = {
        "ANTIPHON_HOST": "0.0.0.0",
        "ANTIPHON_API_KEYS": "a-long-and-secret-key",
        "ANTIPHON_TELEMETRY__CONTENT": "true",
        "XDG_STATE_HOME": str(tmp_path),
    }
    _, findings = read(None, environment)
    assert [each.about for each in findings if each.verdict == "warning"] == ["encryption", "privacy"]
    assert "a-long-and-secret-key" not in "".join(each.line for each in findings)
    _, behind = read(None, environment | {"ANTIPHON_TRUSTED_PROXIES": "10.0.0.0/8"})
    assert [each.about for each in behind if each.verdict == "warning"] == ["privacy"]


def test_an_edge_that_hands_sessions_over_with_keys_of_its_own_is_warned_of(tmp_path: Path) -> None:
    environment = {"ANTIPHON_DRAIN_SEC": "60", "XDG_STATE_HOME": str(tmp_path)}
    _, [*_, alone] = read(None, environment)
    _, shared = read(None, environment | {"ANTIPHON_SIGNING_KEYS_FILE": str(tmp_path / "keys")})
    assert (alone.about, alone.verdict) == ("hand-over", "warning")
    assert all(each.verdict == "ok" for each in shared)
