"""What a config.json says of its model, and which ones are refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from deployments.engine.shape import shape_of
from routing.errors import ModelError

RELEASED: dict[str, Any] = {
    "architectures": ["Lfm2AudioForConditionalGeneration"],
    "codebooks": 8,
    "tie_audio_embeddings": False,
    "semantic_codebook_factor": 100,
    "codebook_weight": "log",
    "interleaved_n_text": 6,
    "interleaved_n_audio": 12,
    "preprocessor": {
        "sample_rate": 16_000,
        "normalize": "per_feature",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": 128,
        "n_fft": 512,
        "log": True,
        "frame_splicing": 1,
        "dither": 1e-05,
        "pad_to": 0,
        "pad_value": 0.0,
    },
    "encoder": {
        "feat_in": 128,
        "feat_out": -1,
        "n_layers": 17,
        "d_model": 512,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": 256,
        "causal_downsampling": False,
        "reduction": None,
        "reduction_position": None,
        "reduction_factor": 1,
        "ff_expansion_factor": 4,
        "self_attention_model": "rel_pos",
        "n_heads": 8,
        "att_context_size": [-1, -1],
        "xscaling": False,
        "untie_biases": True,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": 9,
        "conv_norm_type": "batch_norm",
        "conv_context_size": None,
        "dropout": 0.1,
        "dropout_pre_encoder": 0.1,
        "dropout_emb": 0.0,
        "dropout_att": 0.1,
    },
    "lfm": {
        "model_type": "lfm2",
        "vocab_size": 65_536,
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14],
        "block_ff_dim": 12_288,
        "block_multiple_of": 256,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True,
        "conv_L_cache": 3,
        "conv_bias": False,
        "max_position_embeddings": 128_000,
        "norm_eps": 1e-05,
        "rope_theta": 1_000_000.0,
        "torch_dtype": "bfloat16",
    },
    "depthformer": {"layers": 6, "dim": 1024, "tie": True},
}


def changed(*path: str, to: Any) -> dict[str, Any]:
    config = deepcopy(RELEASED)
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = to
    return config


def without(*path: str) -> dict[str, Any]:
    config = deepcopy(RELEASED)
    part = config
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return config


def test_the_released_model() -> None:
    shape = shape_of(RELEASED)
    assert (shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, shape.ff) == (2048, 32, 8, 64, 8192)
    assert (shape.vocabulary, shape.positions, shape.conv_kernel, shape.conv_bias) == (65_536, 128_000, 3, False)
    assert (shape.depth_layers, shape.depth_hidden, shape.codebooks) == (6, 1024, 8)
    assert (shape.text_run, shape.audio_run) == (6, 12)
    assert (shape.rope_theta, shape.norm_eps) == (1e6, 1e-5)
    assert "".join(kind[0] for kind in shape.layers) == "ccaccaccacacacac"
    assert (shape.attention_layers, shape.conv_layers) == (6, 10)
    assert shape.preprocessor == RELEASED["preprocessor"]
    assert shape.encoder == RELEASED["encoder"]


def test_a_position_of_the_released_model_takes_12_kib_in_bfloat16() -> None:
    assert shape_of(RELEASED).kv_bytes_per_position(itemsize=2) == 12 * 1024


def test_the_japanese_model_has_shorter_runs_of_sound() -> None:
    assert shape_of(changed("interleaved_n_audio", to=9)).audio_run == 9


def test_layers_may_be_named_one_by_one() -> None:
    names = ["full_attention" if place in RELEASED["lfm"]["full_attn_idxs"] else "conv" for place in range(16)]
    config = changed("lfm", "layer_types", to=names)
    del config["lfm"]["full_attn_idxs"]
    assert shape_of(config) == shape_of(RELEASED)


def test_the_base_of_the_rotation_may_stand_in_a_part_of_its_own() -> None:
    config = changed("lfm", "rope_parameters", to={"rope_theta": 5e5, "rope_type": "default"})
    assert shape_of(config).rope_theta == 5e5


def test_what_transformers_would_take_for_granted_is_so_here() -> None:
    config = deepcopy(RELEASED)
    for key in ("conv_L_cache", "conv_bias", "norm_eps", "rope_theta", "max_position_embeddings", "block_multiple_of"):
        del config["lfm"][key]
    assert shape_of(config) == shape_of(RELEASED)


@pytest.mark.parametrize(
    ("changes", "width"),
    [
        ({}, 8192),
        ({"block_ff_dim": 192, "block_multiple_of": 32}, 128),
        ({"block_ff_dim": 1000, "block_multiple_of": 100}, 700),  # 666.67 is cut, then rounded up
        ({"block_ffn_dim_multiplier": 1.5}, 12_288),
        ({"block_ffn_dim_multiplier": None}, 8192),
        ({"block_auto_adjust_ff_dim": False}, 12_288),
        ({"block_ff_dim": None, "intermediate_size": 6144}, 4096),
    ],
)
def test_the_width_of_the_feed_forward_parts(changes: dict[str, Any], width: int) -> None:
    config = deepcopy(RELEASED)
    config["lfm"].update(changes)
    assert shape_of(config).ff == width


REFUSED: list[tuple[dict[str, Any], str]] = [
    (without("lfm"), "missing keys: lfm"),
    (without("interleaved_n_text"), "missing keys: interleaved_n_text"),
    (changed("model_type", to="llama"), "unknown: model_type"),
    (without("encoder", "n_heads"), "encoder: .* missing keys: n_heads"),
    (changed("preprocessor", "mel_scale", to="htk"), "preprocessor: .* unknown: mel_scale"),
    (changed("depthformer", "heads", to=16), "depthformer: .* unknown: heads"),
    (changed("depthformer", to=6), "depthformer a group of keys; found 6"),
    (without("lfm", "hidden_size"), "lfm: expected the key hidden_size, found none"),
    (without("lfm", "full_attn_idxs"), "full_attn_idxs or layer_types"),
    (changed("lfm", "full_attn_idxs", to=[16]), "places among 16 layers; found \\[16\\]"),
    (changed("lfm", "full_attn_idxs", to=6), "full_attn_idxs a list; found 6"),
    (changed("lfm", "layer_types", to=["conv"] * 15), "16 entries"),
    (changed("lfm", "layer_types", to=["conv"] * 15 + ["mamba"]), "only of full_attention, conv; found .*mamba"),
    (changed("lfm", "num_attention_heads", to=30), "num_attention_heads a divisor of hidden_size 2048; found 30"),
    (changed("lfm", "num_key_value_heads", to=5), "num_key_value_heads a divisor of num_attention_heads 32; found 5"),
    (changed("lfm", "max_position_embeddings", to=128_000.0), "a whole number above 0; found 128000.0"),
    (changed("lfm", "vocab_size", to=0), "vocab_size a whole number above 0; found 0"),
    (changed("lfm", "norm_eps", to="small"), "norm_eps a number above 0; found 'small'"),
    (changed("lfm", "conv_bias", to=1), "conv_bias true or false; found 1"),
    (changed("lfm", "rope_parameters", to={"rope_type": "yarn"}), "rope_type default; found 'yarn'"),
    (changed("lfm", "rope_scaling", to={"factor": 2}), "rope_scaling none"),
    (changed("codebooks", to=True), "codebooks a whole number above 0; found True"),
    ({}, "missing keys: architectures"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_config_of_such_a_model_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        shape_of(config)
