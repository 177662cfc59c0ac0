"""The language model's words are passed on as they come, but not everything it writes deserves a voice."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from edge_client.device.chatter import SPEECHLESS, chatter
from tests.device_models import ENDLESS, ScriptedModels


async def chat(written: str, *, max_tokens: int = 40, max_sentences: int = 2) -> list[str]:
    models = ScriptedModels()
    models.writer.replies = {"User: hello": written}
    with models.library() as library:
        limits = {"max_tokens": max_tokens, "max_sentences": max_sentences}
        clauses = chatter(library.language, "User: hello\nAssistant:", **limits)
        return [clause async for clause in clauses]


@pytest.mark.parametrize(
    ("written", "clauses"),
    [
        (" Hello there.", ["Hello there."]),
        (" Yes. I am here. I am always here.", ["Yes.", " I am here."]),
        (' Hello in Spanish is "Hola"', ['Hello in Spanish is "Hola"']),
        (" It is blue. It is blue. It is blue.", ["It is blue."]),
        (" The sky is blue. This is because the", ["The sky is blue."]),
        (" The sky is blue today, because the", ["The sky is blue today,", " because the"]),
        (" It is a volcano is a volcano is a volcano.", [SPEECHLESS]),
        (" Yes. A volcano is a volcano is a volcano.", ["Yes."]),
        ("", [SPEECHLESS]),
        ("  ", [SPEECHLESS]),
    ],
)
async def test_only_whole_new_sentences_are_said(written: str, clauses: list[str]) -> None:
    assert await chat(written) == clauses


async def test_the_model_stops_when_enough_is_said() -> None:
    models = ScriptedModels()
    models.writer.replies = {"User: hello": f" One. Two. Three.{ENDLESS}"}
    with models.library() as library:
        clauses = chatter(library.language, "User: hello\nAssistant:", max_tokens=2000, max_sentences=2)
        assert [clause async for clause in clauses] == ["One.", " Two."]
        await library.language.thread.run(lambda: None)
    assert models.writer.stopped == 1


async def test_the_model_writes_on_while_a_clause_is_being_spoken() -> None:
    models = ScriptedModels()
    models.writer.replies = {"User: hello": " One. Two and more."}
    with models.library() as library:
        async with aclosing(
            chatter(library.language, "User: hello\nAssistant:", max_tokens=40, max_sentences=2)
        ) as clauses:
            assert await anext(clauses) == "One."
            while len(models.writer.written) < 4:
                await asyncio.sleep(0.001)
            assert await anext(clauses) == " Two and more."
