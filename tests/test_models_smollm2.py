"""The language model streams, stops when told, keeps to a form, and tells whole sentences from cut ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_client.models.smollm2 import Completion, SmolLM2
from edge_client.models.thread import ModelThread
from routing.errors import InvalidRequest, ModelError
from tests.model_files import model_store

pytestmark = [pytest.mark.models, pytest.mark.timeout(60)]

PREFIX = """A helpful assistant answers in one short sentence.
User: hello
Assistant: Hello! How can I help you?
User: what is the capital of france
Assistant: The capital of France is Paris.
"""
STORY = "Once upon a time"


@pytest.fixture(scope="module")
def model() -> Iterator[SmolLM2]:
    model = SmolLM2(model_store().path("language"))
    yield model
    model.close()


def test_a_reply_comes_in_pieces_that_make_up_the_whole(model: SmolLM2) -> None:
    pieces: list[str] = []
    reply = model.generate(
        f"{PREFIX}User: how are you\nAssistant:",
        max_tokens=32,
        stop=["\n"],
        emit=lambda text: bool(pieces.append(text)),  # type: ignore[func-returns-value]
    )
    assert "".join(pieces) == reply.text
    assert len(pieces) > 2
    assert "\n" not in reply.text
    assert 2 < reply.tokens <= 32
    assert reply.prompt_tokens > 30


def test_the_same_prompt_gives_the_same_reply(model: SmolLM2) -> None:
    first, _, again = (model.generate(prompt, max_tokens=12) for prompt in (STORY, "Dear Sir", STORY))
    assert first.text == again.text


def test_no_more_than_the_wanted_tokens_are_written(model: SmolLM2) -> None:
    assert model.generate(STORY, max_tokens=5).tokens == 5


def test_the_reader_stops_the_writer(model: SmolLM2) -> None:
    pieces: list[str] = []

    def stop_at_three(text: str) -> bool:
        pieces.append(text)
        return len(pieces) == 3

    cut = model.generate(STORY, max_tokens=200, emit=stop_at_three)
    assert cut.text == "".join(pieces)
    assert len(pieces) == 3
    assert model.generate(STORY, max_tokens=8).text.startswith(cut.text)


def test_an_error_of_the_reader_comes_back_to_it(model: SmolLM2) -> None:
    def fail(text: str) -> bool:
        raise KeyError(text)

    with pytest.raises(KeyError):
        model.generate(STORY, max_tokens=200, emit=fail)
    assert model.generate(STORY, max_tokens=2).tokens == 2


def test_a_form_is_filled_in_as_json(model: SmolLM2) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "day": {"enum": ["today", "tomorrow"]}},
        "required": ["city", "day"],
        "additionalProperties": False,
    }
    prompt = "User: what will the weather be in Berlin tomorrow\nCall: get_weather "
    filled = model.generate(prompt, max_tokens=40, json_schema=schema)
    assert json.loads(filled.text) == {"city": "Berlin", "day": "tomorrow"}


def test_a_grammar_is_kept_to(model: SmolLM2) -> None:
    answer = model.generate("Is water wet? Answer:", max_tokens=5, grammar='root ::= "yes" | "no"')
    assert answer.text in {"yes", "no"}


def test_what_the_model_cannot_do_is_refused_and_does_no_harm(model: SmolLM2) -> None:
    with pytest.raises(InvalidRequest, match="exceeds the available context size"):
        model.generate("word " * 3_000, max_tokens=5)
    with pytest.raises(InvalidRequest, match="grammar"):
        model.generate(STORY, max_tokens=5, grammar="root ::= ((")
    assert model.generate(STORY, max_tokens=2).tokens == 2


@pytest.mark.parametrize("prompt", ["", "\x00", "a lone surrogate \ud800", "😀 ∑ 你好"])
def test_odd_prompts_do_no_harm(model: SmolLM2, prompt: str) -> None:
    assert model.generate(prompt, max_tokens=2).tokens <= 2


@pytest.mark.parametrize("prefix", ["<|im_start|>user\n", f"{PREFIX}User: "])
def test_whole_sentences_end_and_cut_ones_do_not(model: SmolLM2, prefix: str) -> None:
    whole = ["what time is it", "please call my mother", "turn the lights off", "thank you"]
    cut = ["what time is", "please call my", "turn the", "i would like to"]
    assert min(model.end_of_sentence(prefix + text) for text in whole) > 0.03
    assert max(model.end_of_sentence(prefix + text) for text in cut) < 0.03


def test_what_was_read_ahead_is_not_read_again(model: SmolLM2) -> None:
    question = f"{PREFIX}User: what should i cook for my friends tonight\nAssistant:"
    model.prefill(question)
    reply = model.generate(question, max_tokens=1)
    assert reply.cached_tokens == reply.prompt_tokens - 1  # one is always read, to begin with


def test_after_closing_nothing_is_written() -> None:
    model = SmolLM2(model_store().path("language"))
    model.close()
    with pytest.raises(ModelError, match="closed"):
        model.generate(STORY, max_tokens=1)


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"cannot load .*model\.gguf"):
        SmolLM2(file)


async def test_a_reply_is_streamed_through_its_thread_and_cut_short(model: SmolLM2) -> None:
    thread = ModelThread("language")
    written: list[Completion] = []

    def write(emit: Callable[[str], bool]) -> None:
        written.append(model.generate(STORY, max_tokens=500, emit=emit))

    pieces = thread.stream(write)
    assert await anext(pieces)
    await pieces.aclose()
    await thread.run(lambda: None)  # comes after the end of the stream
    assert 1 <= written[0].tokens < 100
    thread.close()


SCRIPT = """
import sys, threading
from pathlib import Path
from edge_client.models.smollm2 import SmolLM2

model = SmolLM2(Path(sys.argv[1]))
model.generate("Once", max_tokens=3)
begun = threading.Event()
{ending}
"""
ENDINGS = {
    "closed": "model.close()",
    "not closed": "",
    "while it writes": """
writer = threading.Thread(
    target=lambda: model.generate("Once", max_tokens=2000, emit=lambda text: begun.set() or not main.is_alive()))
main = threading.main_thread()
writer.start()
begun.wait()
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_quietly_however_it_leaves_the_model(ending: str) -> None:
    command = [
        sys.executable,
        "-c",
        SCRIPT.format(ending=ENDINGS[ending]),
        str(model_store().path("language")),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
