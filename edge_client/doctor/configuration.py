"""Whether the settings can be read, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_client.doctor.finding import Finding, fault, ok, warning
from edge_client.settings import PREFIX, READ_ELSEWHERE, EdgeSettings, keeping_traces, read_settings
from routing.errors import SettingsError

ABOUT = "settings"


def read(file: Path | None, environment: Mapping[str, str]) -> tuple[EdgeSettings | None, list[Finding]]:
    """The settings, or None where they cannot be read; and what there is to say of them. Reads files."""
    try:
        settings = read_settings(file, environment=environment)
    except SettingsError as error:
        return None, [_unreadable(error)]
    findings = [ok(ABOUT, _source(file, environment)), *_meaning(settings)]
    return keeping_traces(settings, environment), findings


def _unreadable(error: SettingsError) -> Finding:
    return fault(
        ABOUT,
        str(error),
        expected="settings that the edge takes",
        advice="Mend them first: the README lists every setting, and configs/edge.yaml shows them all.",
    )


def _source(file: Path | None, environment: Mapping[str, str]) -> str:
    variables = sum(name.startswith(PREFIX) and name not in READ_ELSEWHERE for name in environment)
    return f"{file or 'no file: the defaults'}, and {variables} variables of the environment over it"


def _meaning(settings: EdgeSettings) -> Iterator[Finding]:
    if settings.development:
        yield ok(
            "who may call",
            "there are no API keys (development mode): whoever is on this machine may call, and nobody else",
            advice="Set ANTIPHON_API_KEYS before others shall call.",
        )
    else:
        yield ok("who may call", "whoever has an API key or a client secret")
    if not settings.on_loopback and settings.tls.certificate_file is None and not settings.trusted_proxies:
        yield _unencrypted(settings)
    if settings.drain_sec and settings.signing_keys_file is None:
        yield _tickets_of_its_own()
    if settings.telemetry.content:
        yield _content()


def _unencrypted(settings: EdgeSettings) -> Finding:
    return warning(
        "encryption",
        f"plain HTTP on {settings.host}",
        expected="TLS in front of callers from elsewhere",
        advice="Set tls.certificate_file and tls.key_file, or have a proxy encrypt (and name it in"
        " trusted_proxies): browsers give their microphone to no other pages, and keys could be read on the way.",
    )


def _tickets_of_its_own() -> Finding:
    return warning(
        "hand-over",
        "drain_sec without signing_keys_file: the keys are made at each start, and no other edge has them",
        expected="keys that all edges share, so that another one takes the sessions of one that leaves",
        advice="Give all edges the same signing_keys_file; a key is made by: openssl rand -hex 32",
    )


def _content() -> Finding:
    return warning(
        "privacy",
        "telemetry.content is on: what is said and answered is written into traces",
        expected="traces without words",
        advice="Turn telemetry.content off unless everybody who speaks here has agreed.",
    )
