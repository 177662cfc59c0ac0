"""Speech to embeddings for the backbone: log-mel features, a Conformer over the whole clip, and an adapter.

The features and the Conformer are the package's own (it is NVIDIA's FastConformer); both look at a clip as a whole, so
a clip is encoded once it is complete. On a GPU clips of like lengths are encoded together, each as if it were alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deployments.engine.checkpoint import Checkpoint
from deployments.engine.shape import ModelShape
from routing.errors import InvalidRequest, ModelError
from routing.turns import Samples

STRIDED = ("dw_striding", "striding")  # subsampling in halves, each rounded up


class SpeechEncoder:
    """Encodes clips of mono float32 speech at ``sample_rate``, from ``minimum_samples`` to ``maximum_samples`` long.

    ``dtype`` is that of the weights and of what comes out; the features are computed in float32 first. As in the
    released package, in bfloat16 the table of relative positions and the statistics of the norms are rounded too.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: torch.device | str, dtype: torch.dtype, maximum_sec: float = 60.0
    ) -> None:
        """Raises ModelError where the tensors are not those that config.json tells of."""
        shape = checkpoint.shape
        check_encoder(shape.encoder)
        self.sample_rate: int = shape.preprocessor["sample_rate"]
        self.hop_samples: int = round(
            shape.preprocessor["window_stride"] * self.sample_rate
        )  # from a feature to the next
        self.hops_per_position: int = shape.encoder["subsampling_factor"]
        self.minimum_samples = self.hop_samples * self.hops_per_position  # less than a position makes no sense
        self.maximum_samples = round(maximum_sec * self.sample_rate)
        self._device = torch.device(device)
        self._dtype = dtype
        # a CPU gains next to nothing from a batch, and alone a clip is encoded to the bit as the package does it
        self._groups = one_by_one if self._device.type == "cpu" else groups_of_like_length
        self._features = features_of(shape.preprocessor).to(self._device)
        conformer, adapter = build_conformer(shape.encoder), build_adapter(shape)
        load(conformer, checkpoint, "conformer.")
        load(adapter, checkpoint, "audio_adapter.model.")
        self._conformer = conformer.to(device=self._device, dtype=dtype).eval()
        self._adapter = adapter.to(device=self._device, dtype=dtype).eval()
        self._conformer.update_max_seq_length(self._feature_frames(self.maximum_samples), self._device)

    def positions_of(self, samples: int) -> int:
        """How many embeddings ``samples`` samples of speech become: 12.5 per second in the released models."""
        return -(-self._feature_frames(samples) // self.hops_per_position)

    def require_rate(self, sample_rate: int) -> None:
        """Raises InvalidRequest unless speech comes at the encoder's rate: it resamples nothing."""
        if sample_rate != self.sample_rate:
            raise InvalidRequest(
                f"expected speech at {self.sample_rate} Hz, came at {sample_rate} Hz", param="sample_rate"
            )

    def check(self, clip: object) -> None:
        """Raises InvalidRequest, which says what was expected and what came, for a clip that cannot be encoded."""
        if not isinstance(clip, np.ndarray) or clip.dtype != np.float32 or clip.ndim != 1:
            raise refused(f"expected mono float32 samples of shape [n], came {described(clip)}")
        if not self.minimum_samples <= len(clip) <= self.maximum_samples:
            shortest, longest = self.minimum_samples / self.sample_rate, self.maximum_samples / self.sample_rate
            came = len(clip) / self.sample_rate
            raise refused(f"expected from {shortest:.2f} to {longest:.2f} s of speech, came {came:.2f} s")
        if not np.isfinite(clip).all():
            raise refused(f"expected finite samples, came {np.count_nonzero(~np.isfinite(clip))} that are not")

    @torch.inference_mode()
    def encode(self, clips: Sequence[Samples]) -> list[Tensor]:
        """Embed each clip: [positions_of(its samples), hidden], on the encoder's device and in its dtype.

        Raises InvalidRequest where a clip cannot be encoded; ``check`` tells which, before it is in a batch.
        """
        for clip in clips:
            self.check(clip)
        embedded: dict[int, Tensor] = {}
        for places in self._groups([len(clip) for clip in clips]):
            group = self._encode_together([clips[place] for place in places])
            embedded.update(zip(places, group, strict=True))
        return [embedded[place] for place in range(len(clips))]

    def _encode_together(self, clips: Sequence[Samples]) -> Sequence[Tensor]:
        lengths = [len(clip) for clip in clips]
        encoded = self._encode_features(*self._extract_features(clips, lengths))
        positions = [self.positions_of(length) for length in lengths]
        valid = torch.cat([rows[:count] for rows, count in zip(encoded, positions, strict=True)])
        return torch.split(self._adapter(valid), positions)

    def _feature_frames(self, samples: int) -> int:
        return samples // self.hop_samples + 1

    def _extract_features(self, clips: Sequence[Samples], lengths: list[int]) -> tuple[Tensor, Tensor]:
        """Features [B, bins, frames] and the frames of each [B]."""
        padded = np.zeros((len(clips), max(lengths)), np.float32)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip)] = clip
        features, _ = self._features(self._on_device(padded), self._on_device(np.array(lengths)))
        frames = np.array([self._feature_frames(length) for length in lengths])
        return features, self._on_device(frames)

    def _encode_features(self, features: Tensor, frames: Tensor) -> Tensor:
        """[B, positions, width of the encoder]; what lies behind a clip's end has no meaning."""
        encoded, _ = self._conformer(features.to(self._dtype), frames)
        rows: Tensor = encoded.mT
        return rows

    def _on_device(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def one_by_one(lengths: Sequence[int]) -> list[list[int]]:
    return [[place] for place in range(len(lengths))]


def groups_of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Places of clips to be encoded together: none is longer than twice another, so that little of it is padding."""
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and lengths[place] <= 2 * lengths[groups[-1][0]]:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_audio", param="audio")


def described(clip: object) -> str:
    return f"{clip.dtype} of shape {list(clip.shape)}" if isinstance(clip, np.ndarray) else f"a {type(clip).__name__}"


# -- the parts -------------------------------------------------------------------------------------------------------


def check_encoder(config: Mapping[str, Any]) -> None:
    """Only with these does a clip's number of positions follow from its length as ``positions_of`` has it."""
    if config["subsampling"] not in STRIDED or not math.log2(config["subsampling_factor"]).is_integer():
        came = f"{config['subsampling']} by {config['subsampling_factor']}"
        raise ModelError(f"encoder: expected subsampling of {' or '.join(STRIDED)} by a power of 2; found {came}")
    if config["reduction"] is not None:
        raise ModelError(f"encoder: expected no reduction; found {config['reduction']}")


def features_of(config: Mapping[str, Any]) -> nn.Module:
    from liquid_audio.model.conformer.processor import AudioToMelSpectrogramPreprocessor

    module: nn.Module = AudioToMelSpectrogramPreprocessor(**config)
    return module.eval()


def build_conformer(config: Mapping[str, Any]) -> Any:
    from liquid_audio.model.conformer.encoder import ConformerEncoder

    try:
        return ConformerEncoder(**config)
    except (AssertionError, TypeError, ValueError) as exc:
        raise ModelError(f"encoder: config.json tells of none that can be built: {exc}") from exc


def build_adapter(shape: ModelShape) -> nn.Module:
    """From the width of the encoder to the backbone's. Its places in the sequence are the names of its tensors."""
    out, width = shape.encoder["feat_out"], shape.encoder["d_model"]
    encoded = out if out > 0 else width
    hidden = shape.hidden
    return nn.Sequential(nn.LayerNorm(encoded), nn.Linear(encoded, hidden), nn.GELU(), nn.Linear(hidden, hidden))


def load(module: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    try:
        module.load_state_dict(checkpoint.tensors(prefix))
    except RuntimeError as exc:  # tensors too few, too many, or of another shape
        raise ModelError(f"{checkpoint.folder}: the tensors {prefix}* do not fit config.json: {exc}") from exc
