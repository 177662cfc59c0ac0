"""Speech to embeddings: as the package's own model has them, whoever else is in the batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.encoder import SpeechEncoder, groups_of_like_length
from routing.errors import InvalidRequest, ModelError
from routing.turns import Samples
from tests.tiny_checkpoint import stock, tiny_checkpoint

pytestmark = pytest.mark.engine

RATE = 16_000
LONGEST_SEC = 8.0  # longer than the table of positions in the checkpoint's config


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    return new_encoder(tiny_checkpoint())


def new_encoder(folder: Path, dtype: torch.dtype = torch.float32) -> SpeechEncoder:
    return SpeechEncoder(open_checkpoint(folder), device="cpu", dtype=dtype, maximum_sec=LONGEST_SEC)


def speech(samples: int, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


def stock_embeddings(model: Any, processor: Any, clip: Samples) -> torch.Tensor:
    """What the package's own model puts in the place of a clip; in front of it stands the start of the text."""
    from liquid_audio import ChatState

    chat = ChatState(processor, dtype=next(model.parameters()).dtype)
    chat.add_audio(torch.from_numpy(clip)[None], RATE)
    with torch.no_grad():
        embeddings: torch.Tensor = model._prefill(**chat)[0, 1:]
    return embeddings


LENGTHS = [1280, 1281, 1439, 1440, 1441, 16_000, 25_013, 3 * RATE + 7, int(LONGEST_SEC * RATE)]


def test_each_clip_of_a_batch_is_encoded_as_the_package_encodes_it_alone(encoder: SpeechEncoder) -> None:
    clips = [speech(length, seed=length) for length in reversed(LENGTHS)]
    for clip, embeddings in zip(clips, encoder._encode_together(clips), strict=True):
        expected = stock_embeddings(*stock(tiny_checkpoint()), clip)
        torch.testing.assert_close(embeddings, expected, atol=5e-6, rtol=0)  # of a standard deviation of 0.7
        assert len(embeddings) == encoder.positions_of(len(clip))


def test_on_a_cpu_clips_are_encoded_to_the_bit_as_in_the_package(encoder: SpeechEncoder) -> None:
    clips = [speech(length, seed=length) for length in reversed(LENGTHS)]
    for clip, embeddings in zip(clips, encoder.encode(clips), strict=True):
        assert torch.equal(embeddings, stock_embeddings(*stock(tiny_checkpoint()), clip))


def test_clips_come_back_in_their_order_however_they_are_grouped() -> None:
    encoder = new_encoder(tiny_checkpoint())
    encoder._groups = groups_of_like_length
    clips = [speech(length, seed=length) for length in (5000, 1500, 20_000, 4000)]
    for clip, embeddings in zip(clips, encoder.encode(clips), strict=True):
        torch.testing.assert_close(embeddings, encoder.encode([clip])[0], atol=5e-6, rtol=0)


def test_bfloat16_rounds_where_the_package_rounds() -> None:
    from liquid_audio import LFM2AudioModel

    model = LFM2AudioModel.from_pretrained(tiny_checkpoint(), dtype=torch.bfloat16, device="cpu").eval()
    encoder, clip = new_encoder(tiny_checkpoint(), torch.bfloat16), speech(int(LONGEST_SEC * RATE))
    embeddings = encoder.encode([clip])[0]
    assert embeddings.dtype == torch.bfloat16
    assert torch.equal(embeddings, stock_embeddings(model, stock(tiny_checkpoint()).processor, clip))


def test_four_seconds_are_51_positions(encoder: SpeechEncoder) -> None:
    assert encoder.positions_of(4 * RATE) == 51
    assert (encoder.sample_rate, encoder.minimum_samples) == (RATE, 1280)


def test_the_longest_clip_makes_no_table_grow(encoder: SpeechEncoder) -> None:
    table = encoder._conformer.pos_enc.pe
    encoder.encode([speech(encoder.maximum_samples)])
    assert encoder._conformer.pos_enc.pe is table


def test_no_clips_are_no_embeddings(encoder: SpeechEncoder) -> None:
    assert encoder.encode([]) == []


def test_silence_is_encoded_too(encoder: SpeechEncoder) -> None:
    assert encoder.encode([np.zeros(RATE, np.float32)])[0].isfinite().all()


@pytest.mark.gpu
def test_a_gpu_encodes_as_a_cpu_does(encoder: SpeechEncoder) -> None:
    there = SpeechEncoder(open_checkpoint(tiny_checkpoint()), device="cuda", dtype=torch.float32)
    clips = [speech(length, seed=length) for length in LENGTHS]
    for here, embeddings in zip(encoder.encode(clips), there.encode(clips), strict=True):
        torch.testing.assert_close(embeddings.cpu(), here, atol=2e-2, rtol=0)  # convolutions there round to TF32


BROKEN = speech(RATE)
BROKEN[[5, 7]] = np.nan, np.inf

REFUSED = [
    (np.zeros(0, np.float32), r"from 0.08 to 8.00 s of speech, came 0.00 s"),
    (speech(1279), r"from 0.08 to 8.00 s of speech, came 0.08 s"),
    (speech(int(LONGEST_SEC * RATE) + 1), r"came 8.00 s"),
    (speech(RATE).astype(np.float64), r"mono float32 samples of shape \[n\], came float64 of shape \[16000\]"),
    ((speech(RATE) * 32767).astype(np.int16), r"came int16"),
    (speech(RATE).reshape(2, -1), r"came float32 of shape \[2, 8000\]"),
    ([0.0] * RATE, r"came a list"),
    (BROKEN, r"finite samples, came 2 that are not"),
]


@pytest.mark.parametrize(("clip", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_clip_that_cannot_be_encoded_is_refused(encoder: SpeechEncoder, clip: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        encoder.check(clip)
    with pytest.raises(InvalidRequest, match=message):
        encoder.encode([speech(RATE), clip])


def test_another_sample_rate_is_refused(encoder: SpeechEncoder) -> None:
    encoder.require_rate(RATE)
    with pytest.raises(InvalidRequest, match="expected speech at 16000 Hz, came at 24000 Hz"):
        encoder.require_rate(24_000)


CHANGES = [
    ({"n_layers": 3}, r"expected the tensor conformer\.layers\.2\.norm_out"),
    ({"n_layers": 1}, r"the tensors conformer\.\* do not fit"),
    ({"subsampling": "vggnet"}, "expected subsampling of dw_striding or striding by a power of 2; found vggnet by 8"),
    ({"reduction": "pooling"}, "expected no reduction; found pooling"),
    ({"self_attention_model": "none"}, "config.json tells of none that can be built"),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES, ids=[message for _, message in CHANGES])
def test_an_encoder_that_is_not_the_configured_one_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint(), tmp_path / "changed"))
    config = json.loads((folder / "config.json").read_text())
    config["encoder"].update(changes)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        new_encoder(folder)


@given(st.lists(st.integers(1, 1000), max_size=12))
def test_clips_that_are_encoded_together_are_of_like_length(lengths: list[int]) -> None:
    groups = groups_of_like_length(lengths)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    for group in groups:
        together = [lengths[place] for place in group]
        assert max(together) <= 2 * min(together)
