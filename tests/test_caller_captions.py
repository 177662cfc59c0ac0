"""A conversation as lines on a terminal."""

from __future__ import annotations

from rich.text import Text

from edge_client.caller.captions import Captions


def shown(*events: dict[str, object]) -> list[str]:
    lines: list[str] = []
    captions = Captions(lines.append)
    for event in events:
        captions.show(event)
    return [Text.from_markup(line).plain.strip() for line in lines]


def test_both_sides_and_the_wait() -> None:
    timings = {"endpoint_wait": 300.4, "ttfa": 2.1}
    assert shown(
        {"type": "conversation.item.input_audio_transcription.completed", "transcript": " [hm] hello "},
        {"type": "response.output_audio_transcript.delta", "delta": "Hi"},
        {"type": "response.output_audio_transcript.done", "transcript": "Hi."},
        {"type": "response.done", "response": {"id": "r"}, "antiphon": {"turn": {"timings_ms": timings}}},
    ) == ["you  [hm] hello", "antiphon  Hi.", "endpoint wait 300 ms, TTFA 2 ms"]


def test_errors_are_shown() -> None:
    assert shown({"type": "error", "error": {"message": "no"}}) == ["error  no"]


def test_a_foreign_server_tells_no_wait_and_an_empty_transcript_is_no_line() -> None:
    assert (
        shown(
            {"type": "conversation.item.input_audio_transcription.completed", "transcript": ""},
            {"type": "response.done", "response": {"id": "r"}},
        )
        == []
    )
