"""Runs one step of the model for everyone whom the plan names. Knows tensors, and no queues.

A step is encode, prefill, decode, then the heads: one token for each row that speaks text, one frame for each that
speaks sound, and its 80 ms of samples. Whatever was sampled stays on the device as the next step's input; the host
gets one small copy of it per step, from which it learns who goes on with what.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deployments.engine.detokenizer import Detokenizer
from deployments.engine.encoder import SpeechEncoder
from deployments.engine.graphs import Buckets, GraphStatistics, StepGraphs
from deployments.engine.noise import uniforms
from deployments.engine.outcome import Fault, Sampled, StepOutcome
from deployments.engine.prompt import FramesPiece, Piece, SpeechPiece, TextPiece
from deployments.engine.sampling import Choice
from deployments.engine.sequence import Modality, PrefillChunk, Sequence, StepPlan
from deployments.engine.sessions import Lease, StateAction
from deployments.engine.settings import SamplingSettings, Way
from deployments.engine.speech_model import SpeechModel
from deployments.engine.stopwatch import Stopwatch
from routing.errors import InvalidRequest
from routing.turns import Samples

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerStatistics:
    """What is particular about the model's work."""

    clamped_frames: int  # frames with a code that ends the sound in another codebook than the first
    graphs: GraphStatistics


class NotFinite(ArithmeticError):
    """The model computed no numbers for this row, only NaN or infinity."""


CONTEXT = 128  # positions of keys and values that a step reads at least, and by which it reads more
TOPS = (4, 16, 64, 256)  # how many likeliest tokens are looked for, at least as many as the largest top-k of a step

PREFILLS_RECORDED = 4  # rows: more are rarely prefilled at once, and each size has many recordings
WORTH_SETTLING = 32  # positions of a session's past: fewer are sooner computed again than kept apart

# What a row's work may fail with, its own fault or the machine's: memory, shapes, numbers, ids, a clip that is none.
FAILURES = (RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError, InvalidRequest)


