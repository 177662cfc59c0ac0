"""SmolLM2: a small language model for small talk, for filling in forms, and for telling whether a sentence ends."""

from __future__ import annotations

import math
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

from routing.errors import InvalidRequest, ModelError

CONTEXT_TOKENS = 2048  # prompt and reply together
# Prompts that share a beginning with one of the last few, of any session, need not read it again.
PROMPT_MEMORY_MIB = 64
QUIET = -1
CANDIDATES = 40  # next tokens that are looked at for the end of a sentence
SENTENCE_SIGNS = (".", "?", "!")
# JSON without line breaks and indentation, which would only be more tokens to wait for.
ON_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
END_TOKENS = ("\n", "<|im_end|>", "")  # special tokens print as nothing


@dataclass(frozen=True, slots=True)
class Completion:
    """What was written after the prompt: ``text`` of ``tokens`` tokens.

    ``cached_tokens`` of the ``prompt_tokens`` had been read before. Both are 0 where the reader ended the generation.
    """

    text: str
    tokens: int
    prompt_tokens: int
    cached_tokens: int


class SmolLM2:
    """The model, one request at a time."""

    def __init__(self, path: Path) -> None:
        self._server: xllamacpp.Server | None = _start_server(path)
        # The runtime starts on its own time, and a close that overtook its start would wait for ever.
        self.prefill("\n")

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        grammar: str | None = None,
        json_schema: Mapping[str, Any] | None = None,
        emit: Callable[[str], bool] = lambda text: False,
    ) -> Completion:
        """Continue ``prompt`` with the likeliest words, up to one of ``stop``.

        ``emit`` is given each piece of text at once; it returns True to end the generation there. ``grammar`` (GBNF)
        or ``json_schema`` restrict what may be written. What comes must still be checked: it may be cut off at
        ``max_tokens``, and a schema beyond the runtime's understanding is not enforced.

        Raises:
            InvalidRequest: the prompt is too long, or the grammar cannot be followed.
        """
        limits: dict[str, object] = {"grammar": grammar} if grammar is not None else {}
        if json_schema is not None:
            limits["json_schema"] = {**json_schema, "x-guidance": ON_ONE_LINE}
        reader = _Reader(emit)
        self._complete(reader, prompt, max_tokens=max_tokens, stop=list(stop), **limits)
        return reader.completion()

    def end_of_sentence(self, prompt: str) -> float:
        """P(the sentence at the end of ``prompt`` is complete): that a full stop or an end of line comes next."""
        reader = _Reader(lambda text: False)
        self._complete(reader, prompt, max_tokens=1, n_probs=CANDIDATES, logprobs=CANDIDATES)
        ends = (token["logprob"] for token in reader.candidates if _ends_sentence(token["token"]))
        return math.fsum(math.exp(logarithm) for logarithm in ends)

    def prefill(self, prompt: str) -> None:
        """Read ``prompt`` ahead, so that what begins with it is answered sooner."""
        self._complete(_Reader(lambda text: False), prompt, max_tokens=1)

    def close(self) -> None:
        """Stop the model's threads and free its memory."""
        self._server = None

    def _complete(self, reader: _Reader, prompt: str, **request: object) -> None:
        if self._server is None:
            raise ModelError("the language model is closed")
        fixed = {"temperature": 0, "stream": True, "cache_prompt": True}
        text = prompt.encode("utf-8", "replace").decode()  # a lone surrogate is no text
        self._server.handle_completions({**fixed, "prompt": text, **request}, reader.read)
        if reader.error is not None:
            raise reader.error


class _Reader:
    """Collects the chunks of one request."""

    def __init__(self, emit: Callable[[str], bool]) -> None:
        self.error: Exception | None = None
        self.candidates: Sequence[Mapping[str, Any]] = ()
        self._emit = emit
        self._pieces: list[str] = []
        self._usage: Mapping[str, Any] = {}

    def read(self, chunk: Mapping[str, Any]) -> bool:
        """Take the next chunk; True ends the request."""
        try:
            return self._read(chunk)
        except Exception as error:  # noqa: BLE001, the runtime would drop it; it is raised again afterwards
            self.error = error
            return True

    def completion(self) -> Completion:
        return Completion(
            "".join(self._pieces),
            tokens=self._usage.get("completion_tokens", len(self._pieces)),
            prompt_tokens=self._usage.get("prompt_tokens", 0),
            cached_tokens=self._usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        )

    def _read(self, chunk: Mapping[str, Any]) -> bool:
        if "error" in chunk:
            raise InvalidRequest(f"the language model refuses: {chunk['error']['message']}")
        self._usage = chunk.get("usage", self._usage)
        return self._read_choice(chunk["choices"][0])

    def _read_choice(self, choice: Mapping[str, Any]) -> bool:
        if choice["logprobs"]:
            self.candidates = choice["logprobs"]["content"][0]["top_logprobs"]
        if not choice["text"]:
            return False
        self._pieces.append(choice["text"])
        return self._emit(choice["text"])


def _start_server(path: Path) -> xllamacpp.Server:
    """The runtime insists on an HTTP port that nobody needs.

    Where the system has Unix sockets it gets one that is out of reach, elsewhere a key that nobody knows.
    """
    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        params = _parameters(path)
        if os.name == "posix":
            params.hostnames = [f"{folder}/llama.sock"]
        try:
            return xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"cannot load {path}: {error}") from error


def _parameters(path: Path) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.cpuparams.n_threads = 1  # a second thread spins, and starves everybody else
    params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = PROMPT_MEMORY_MIB
    params.verbosity = QUIET
    params.api_keys = [secrets.token_urlsafe()]
    params.n_threads_http = 1
    params.ui = False
    params.endpoint_slots = False
    return params


def _ends_sentence(token: str) -> bool:
    return token.startswith(SENTENCE_SIGNS) or token in END_TOKENS
