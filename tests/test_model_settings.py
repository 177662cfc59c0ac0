"""A setting that does not exist is refused, and the one that was meant is named."""

from __future__ import annotations

import pytest

from deployments.engine.settings import EngineSettings
from deployments.model_settings import settings_of
from routing.errors import SettingsError


def test_known_settings_are_taken() -> None:
    settings = settings_of(EngineSettings, {"slots": 48, "scheduler": {"maximum_waiting": 3}})
    assert (settings.slots, settings.scheduler.maximum_waiting, settings.dtype) == (48, 3, "auto")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"slot": 48}, "slot: there is no such setting; did you mean slots?"),
        (
            {"scheduler": {"maximum_runing": 4}},
            "scheduler.maximum_runing: there is no such setting; did you mean maximum_running?",
        ),
        ({"sampling": {"zzz": 4}}, "sampling.zzz: there is no such setting; expected one of text_temperature,"),
        ({"slots": 0}, "slots: Input should be greater than or equal to 1"),
        ({"slots": 8}, "settings: expected a slot for each of the 24 turns"),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings_of(EngineSettings, given)
    assert str(error.value).startswith(told)
