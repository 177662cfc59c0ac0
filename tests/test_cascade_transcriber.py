"""What was written down earlier in a turn does not change what is written down later."""

from __future__ import annotations

from deployments.cascade.transcriber import RepeatableTranscriber
from edge_client.device.listener import Listener
from tests.device_models import ScriptedModels, spoken


async def test_no_pass_is_given_a_draft() -> None:
    scripted = ScriptedModels()
    with scripted.library() as library:
        listener = Listener(RepeatableTranscriber(library.speech_to_text))
        listener.feed(spoken("one two"))
        assert await listener.transcribe() == "one two"
        listener.feed(spoken("three four"))
        assert await listener.transcribe() == "one two three four"
    assert [draft for _, draft in scripted.ear.passes] == [(), ()]
