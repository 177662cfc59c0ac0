"""Engines: the tone needs one model, and says what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_client.endpointer import EndpointerSettings
from edge_client.realtime.engine import open_engine
from edge_client.settings import EdgeSettings
from edge_client.tone import ToneBackend
from routing.errors import ModelError
from routing.turns import SPEECH_SAMPLE_RATE

TONE = EdgeSettings(engine="tone")


@pytest.mark.models
async def test_the_tone_engine_hears_with_one_model(nothing_left_behind: None) -> None:
    told: list[str] = []
    async with open_engine(TONE, progress=told.append) as engine:
        assert told == ["voice activity is ready (1 of 1 models)"]
        assert isinstance(engine.backend, ToneBackend)
        assert await engine.hearing.judge.completeness(np.zeros(SPEECH_SAMPLE_RATE, np.float32)) == 0.5
        ears = engine.hearing.new_ears(EndpointerSettings())
        ears.hear(np.zeros(512, np.float32))
        assert (await anext(ears.frames())).signals == []


async def test_a_missing_detector_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANTIPHON_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="antiphon models pull"):
        async with open_engine(TONE, progress=lambda line: None):
            pass
