"""Models are found by their names, and one's own by its place."""

from __future__ import annotations

import pytest

from deployments.models import MODELS, check_settings, find_model
from routing.errors import SettingsError
from tests.cloud_models import open_scripted


def test_ones_own_model_is_found_by_its_place() -> None:
    assert find_model("tests.cloud_models:open_scripted") is open_scripted


def test_our_own_are_found_by_name() -> None:
    assert [find_model(name).__name__ for name in MODELS] == ["open_cascade", "open_lfm2_audio"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("moshi", "expected one of cascade, lfm2-audio or package.module:function, got 'moshi'"),
        ("tests.cloud_model:open_scripted", "cannot be found: No module named 'tests.cloud_model'"),
        ("tests.cloud_models:open_script", "cannot be found: module 'tests.cloud_models' has no attribute"),
        (":open", "cannot be found"),
        ("", "expected one of cascade"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        check_settings(name, {})
    assert told in str(error.value)


def test_ones_own_model_looks_at_its_settings_itself() -> None:
    check_settings("tests.cloud_models:open_scripted", {"whatever": 1})
