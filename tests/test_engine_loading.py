"""What cannot be done here is said when the engine is loaded, and what was measured then predicts the steps."""

from __future__ import annotations

import pytest
import torch

from deployments.engine.loading import find_device, find_dtype, load_engine
from deployments.engine.sequence import Modality
from deployments.engine.settings import EngineSettings, SamplingSettings, SchedulerSettings
from routing.errors import SettingsError
from tests.engine_parity import scheduling, settings_for
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = pytest.mark.engine


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="'banana'"):
        find_device("banana")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_cpu_is_taken_and_a_gpu_that_is_asked_for_is_missed() -> None:
    assert find_device("auto") == torch.device("cpu")
    with pytest.raises(SettingsError, match="no CUDA device"):
        find_device("cuda:1")


def test_numbers_are_as_wide_as_the_device_likes_them() -> None:
    assert find_dtype("auto", torch.device("cpu")) is torch.float32
    assert find_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert find_dtype("bfloat16", torch.device("cpu")) is torch.bfloat16


def test_there_is_a_slot_for_everybody_who_may_run() -> None:
    with pytest.raises(ValueError, match="got 2 slots"):
        EngineSettings(checkpoint="here", slots=2, scheduler=SchedulerSettings(maximum_running=2, maximum_waiting=1))


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="slotz"):
        EngineSettings(checkpoint="here", slotz=2)  # type: ignore[call-arg]


def test_the_smallest_engine_can_be_loaded() -> None:
    """What is measured at the start fits into what may be asked of it afterwards."""
    one = scheduling(maximum_running=1, maximum_waiting=0, prefill_chunk=16)
    least = {"slots": 1, "slot_positions": 128, "maximum_speech_sec": 1.0, "maximum_reply_sec": 0.1}
    engine = load_engine(settings_for(tiny_checkpoint(), scheduler=one, **least))
    assert engine.statistics().sessions.slots_in_use == 0


def test_greedy_is_no_temperature_or_one_candidate() -> None:
    sampling = SamplingSettings(text_temperature=0, audio_temperature=1, audio_top_k=1)
    assert all(sampling.way(modality).is_greedy for modality in Modality)
    assert not SamplingSettings().way(Modality.AUDIO).is_greedy
