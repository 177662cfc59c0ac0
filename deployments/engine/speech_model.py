"""The speech model on static slots: prefill, one step of the backbone, and the two heads that speak.

Every step is transactional: what it changes for good is written by its last operations, so that a step that failed in
between may be run again. None of them waits for the device. The caller holds ``torch.inference_mode``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deployments.engine import speech_state
from deployments.engine.backbone import Backbone
from deployments.engine.checkpoint import Checkpoint
from deployments.engine.depthformer import Depthformer
from deployments.engine.layers import Projection, Tensors
from deployments.engine.sampling import Choice, Sampler, where_finite
from deployments.engine.shape import ModelShape
from deployments.engine.speech_state import SpeechState
from routing.errors import SettingsError


class SpeechModel(nn.Module):
    """The model's weights, and the steps that a batch of slots takes through them. B rows are slots: int64 [B].

    A row may be the state's ``spare``, any number of times: that is the padding of a batch.
    """

    def __init__(
        self,
        shape: ModelShape,
        *,
        end_of_audio: int,
        backbone: Backbone,
        depthformer: Depthformer,
        text_embeddings: Tensor,
        audio_embeddings: Tensor,
    ) -> None:
        """``text_embeddings`` [vocabulary, hidden], ``audio_embeddings`` [codebooks * codes, hidden]."""
        super().__init__()
        self.shape = shape
        self.backbone = backbone
        self.depthformer = depthformer
        self.text_embeddings = nn.Parameter(text_embeddings, requires_grad=False)
        self.text_logits = Projection(text_embeddings)
        self.audio_embeddings = nn.Parameter(audio_embeddings, requires_grad=False)
        codes = len(audio_embeddings) // shape.codebooks
        first_codes = torch.arange(shape.codebooks, device=audio_embeddings.device) * codes
        self.first_codes = nn.Buffer(first_codes, persistent=False)
        self._end_of_audio = end_of_audio

    @property
    def device(self) -> torch.device:
        return self.text_embeddings.device

    @property
    def dtype(self) -> torch.dtype:
        return self.text_embeddings.dtype

    def new_state(self, slots: int, positions: int) -> SpeechState:
        """Memory for that many sessions of that many positions. Raises SettingsError beyond what the model knows."""
        if positions > self.shape.positions:
            raise SettingsError(f"expected at most {self.shape.positions} positions for each slot, got {positions}")
        return speech_state.new_state(self.shape, slots, positions, device=self.device, dtype=self.dtype)

    def embed_text(self, ids: Tensor) -> Tensor:
        """Token ids [N] to embeddings [N, hidden]."""
        return functional.embedding(ids, self.text_embeddings)

    def embed_frames(self, codes: Tensor) -> Tensor:
        """Frames [N, codebooks] to embeddings [N, hidden]."""
        return functional.embedding(codes + self.first_codes, self.audio_embeddings).sum(1)

    def prefill(
        self, state: SpeechState, embeddings: Tensor, rows: Tensor, starts: Tensor, lengths: Tensor, *, context: int
    ) -> Tensor:
        """Take ``embeddings`` [B, C, hidden] in, at positions ``starts`` [B] and on; ``lengths`` [B] of them are valid.

        Rows shorter than C are padded at their end; nothing of the padding is kept. ``context`` is greater than every
        position. Returns what the backbone says at each row's last position, [B, hidden].
        """
        return self.backbone.prefill(state, embeddings, rows, starts, lengths, context=context)

    def decode(self, state: SpeechState, rows: Tensor, positions: Tensor, *, context: int) -> Tensor:
        """Take each row's next input in at ``positions`` [B]; ``context`` is greater than all of them. [B, hidden]."""
        return self.backbone.decode(state, rows, positions, context=context)

    def sample_text(self, state: SpeechState, hidden: Tensor, rows: Tensor, choice: Choice) -> Tensor:
        """The next token of each row, int64 [B]; -1 where the logits are not finite. It becomes its next input."""
        drawn = Sampler(choice).draw(self.text_logits(hidden))
        tokens = where_finite(drawn.tokens, drawn.witness)
        state.inputs.index_copy_(0, rows, self.embed_text(drawn.tokens))
        return tokens

    def sample_frame(self, state: SpeechState, hidden: Tensor, rows: Tensor, choice: Choice) -> Tensor:
        """The next frame of each row, int64 [B, codebooks]. It becomes the row's next input.

        The frame that ends the sound is that code in all codebooks; a frame whose logits are not finite begins with -1.
        """
        codes: Tensor = self.depthformer(hidden, Sampler(choice))
        codes = codes.masked_fill(codes[:, :1] == self._end_of_audio, self._end_of_audio)
        state.inputs.index_copy_(0, rows, self.embed_frames(codes.clamp(min=0)))
        return codes


def load_speech_model(checkpoint: Checkpoint, *, device: torch.device | str, dtype: torch.dtype) -> SpeechModel:
    """Build the model from a checkpoint, part by part: little more than the largest part is in memory twice."""

    def tensors_of(prefix: str) -> Tensors:
        return checkpoint.tensors(prefix, device=device, dtype=dtype)

    shape = checkpoint.shape
    return SpeechModel(
        shape,
        end_of_audio=checkpoint.controls.end_of_audio,
        backbone=Backbone(lambda prefix: tensors_of(f"lfm.{prefix}"), shape),
        depthformer=Depthformer(tensors_of, layers=shape.depth_layers, codebooks=shape.codebooks),
        text_embeddings=tensors_of("lfm.embed_tokens.")["weight"],
        audio_embeddings=tensors_of("audio_embedding.embedding.")["weight"],
    )
