"""From codes to sound, a frame at a time for many streams at once: the vocoder that comes with LFM2.5 checkpoints.

A frame of codes becomes six positions of a small transformer, whose attention looks 30 positions back; each position
becomes the spectrum of a window of sound, and the windows are added where they overlap. All that a stream has to
remember is of fixed size and lies in a row of a static state, so that any rows may be decoded together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from deployments.engine.backbone import Backbone, Convolutions
from deployments.engine.checkpoint import (
    CONFIG_FILE,
    DETOKENIZER_FOLDER,
    MIMI_FILE,
    WEIGHTS_FILE,
    Checkpoint,
    listing,
    opened,
    read_json,
)
from deployments.engine.layers import Tensors, within
from deployments.engine.shape import ModelShape, Section, backbone_sizes
from routing.errors import ModelError

POSITIONS_PER_FRAME = 6
HOPS_PER_WINDOW = 4
DEFAULT_SLIDING_WINDOW = 30  # positions, where config.json does not say
UNUSED_TENSOR = "lfm.embed_tokens.weight"  # a text embedding, 134 MB in the released file, that nothing reads

type Size = tuple[int, ...]


class Detokenizer(Protocol):
    """Streams of sound from frames of codes, one stream per row of a static state.

    Shapes are fixed: the t-th frame of a stream (from 0) gives its samples from ``t * frame_samples -
    lookahead_samples`` on, and `flush` the last ``lookahead_samples``. So the first ``lookahead_samples`` of the first
    frame's sound lie before the stream's beginning: they are silent, and the host drops them. Sound is 24 kHz mono
    float32.

    No method waits for the device. Rows may be in any order. Several may be the spare row, which is there for
    padding: what it holds and gives means nothing. Otherwise a row may come once in a call.
    """

    @property
    def frame_samples(self) -> int: ...

    @property
    def lookahead_samples(self) -> int: ...

    def new_state(self, slots: int) -> Any:
        """A state of ``slots + 1`` rows, of which the last is the spare row. All of them are fresh streams."""

    def reset(self, state: Any, rows: Tensor) -> None:
        """Begin new streams in these rows (int64 [B])."""

    def decode(self, state: Any, codes: Tensor, rows: Tensor) -> Tensor:
        """The sound [B, frame_samples] of one frame of codes (int64 [B, codebooks]) for each of the rows (int64 [B]).

        Codes that are out of range are taken for the nearest one in range.
        """

    def flush(self, state: Any, rows: Tensor) -> Tensor:
        """The last samples [B, lookahead_samples] of the streams of these rows. It changes nothing."""


def load_detokenizer(
    checkpoint: Checkpoint, kind: Literal["auto", "lfm", "mimi"], *, device: torch.device | str
) -> Detokenizer:
    """Load what the checkpoint's folder has: of ``auto``, its own vocoder before Mimi.

    Raises:
        ModelError: there is none of this kind, or it is damaged.
    """
    if kind != "mimi" and checkpoint.detokenizer_folder is not None:
        return LfmDetokenizer.load(checkpoint.detokenizer_folder, codebooks=checkpoint.shape.codebooks, device=device)
    if kind != "lfm" and checkpoint.mimi_file is not None:
        from deployments.engine.streaming_mimi import MimiDetokenizer

        return MimiDetokenizer.load(checkpoint.mimi_file, codebooks=checkpoint.shape.codebooks, device=device)
    wanted = {"lfm": f"{DETOKENIZER_FOLDER}/", "mimi": MIMI_FILE}
    expected = wanted.get(kind) or " or ".join(wanted.values())
    raise ModelError(f"{checkpoint.folder}: expected {expected} for its sound; found: {listing(checkpoint.folder)}")


# -- what is remembered ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class LfmStreams:
    """What is remembered of each stream, a row for each; or of some rows, as they were gathered."""

    positions: Tensor  # [rows] int64: how many the transformer has seen
    keys_values: Tensor  # [rows, 2 * attention layers, sliding window - 1, kv_heads, head_dim]: keys, values, keys...
    columns: Tensor  # [rows, convolution layers, kernel - 1, width]
    windows: Tensor  # [rows, hops per window - 1, window samples]: they go on sounding in what comes next

    def parts(self) -> tuple[Tensor, ...]:
        return self.positions, self.keys_values, self.columns, self.windows

    def gather(self, rows: Tensor) -> LfmStreams:
        return LfmStreams(*(part.index_select(0, rows) for part in self.parts()))

    def write(self, rows: Tensor, streams: LfmStreams) -> None:
        for part, new in zip(self.parts(), streams.parts(), strict=True):
            part.index_copy_(0, rows, new)

    def erase(self, rows: Tensor) -> None:
        """Zeros everywhere: what is not a number would be felt even where it is masked."""
        for part in self.parts():
            part.index_fill_(0, rows, 0)


# -- the transformer -------------------------------------------------------------------------------------------------


class _Sight:
    """How far a position looks back, and how far keys are turned: the constants of a `StreamStep`."""

    def __init__(self, *, sliding_window: int, head_dim: int, theta: float, device: torch.device) -> None:
        self.remembered = sliding_window - 1
        self._offsets = torch.arange(-self.remembered, POSITIONS_PER_FRAME, device=device)
        distances = self._offsets[self.remembered :, None] - self._offsets
        hidden = (distances < 0) | (distances >= sliding_window)
        self._band = torch.zeros(hidden.shape, device=device).masked_fill(hidden, -math.inf)
        self._never = torch.full((), -math.inf, device=device)
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
        self._frequencies = 1.0 / theta**exponents
        self._one = torch.ones((), device=device)

    def of(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """For streams that have had ``positions`` [B]: rotations [B * 6, 1, head_dim / 2], mask [B, 1, 6, old + 6].

        The mask is 0 where a position looks and minus infinity elsewhere; nothing lies before a stream's first one.
        """
        standing = positions[:, None] + self._offsets
        mask = torch.where(standing[:, None, None] >= 0, self._band, self._never)
        angles = standing[:, self.remembered :, None, None] * self._frequencies
        return torch.polar(self._one, angles).flatten(0, 1), mask


class StreamStep:
    """One frame of each of B streams on its way through the layers of a `Backbone`: N = B * 6 positions.

    It stands where the backbone's own steps do, with a memory of a few positions in the place of a whole context.
    """

    def __init__(self, old: LfmStreams, sight: _Sight, convolutions: Convolutions) -> None:
        self.rotations, self._mask = sight.of(old.positions)
        self._old = old
        self._taps, self._bias = convolutions
        self._keys_values: list[Tensor] = []
        self._columns: list[Tensor] = []

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of queries [N, heads, head_dim] to the old and the new keys [N, kv_heads, head_dim].

        Returns [N, heads * head_dim].
        """
        old = self._old.keys_values
        all_keys = torch.cat((old[:, 2 * layer], by_row(keys)), 1)
        all_values = torch.cat((old[:, 2 * layer + 1], by_row(values)), 1)
        self._keys_values += [all_keys[:, POSITIONS_PER_FRAME:], all_values[:, POSITIONS_PER_FRAME:]]
        seen = functional.scaled_dot_product_attention(
            by_row(queries).transpose(1, 2),
            all_keys.transpose(1, 2),
            all_values.transpose(1, 2),
            self._mask,
            enable_gqa=True,
        )
        return seen.transpose(1, 2).reshape(len(queries), -1)

    def convolve(self, layer: int, signal: Tensor) -> Tensor:
        """The convolution of ``signal`` [N, width] after what the streams remember, as [N, width]."""
        columns = torch.cat((self._old.columns[:, layer], by_row(signal)), 1)
        self._columns.append(columns[:, POSITIONS_PER_FRAME:])
        summed = columns[:, :POSITIONS_PER_FRAME] * self._taps[layer, 0]
        for delay in range(1, self._taps.shape[1]):
            shifted = columns[:, delay : delay + POSITIONS_PER_FRAME]
            summed = torch.addcmul(summed, shifted, self._taps[layer, delay])
        return (summed if self._bias is None else summed + self._bias[layer]).view(signal.shape)

    def remembered(self, windows: Tensor) -> LfmStreams:
        """The streams after this step, which has made the last of these windows of sound [B, 3, samples]."""
        return LfmStreams(
            positions=self._old.positions + POSITIONS_PER_FRAME,
            keys_values=stacked(self._keys_values, self._old.keys_values),
            columns=stacked(self._columns, self._old.columns),
            windows=windows,
        )


