"""A wrong setting of telemetry is told as such, and no key is repeated."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from routing.telemetry.settings import TelemetrySettings


def test_by_default_everything_stays_here() -> None:
    settings = TelemetrySettings()
    assert (settings.file, settings.endpoint, settings.content) == (None, "", False)


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:4318", "http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"],
)
def test_a_collector_is_named_by_its_address(endpoint: str) -> None:
    settings = TelemetrySettings(endpoint=endpoint)
    assert settings.address("traces") == "http://127.0.0.1:4318/v1/traces"
    assert settings.address("metrics") == "http://127.0.0.1:4318/v1/metrics"


def test_a_collector_may_live_under_a_path() -> None:
    assert TelemetrySettings(endpoint="https://otel.test/in").address("traces") == "https://otel.test/in/v1/traces"


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("collector:4318", "scheme 'collector'|got none"),
        ("grpc://collector:4317", "scheme 'grpc'"),
        ("http://", "got none"),
        ("http://collector:s3cret", "got none"),
        ("http://key:s3cret@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("http://collector:4318?key=s3cret", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(endpoint: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        TelemetrySettings(endpoint=endpoint)
    assert "s3cret" not in str(refused.value)


def test_unknown_settings_and_files_without_room_are_refused() -> None:
    with pytest.raises(ValidationError, match="sampling"):
        TelemetrySettings.model_validate({"sampling": 0.1})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        TelemetrySettings(file_mebibytes=0)
