"""Both sides of a conversation as lines on a terminal, read from the server's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape

from edge_client.caller.watch import numbers_of

type Print = Callable[[str], None]


class Captions:
    """Prints what was understood, what is answered, and how long the caller waited for it."""

    def __init__(self, print_line: Print) -> None:
        self._print = print_line

    def show(self, event: Mapping[str, Any]) -> None:
        """Take the next event; most of them say nothing to a reader."""
        match event:
            case {
                "type": "conversation.item.input_audio_transcription.completed",
                "transcript": str(text),
            } if text:
                self._print(f"[bold]     you[/]  {escape(text.strip())}")
            case {"type": "response.output_audio_transcript.done", "transcript": str(text)} if text:
                self._print(f"[bold cyan]antiphon[/]  {escape(text.strip())}")
            case {"type": "response.done"}:
                self._show_wait(event)
            case {"type": "error", "error": {"message": str(message)}}:
                self._print(f"[red]   error[/]  {escape(message)}")

    def _show_wait(self, event: Mapping[str, Any]) -> None:
        numbers = numbers_of(event)
        figures = [("endpoint wait", numbers.endpoint_wait_ms), ("TTFA", numbers.ttfa_ms)]
        told = [f"{name} {value:.0f} ms" for name, value in figures if value is not None]
        if told:
            self._print(f"          [dim]{', '.join(told)}[/]")