def by_row(values: Tensor) -> Tensor:
    """[B * 6, ...] as [B, 6, ...]."""
    return values.view(-1, POSITIONS_PER_FRAME, *values.shape[1:])


def stacked(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(parts, 1) if parts else like


# -- the sound -------------------------------------------------------------------------------------------------------


class _Gains(NamedTuple):
    """What the overlap of the squared windows is divided by: everywhere the same, but at the two ends of a stream."""

    first: Tensor  # [frame samples], silent before the stream begins
    later: Tensor  # [frame samples]
    last: Tensor  # [lookahead samples]


def overlap_add(windows: Tensor) -> Tensor:
    """Add windows [B, hops per window - 1 + n, samples], each a hop after the one before: sound [B, n * hop].

    It is that of the last n hops that begin with these windows. The hop-long pieces that sound together lie on a
    diagonal; a view with those strides makes the sum one operation.
    """
    before = HOPS_PER_WINDOW - 1
    batch, count, length = windows.shape
    hop = length // HOPS_PER_WINDOW
    diagonals = windows.contiguous().as_strided(
        (batch, count - before, HOPS_PER_WINDOW, hop), (count * length, length, before * hop, 1), before * hop
    )
    return diagonals.sum(2).flatten(1)


def gains_of(window: Tensor, lookahead: int) -> _Gains:
    """The envelope that squared windows [samples] add up to, inverted, at the start, in the middle and at the end."""
    before = HOPS_PER_WINDOW - 1
    square = window.double().square()
    silence = square.new_zeros(before, len(square))
    old, new = square.expand(before, -1), square.expand(POSITIONS_PER_FRAME, -1)
    first = 1 / overlap_add(torch.cat((silence, new))[None])[0]
    first[:lookahead] = 0
    later = 1 / overlap_add(torch.cat((old, new))[None])[0]
    last = 1 / overlap_add(torch.cat((old, silence))[None])[0, :lookahead]
    return _Gains(first.float(), later.float(), last.float())


# -- all of it -------------------------------------------------------------------------------------------------------


class LfmDetokenizer:
    """The vocoder of LFM2.5 checkpoints. Always float32, on the CPU and on a GPU: with less it was seen to fail.

    Args:
        shape: of its transformer, which is built like the backbone
        tensors: those of its file, by their names there, in float32
        sliding_window: positions that one sees, itself among them
    """

    def __init__(self, shape: ModelShape, tensors: Tensors, *, sliding_window: int) -> None:
        self._shape = shape
        self._backbone = Backbone(lambda prefix: within(tensors, f"lfm.{prefix}"), shape)
        self._codes, self._window = tensors["emb.emb.weight"], tensors["istft.window"]
        self._spectrum, self._spectrum_bias = tensors["lin.weight"], tensors["lin.bias"]
        device = self._codes.device
        self._sight = _Sight(
            sliding_window=sliding_window, head_dim=shape.head_dim, theta=shape.rope_theta, device=device
        )
        self._vocabulary = len(self._codes) // shape.codebooks
        self._first_codes = torch.arange(shape.codebooks, device=device) * self._vocabulary
        hop = len(self._window) // HOPS_PER_WINDOW
        self.frame_samples = hop * POSITIONS_PER_FRAME
        self.lookahead_samples = (len(self._window) - hop) // 2
        self._gains = gains_of(self._window, self.lookahead_samples)

    @classmethod
    def load(cls, folder: Path, *, codebooks: int, device: torch.device | str) -> Self:
        """From the folder ``audio_detokenizer`` of a checkpoint: its config.json and model.safetensors.

        Raises:
            ModelError: a file is missing or damaged, or belongs to something else.
        """
        config = Section(str(folder / CONFIG_FILE), read_json(folder / CONFIG_FILE))
        shape = read_shape(config, codebooks)
        tensors = read_tensors(folder / WEIGHTS_FILE, device)
        check_tensors(tensors, shape, folder / WEIGHTS_FILE)
        return cls(shape, tensors, sliding_window=config.whole("sliding_window", DEFAULT_SLIDING_WINDOW))

    def new_state(self, slots: int) -> LfmStreams:
        shape, rows, zeros = self._shape, slots + 1, self._codes.new_zeros
        heads = (2 * shape.attention_layers, self._sight.remembered, shape.kv_heads, shape.head_dim)
        return LfmStreams(
            positions=zeros(rows, dtype=torch.int64),
            keys_values=zeros(rows, *heads),
            columns=zeros(rows, shape.conv_layers, shape.conv_kernel - 1, shape.hidden),
            windows=zeros(rows, HOPS_PER_WINDOW - 1, len(self._window)),
        )

    def reset(self, state: LfmStreams, rows: Tensor) -> None:
        state.erase(rows)

    def decode(self, state: LfmStreams, codes: Tensor, rows: Tensor) -> Tensor:
        """See `Detokenizer.decode`. The state is written by the last operations: a call that fails changes nothing."""
        old = state.gather(rows)
        step = StreamStep(old, self._sight, Convolutions(self._backbone.taps, self._backbone.bias))
        hidden = self._embed(codes)
        for layer in self._backbone.layers:
            hidden = layer(hidden, step)
        windows = torch.cat((old.windows, self._windows(self._backbone.norm(hidden))), 1)
        gain = torch.where(old.positions[:, None] == 0, self._gains.first, self._gains.later)
        sound = overlap_add(windows) * gain
        state.write(rows, step.remembered(windows[:, POSITIONS_PER_FRAME:]))
        return sound

    def flush(self, state: LfmStreams, rows: Tensor) -> Tensor:
        windows = state.windows.index_select(0, rows)
        sound = overlap_add(torch.cat((windows, torch.zeros_like(windows)), 1))
        return sound[:, : self.lookahead_samples] * self._gains.last

    def _embed(self, codes: Tensor) -> Tensor:
        """The six inputs of each frame, all alike: [B * 6, width]."""
        ids = codes.clamp(0, self._vocabulary - 1) + self._first_codes
        mean = functional.embedding(ids, self._codes).mean(1, keepdim=True)
        return mean.expand(-1, POSITIONS_PER_FRAME, -1).flatten(0, 1)

    def _windows(self, hidden: Tensor) -> Tensor:
        """The window of sound of each position: [B, 6, samples]."""
        spectrum = by_row(functional.linear(hidden, self._spectrum, self._spectrum_bias))
        log_magnitude, phase = spectrum.chunk(2, dim=-1)
        waves: Tensor = torch.fft.irfft(torch.polar(log_magnitude.exp(), phase), len(self._window))
        return waves * self._window


# -- the files -------------------------------------------------------------------------------------------------------


def read_shape(config: Section, codebooks: int) -> ModelShape:
    """The shape of a backbone without anything around it."""
    kinds = ["full_attention" if kind == "sliding_attention" else kind for kind in config.items("layer_types")]
    sizes = backbone_sizes(Section(config.name, {**config.values, "layer_types": kinds}))
    around: dict[str, Any] = {
        "depth_layers": 0,
        "depth_hidden": 0,
        "codebooks": codebooks,
        "text_run": 0,
        "audio_run": 0,
    }
    return ModelShape(**sizes, **around, preprocessor={}, encoder={})


def read_tensors(file: Path, device: torch.device | str) -> dict[str, Tensor]:
    with opened(file, device) as content:
        return {name: content.get_tensor(name).float() for name in content.keys() if name != UNUSED_TENSOR}  # noqa: SIM118


def check_tensors(tensors: Tensors, shape: ModelShape, file: Path) -> None:
    """A file of another architecture is refused by the names and sizes of what it has."""
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = expected_sizes(shape, found)
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        told = "; ".join(f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in wrong[:4])
        raise ModelError(f"{file}: not that of an LFM2.5 detokenizer, in {len(wrong)} tensors: {told}")


def expected_sizes(shape: ModelShape, found: Mapping[str, Size]) -> dict[str, Size]:
    """Sizes by name. The vocabulary and the window are as large as the file has them."""
    vocabulary = found.get("emb.emb.weight", (0,))[0] // shape.codebooks
    hop = found.get("istft.window", (0,))[0] // HOPS_PER_WINDOW
    bins = HOPS_PER_WINDOW * hop // 2 + 1
    sizes: dict[str, Size] = {
        "emb.emb.weight": (vocabulary * shape.codebooks, shape.hidden),
        "istft.window": (HOPS_PER_WINDOW * hop,),
        "lin.weight": (2 * bins, shape.hidden),
        "lin.bias": (2 * bins,),
        "lfm.embedding_norm.weight": (shape.hidden,),
    }
    for number, kind in enumerate(shape.layers):
        operator = attention_sizes(shape) if kind == "attention" else convolution_sizes(shape)
        sizes |= {f"lfm.layers.{number}.{name}": size for name, size in (operator | feed_forward_sizes(shape)).items()}
    return sizes


def attention_sizes(shape: ModelShape) -> dict[str, Size]:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "self_attn.q_proj.weight": (queries, shape.hidden),
        "self_attn.k_proj.weight": (keys, shape.hidden),
        "self_attn.v_proj.weight": (keys, shape.hidden),
        "self_attn.out_proj.weight": (shape.hidden, queries),
        "self_attn.q_layernorm.weight": (shape.head_dim,),
        "self_attn.k_layernorm.weight": (shape.head_dim,),
    }


def convolution_sizes(shape: ModelShape) -> dict[str, Size]:
    weights: dict[str, Size] = {
        "conv.in_proj": (3 * shape.hidden, shape.hidden),
        "conv.conv": (shape.hidden, 1, shape.conv_kernel),
        "conv.out_proj": (shape.hidden, shape.hidden),
    }
    biases: dict[str, Size] = {f"{name}.bias": size[:1] for name, size in weights.items() if shape.conv_bias}
    return {f"{name}.weight": size for name, size in weights.items()} | biases


def feed_forward_sizes(shape: ModelShape) -> dict[str, Size]:
    return {
        "operator_norm.weight": (shape.hidden,),
        "ffn_norm.weight": (shape.hidden,),
        "feed_forward.w1.weight": (shape.ff, shape.hidden),
        "feed_forward.w3.weight": (shape.ff, shape.hidden),
        "feed_forward.w2.weight": (shape.hidden, shape.ff),
    }