@dataclass(slots=True, eq=False)
class _Reply:
    """What the runner keeps of a sequence."""

    pieces: tuple[Piece, ...]
    sampling: SamplingSettings
    seed: int
    past_positions: int  # of the prompt, after which the slot is saved once more
    embeddings: Tensor | None = None  # [prompt positions, hidden], until it is prefilled


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Sequences and the hidden state of each: ``hidden`` is [n, hidden]."""

    sequences: list[Sequence]
    hidden: Tensor

    def part(self, start: int, stop: int) -> _Batch:
        return _Batch(self.sequences[start:stop], self.hidden[start:stop])


class Runner:
    """One model with its static state. Used by one thread.

    Args:
        slots: rows of the static state, one per session whose history stays computed
        positions: what a row can hold of tokens, frames and pieces of speech
        maximum_batch: rows that a step has at most
        maximum_chunk: positions that one row is prefilled by in a step, at most
        fixed_shapes: round sizes up to buckets, because steps are recorded or compiled for each
    """

    def __init__(
        self,
        *,
        model: SpeechModel,
        encoder: SpeechEncoder,
        detokenizer: Detokenizer,
        graphs: StepGraphs,
        slots: int,
        positions: int,
        maximum_batch: int,
        maximum_chunk: int,
        end_of_audio: int,
        fixed_shapes: bool,
    ) -> None:
        self.encoder = encoder
        self._clamped_frames = 0
        self._model = model
        self._detokenizer = detokenizer
        self._graphs = graphs
        self._device = model.device
        self._state = model.new_state(slots, positions)
        self._streams = detokenizer.new_state(slots)
        self._replies: dict[int, _Reply] = {}
        self._end_of_audio = end_of_audio
        self._fixed_shapes = fixed_shapes
        self._batches = buckets(1, maximum_batch, fixed=fixed_shapes)
        self._chunks = buckets(min(32, maximum_chunk), maximum_chunk, fixed=fixed_shapes)
        self._contexts = buckets(min(CONTEXT, positions), positions, fixed=fixed_shapes, apart=CONTEXT)
        self._tops = Buckets(TOPS)

    # -- the life of a reply -------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def begin(self, sequence: Sequence, lease: Lease, sampling: SamplingSettings, seed: int) -> None:
        """Take a reply in: prepare its slot as the lease says, and remember what its prompt is made of."""
        rows = self._integers([sequence.slot])
        match lease.action:
            case StateAction.KEEP:
                pass
            case StateAction.RESTORE:
                self._state.restore(rows)
            case StateAction.ERASE:
                self._state.erase(rows)
        self._state.save(rows)
        self._detokenizer.reset(self._streams, rows)
        past_positions = lease.settled_positions if lease.settled_positions >= WORTH_SETTLING else 0
        self._replies[sequence.key] = _Reply(lease.pieces, sampling, seed, past_positions)

    @torch.inference_mode()
    def flush(self, sequence: Sequence) -> Samples:
        """The last samples of a reply's sound, which the detokenizer held back."""
        if not self._detokenizer.lookahead_samples or not sequence.frames:
            return np.zeros(0, np.float32)
        samples: Samples = self._detokenizer.flush(self._streams, self._integers([sequence.slot]))[0].cpu().numpy()
        return samples

    def end(self, sequence: Sequence) -> None:
        """Forget a reply. What its slot holds stays."""
        self._replies.pop(sequence.key, None)

    @property
    def frame_samples(self) -> int:
        """Samples of a frame at 24 kHz."""
        return self._detokenizer.frame_samples

    def statistics(self) -> RunnerStatistics:
        return RunnerStatistics(clamped_frames=self._clamped_frames, graphs=self._graphs.statistics())

    # -- one step ------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepOutcome:
        """Do what the plan says. A failure ends the sequences it concerns, found by trying halves, and no others."""
        outcome = StepOutcome()
        encoding = self._encode(plan.encode, outcome) if plan.encode else None
        failed = outcome.failed()
        prompted = self._prefill([chunk for chunk in plan.prefill if chunk.sequence.key not in failed], outcome)
        text, audio = self._decode(plan.decode, outcome)
        self._speak([prompted, text], audio, outcome)
        outcome.encode_sec = encoding.seconds() if encoding else 0.0
        return outcome

    def _encode(self, sequences: Several[Sequence], outcome: StepOutcome) -> Stopwatch:
        watch = Stopwatch(self._device)
        attempt(sequences, lambda part: self._embed(sequences[part]), outcome)
        watch.stop()
        return watch

    def _prefill(self, chunks: list[PrefillChunk], outcome: StepOutcome) -> _Batch:
        """Prefills, and gives the hidden states of those whose prompt is complete.

        A chunk in which the past of a session ends is done in two parts: in between, its convolutions are saved.
        """
        pasts = [past for chunk in chunks if (past := self._past(chunk)) is not None]
        self._prefill_all(pasts, outcome)
        failed = outcome.failed()
        outcome.settled += [past.sequence for past in pasts if past.sequence.key not in failed]
        if outcome.settled:
            self._state.save(self._integers([sequence.slot for sequence in outcome.settled]))
        rests = [self._rest(chunk) for chunk in chunks if chunk.sequence.key not in failed]
        complete = self._prefill_all(rests, outcome)
        for sequence in complete.sequences:
            self._replies[sequence.key].embeddings = None
        return complete

    def _prefill_all(self, chunks: list[PrefillChunk], outcome: StepOutcome) -> _Batch:
        sequences = [chunk.sequence for chunk in chunks]
        batch = self._collect(sequences, attempt(sequences, lambda part: self._prefill_chunks(chunks[part]), outcome))
        last = {chunk.sequence.key for chunk in chunks if chunk.is_last}
        complete = [index for index, one in enumerate(batch.sequences) if one.key in last]
        if len(complete) == len(batch.sequences):
            return batch
        return _Batch([batch.sequences[index] for index in complete], batch.hidden[self._integers(complete)])

    def _past(self, chunk: PrefillChunk) -> PrefillChunk | None:
        """The part of a chunk up to where the session's past ends, if it ends in there."""
        length = self._replies[chunk.sequence.key].past_positions - chunk.start
        return PrefillChunk(chunk.sequence, chunk.start, length) if 0 < length < chunk.length else None

    def _rest(self, chunk: PrefillChunk) -> PrefillChunk:
        past = self._past(chunk)
        if past is None:
            return chunk
        return PrefillChunk(chunk.sequence, chunk.start + past.length, chunk.length - past.length)

    def _decode(self, sequences: Several[Sequence], outcome: StepOutcome) -> tuple[_Batch, _Batch]:
        """One position more for each; those who speak text, and those who speak sound."""
        ordered = sorted(sequences, key=lambda one: one.modality is Modality.AUDIO)
        batch = self._collect(ordered, attempt(ordered, lambda part: self._decode_rows(ordered[part]), outcome))
        split = sum(one.modality is Modality.TEXT for one in batch.sequences)
        return batch.part(0, split), batch.part(split, len(batch.sequences))

    def _speak(self, texts: Several[_Batch], audio: _Batch, outcome: StepOutcome) -> None:
        """Samples a token or a frame for each row, and fetches all of it in one copy."""
        text = self._joined(texts)
        tokens = attempt(text.sequences, lambda part: self._sample_tokens(text.part(part.start, part.stop)), outcome)
        frames = attempt(audio.sequences, lambda part: self._sample_frames(audio.part(part.start, part.stop)), outcome)
        made = [tensor for _, tensor in tokens] + [tensor for _, pair in frames for tensor in pair]
        copies = iter(fetch(made))
        for part, _ in tokens:
            self._take_tokens(text.sequences[part], next(copies), outcome)
        for part, _ in frames:
            self._take_frames(audio.sequences[part], next(copies), next(copies), outcome)

    # -- recording -----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def record(self, sampling: SamplingSettings) -> None:
        """Prepare the steps of all sizes, where they need it, for heads that choose as ``sampling`` says."""
        if not self._fixed_shapes:
            return
        hidden = self._state.inputs.shape[-1]
        for count in self._batches:
            rows, zeros = self._rows([], count), self._integers([], count)
            for context in self._contexts:
                self._graphs.capture(
                    ("decode", count, context), partial(self._decode_step, context=context), rows, zeros
                )
            for name, step, modality in (
                ("text", self._text_step, Modality.TEXT),
                ("frame", self._frame_step, Modality.AUDIO),
            ):
                choice = self._choose([sampling.way(modality)], [0], [0], count)
                inputs = self._state.inputs.new_zeros(count, hidden), rows, *_tensors(choice)
                self._graphs.capture((name, *_kind(count, choice)), partial(step, choice), *inputs)
        self._record_prefills(hidden)

    def _record_prefills(self, hidden: int) -> None:
        for count, longest, context in product(self._batches, self._chunks, self._contexts):
            if count > PREFILLS_RECORDED or context < longest:
                continue
            rows, zeros = self._rows([], count), self._integers([], count)
            embeddings = self._state.inputs.new_zeros(count, longest, hidden)
            step = partial(self._prefill_step, context=context)
            key = "prefill", count, longest, context
            self._graphs.capture(key, step, embeddings, rows, zeros, zeros + 1, worth_compiling=False)

    # -- its parts -----------------------------------------------------------------------------------------------------

    def _embed(self, sequences: Several[Sequence]) -> None:
        """Encodes the speech of all prompts in one batch, and lays their embeddings out."""
        replies = [self._replies[one.key] for one in sequences]
        clips = [piece.samples for reply in replies for piece in reply.pieces if isinstance(piece, SpeechPiece)]
        encoded = iter(self.encoder.encode(clips) if clips else ())
        for reply in replies:
            reply.embeddings = torch.cat([self._embed_piece(piece, encoded) for piece in reply.pieces])

    def _embed_piece(self, piece: Piece, encoded: Iterator[Tensor]) -> Tensor:
        match piece:
            case TextPiece(ids):
                return self._model.embed_text(self._integers(ids))
            case SpeechPiece():
                return next(encoded)
            case FramesPiece(codes):
                return self._model.embed_frames(self._to_device(torch.from_numpy(codes)))

    def _prefill_chunks(self, chunks: Several[PrefillChunk]) -> Tensor:
        """``[n, hidden]``, at the last position of each chunk."""
        self._embed([chunk.sequence for chunk in chunks if self._replies[chunk.sequence.key].embeddings is None])
        count, longest = self._batches.fit(len(chunks)), self._chunks.fit(max(chunk.length for chunk in chunks))
        embeddings = self._state.inputs.new_zeros(count, longest, self._state.inputs.shape[-1])
        for row, chunk in enumerate(chunks):
            embeddings[row, : chunk.length] = self._chunk(chunk)
        starts = [chunk.sequence.context_positions + chunk.start for chunk in chunks]
        context = self._contexts.fit(max(start + chunk.length for start, chunk in zip(starts, chunks, strict=True)))
        return self._graphs.run(
            ("prefill", count, longest, context),
            partial(self._prefill_step, context=context),
            embeddings,
            self._rows([chunk.sequence for chunk in chunks], count),
            self._integers(starts, count),
            self._integers([chunk.length for chunk in chunks], count, fill=1),
        )[: len(chunks)]

    def _chunk(self, chunk: PrefillChunk) -> Tensor:
        """The embeddings of a chunk, [length, hidden]."""
        reply = self._replies[chunk.sequence.key]
        assert reply.embeddings is not None
        return reply.embeddings[chunk.start : chunk.start + chunk.length]

    def _decode_rows(self, sequences: Several[Sequence]) -> Tensor:
        count = self._batches.fit(len(sequences))
        positions = [one.positions for one in sequences]
        context = self._contexts.fit(max(positions) + 1)
        step = partial(self._decode_step, context=context)
        inputs = self._rows(sequences, count), self._integers(positions, count)
        return self._graphs.run(("decode", count, context), step, *inputs)[: len(sequences)]

    def _sample_tokens(self, batch: _Batch) -> Tensor:
        """``[n]`` int64; -1 where the model computed no numbers."""
        count = self._batches.fit(len(batch.sequences))
        choice = self._choice(batch.sequences, count)
        inputs = self._padded(batch.hidden, count), self._rows(batch.sequences, count)
        tokens = self._graphs.run(
            ("text", *_kind(count, choice)), partial(self._text_step, choice), *inputs, *_tensors(choice)
        )
        return tokens[: len(batch.sequences)]

    def _sample_frames(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """Codes ``[n, codebooks]`` int64, first -1 where there are no numbers; samples ``[n, frame samples]``."""
        count = self._batches.fit(len(batch.sequences))
        choice = self._choice(batch.sequences, count)
        inputs = self._padded(batch.hidden, count), self._rows(batch.sequences, count)
        key = "frame", *_kind(count, choice)
        codes, samples = self._graphs.run(key, partial(self._frame_step, choice), *inputs, *_tensors(choice))
        return codes[: len(batch.sequences)], samples[: len(batch.sequences)]

    # -- what can be recorded: tensors in, tensors out, nothing asked of the device ---------------------------------

    def _prefill_step(
        self, embeddings: Tensor, rows: Tensor, starts: Tensor, lengths: Tensor, *, context: int
    ) -> Tensor:
        return self._model.prefill(self._state, embeddings, rows, starts, lengths, context=context)

    def _decode_step(self, rows: Tensor, positions: Tensor, *, context: int) -> Tensor:
        return self._model.decode(self._state, rows, positions, context=context)

    def _text_step(self, choice: Choice, hidden: Tensor, rows: Tensor, *tensors: Tensor) -> Tensor:
        return self._model.sample_text(self._state, hidden, rows, _with(choice, tensors))

    def _frame_step(self, choice: Choice, hidden: Tensor, rows: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """A frame that ends the sound is not heard: it must leave no trace in what is heard after it."""
        codes = self._model.sample_frame(self._state, hidden, rows, _with(choice, tensors))
        heard = (codes[:, 0] >= 0) & (codes[:, 0] != self._end_of_audio)
        streams = torch.where(heard, rows, self._state.spare)
        return codes, self._detokenizer.decode(self._streams, codes, streams)

    # -- inputs and outputs ----------------------------------------------------------------------------------------

    def _collect(self, sequences: list[Sequence], parts: list[tuple[slice, Tensor]]) -> _Batch:
        """What came of all parts, in order."""
        return self._joined([_Batch(sequences[part], hidden) for part, hidden in parts])

    def _joined(self, batches: Several[_Batch]) -> _Batch:
        """One batch of all. Usually there is but one with anybody in it, and then nothing is copied."""
        taken = [batch for batch in batches if batch.sequences]
        match taken:
            case []:
                return _Batch([], self._state.inputs[:0])
            case [batch]:
                return batch
        return _Batch([one for batch in taken for one in batch.sequences], torch.cat([one.hidden for one in taken]))

    def _take_tokens(self, sequences: list[Sequence], tokens: NDArray[np.int32], outcome: StepOutcome) -> None:
        for sequence, token in zip(sequences, tokens.tolist(), strict=True):
            if token < 0:
                outcome.faults.append(Fault(sequence, NotFinite("the logits of a token are not finite")))
            else:
                outcome.sampled.append(Sampled(sequence, token=token))

    def _take_frames(
        self, sequences: list[Sequence], codes: NDArray[np.int32], samples: NDArray[np.float32], outcome: StepOutcome
    ) -> None:
        for sequence, frame, sound in zip(sequences, codes, samples, strict=True):
            if frame[0] < 0:
                outcome.faults.append(Fault(sequence, NotFinite("the logits of a frame are not finite")))
            elif frame[0] == self._end_of_audio:
                outcome.sampled.append(Sampled(sequence, codes=tuple(frame.tolist())))
            else:
                self._clamped_frames += bool((frame >= self._end_of_audio).any())
                new = sound[self._detokenizer.lookahead_samples :] if sequence.is_first else sound
                # A copy, since as a part of what was fetched it would keep the sound of all for as long as it is kept.
                outcome.sampled.append(Sampled(sequence, codes=tuple(frame.tolist()), samples=new.copy()))

    def _choice(self, sequences: list[Sequence], count: int) -> Choice:
        replies = [self._replies[one.key] for one in sequences]
        ways = [reply.sampling.way(one.modality) for reply, one in zip(replies, sequences, strict=True)]
        return self._choose(ways, [reply.seed for reply in replies], [one.steps for one in sequences], count)

    def _choose(self, ways: list[Way], seeds: list[int], steps: list[int], count: int) -> Choice:
        """How each row chooses; a row of padding takes the likeliest."""
        padding = count - len(ways)
        noise = uniforms(seeds, steps, self._model.shape.codebooks)
        all_greedy = all(way.is_greedy for way in ways)
        most = 0 if all_greedy else max(way.top_k for way in ways)
        return Choice(
            temperature=self._floats([way.temperature for way in ways], padding),
            top_k=self._integers([way.top_k for way in ways], count),
            noise=self._to_device(torch.from_numpy(np.pad(noise, ((0, padding), (0, 0)), constant_values=0.5))),
            all_greedy=all_greedy,
            maximum_top_k=self._tops.fit(most) if most else 0,
        )

    def _padded(self, hidden: Tensor, count: int) -> Tensor:
        return hidden if len(hidden) == count else functional.pad(hidden, (0, 0, 0, count - len(hidden)))

    def _rows(self, sequences: Several[Sequence], count: int) -> Tensor:
        return self._integers([one.slot for one in sequences], count, fill=self._state.spare)

    def _integers(self, values: Several[int], count: int | None = None, *, fill: int = 0) -> Tensor:
        """``[count]`` int64 on the device."""
        padding = [fill] * ((count or len(values)) - len(values))
        return self._to_device(torch.tensor([*values, *padding], dtype=torch.int64))

    def _floats(self, values: Several[float], padding: int) -> Tensor:
        return self._to_device(torch.tensor([*values, *[0.0] * padding], dtype=torch.float32))

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)


def buckets(first: int, last: int, *, fixed: bool, apart: int = 1) -> Buckets:
    """Few sizes where each needs a recording of its own; many, so far ``apart``, where padding only costs."""
    return Buckets.doubling(first, last) if fixed else Buckets({*range(apart, last, apart), last})


def attempt[Made](
    sequences: Several[Sequence], work: Callable[[slice], Made], outcome: StepOutcome
) -> list[tuple[slice, Made]]:
    """Do ``work`` for all rows at once; where that fails, for each half: only what fails by itself has failed.

    Raises:
        AcceleratorError: the device is lost, and would fail for everybody from now on.
    """

    def within(part: slice) -> list[tuple[slice, Made]]:
        try:
            return [(part, work(part))]
        except FAILURES as error:
            if is_loss(error):
                raise
            if part.stop - part.start == 1:
                logger.warning("a reply failed in a step: %s", error)
                outcome.faults.append(Fault(sequences[part.start], error))
                return []
            middle = (part.start + part.stop) // 2
            return within(slice(part.start, middle)) + within(slice(middle, part.stop))

    return within(slice(0, len(sequences))) if sequences else []


def is_loss(error: Exception) -> bool:
    """A failed kernel takes a GPU's context along. A lack of memory passes."""
    return isinstance(error, torch.AcceleratorError) and "out of memory" not in str(error)


def fetch(tensors: Several[Tensor]) -> list[NDArray[Any]]:
    """Bring tensors to the host in one copy: integers as int32, floats as float32."""
    if not tensors:
        return []
    parts = [tensor.float().view(torch.int32) if tensor.is_floating_point() else tensor.int() for tensor in tensors]
    flat = torch.cat([part.flatten() for part in parts]).cpu().numpy()
    ends = np.cumsum([part.numel() for part in parts])
    arrays = np.split(flat, ends[:-1])
    return [
        (array.view(np.float32) if tensor.is_floating_point() else array).reshape(tensor.shape)
        for array, tensor in zip(arrays, tensors, strict=True)
    ]


def _kind(count: int, choice: Choice) -> tuple[int, bool, int]:
    return count, choice.all_greedy, choice.maximum_top_k


def _tensors(choice: Choice) -> tuple[Tensor, Tensor, Tensor]:
    return choice.temperature, choice.top_k, choice.noise


def _with(choice: Choice, tensors: Several[Tensor]) -> Choice:
    """The same way of choosing, with the values of this step."""
    temperature, top_k, noise = tensors
    return replace(choice, temperature=temperature, top_k=top_k, noise=noise)
