"""Settings come from a file, the environment and the command line, in this order, and unknown ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.settings import EdgeSettings, read_settings
from routing.errors import SettingsError

CONFIGS = Path(__file__).parent.parent / "configs"


def test_the_shipped_file_holds_the_defaults() -> None:
    assert read_settings(CONFIGS / "edge.yaml", environment={}) == EdgeSettings()


def test_the_environment_wins_over_the_file_and_arguments_over_both(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text("port: 1\nchunk_ms: 40\nturn_taking: {threshold: 0.4, pause_ms: 96}\n")
    environment = {"ANTIPHON_PORT": "2", "ANTIPHON_TURN_TAKING__THRESHOLD": "0.6", "HOME": "/"}
    settings = read_settings(file, environment=environment, port=3, host=None)
    assert (settings.port, settings.chunk_ms, settings.host) == (3, 40, "127.0.0.1")
    assert (settings.turn_taking.threshold, settings.turn_taking.pause_ms) == (0.6, 96)


def test_keys_are_separated_by_commas_and_never_shown() -> None:
    settings = read_settings(environment={"ANTIPHON_API_KEYS": "key-one, key-two"}, host="0.0.0.0")
    assert [key.get_secret_value() for key in settings.api_keys] == ["key-one", "key-two"]
    assert "key-one" not in repr(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_without_keys_only_loopback_is_bound(host: str) -> None:
    with pytest.raises(SettingsError, match=r"expected a loopback host.*ANTIPHON_API_KEYS"):
        read_settings(environment={}, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert read_settings(environment={}, host=host).development


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prot: 8080", "prot: there is no such setting"),
        ("turn_taking: {treshold: 1}", "turn_taking.treshold: there is no such setting"),
        ("chunk_ms: 10", "chunk_ms: .*greater than or equal to 20"),
        ("- 1", "expected a mapping"),
        ("{", "expected"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=message):
        read_settings(file, environment={})


def test_addresses_to_listen_on_come_from_the_environment_too() -> None:
    variable = "ANTIPHON_PEER__LISTEN_ADDRESSES"
    settings = read_settings(environment={variable: "192.0.2.1, 2001:db8::1"})
    assert settings.peer.listen_addresses == ("192.0.2.1", "2001:db8::1")
    with pytest.raises(SettingsError, match=r"^peer\.listen_addresses\.1: .*'here'"):
        read_settings(environment={variable: "192.0.2.1, here"})
    with pytest.raises(SettingsError, match=r"^peer\.listen_addresses: "):
        read_settings(environment={variable: ""})


def test_a_misspelt_variable_is_refused() -> None:
    with pytest.raises(SettingsError, match="prot"):
        read_settings(environment={"ANTIPHON_PROT": "8080"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        read_settings(tmp_path / "nowhere.yaml", environment={})
