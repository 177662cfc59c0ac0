"""What was written down earlier in a turn does not change what is written down later."""

from __future__ import annotations

import numpy as np
import pytest

from deployments.cascade.transcriber import RepeatableTranscriber
from edge_client.device.listener import Listener
from edge_client.models.moonshine import Moonshine
from tests.device_models import ScriptedModels, spoken
from tests.model_files import model_store


async def test_no_pass_is_given_a_draft() -> None:
    scripted = ScriptedModels()
    with scripted.library() as library:
        listener = Listener(RepeatableTranscriber(library.speech_to_text))
        listener.feed(spoken("one two"))
        assert await listener.transcribe() == "one two"
        listener.feed(spoken("three four"))
        assert await listener.transcribe() == "one two three four"
    assert [draft for _, draft in scripted.ear.passes] == [(), ()]


@pytest.mark.models
@pytest.mark.xfail(raises=AssertionError, reason="the encoder rounds over all that is in one run")
def test_turns_of_one_length_could_be_encoded_together() -> None:
    """The day this passes, with another graph or runtime, turns can be written down in batches."""
    encoder = Moonshine(model_store().path("speech_encoder").parent)._encoder
    rows = np.random.default_rng(0).normal(0, 0.1, (4, 16_000)).astype(np.float32)
    (together,) = encoder.run(None, {"input_values": rows, "attention_mask": np.ones(rows.shape, np.int64)})
    for row, states in zip(rows, together, strict=True):
        (alone,) = encoder.run(None, {"input_values": row[None], "attention_mask": np.ones((1, len(row)), np.int64)})
        np.testing.assert_allclose(states, alone[0], atol=1e-4)
