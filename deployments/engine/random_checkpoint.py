"""Checkpoints with random weights in the released layout, for tests and for the bench: real classes, no download.

They say nothing of sense, but they walk through everything that a real one does: the rows of the control tokens are
enlarged, so that turns end, text ends and sound ends by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

MIMI_FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"
CONTROL_IDS = {
    "<|pad|>": 0,
    "<|startoftext|>": 1,
    "<|im_start|>": 6,
    "<|im_end|>": 7,
    "<|audio_start|>": 128,
    "<|text_start|>": 129,
    "<|text_end|>": 130,
}
MERGES = (("t", "h"), ("th", "e"), ("i", "n"), ("e", "r"), ("Ġ", "a"), ("s", "t"), ("u", "s"), ("Ġa", "n"))
DECODABLE = 1024  # ids that decode to a text; a large vocabulary need not be filled
CODES = 2048  # valid ones of a codebook; the next one is the end of sound
MEL_BINS = 128
FIRST_SEED = 104  # the models of these first few seeds neither end at once nor go on for ever
DETOKENIZER_WIDTH = 512  # the package has it in its code


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Sizes of a model. ``attention`` names the backbone's layers of that kind, all others are convolutions."""

    hidden: int
    layers: int
    attention: tuple[int, ...]
    heads: int
    kv_heads: int
    block_ff: int  # what config.json says; two thirds of it, rounded up to `multiple_of`, are built
    multiple_of: int = 256
    vocabulary: int
    positions: int = 4096
    encoder_layers: int
    encoder_width: int
    encoder_heads: int
    encoder_channels: int
    encoder_positions: int = 512
    depth_layers: int
    depth_width: int  # a multiple of 64: the package has 32 heads in its code
    detokenizer: str  # a letter for each layer: c for convolution, s for sliding attention
    detokenizer_ff: int
    detokenizer_vocabulary: int = 8
    small_mimi: bool = True  # False: the released architecture of Mimi


RELEASED_ATTENTION = (2, 5, 8, 10, 12, 14)
RELEASED_DETOKENIZER = "ccscscsc"

PRESETS: Mapping[str, Preset] = MappingProxyType({
    "tiny": Preset(  # for tests: a few seconds, a few megabytes
        hidden=64, layers=4, attention=(1, 3), heads=4, kv_heads=2, block_ff=192, multiple_of=32, vocabulary=512,
        encoder_layers=2, encoder_width=32, encoder_heads=2, encoder_channels=16,
        depth_layers=2, depth_width=64, detokenizer="cs", detokenizer_ff=64,
    ),
    "deep": Preset(  # the released number of layers, hardly any width: to count operations
        hidden=64, layers=16, attention=RELEASED_ATTENTION, heads=4, kv_heads=2, block_ff=192, multiple_of=32,
        vocabulary=512, encoder_layers=17, encoder_width=32, encoder_heads=2, encoder_channels=16,
        depth_layers=6, depth_width=64, detokenizer=RELEASED_DETOKENIZER, detokenizer_ff=64,
    ),
    "mid": Preset(  # to take times
        hidden=512, layers=8, attention=(2, 4, 6), heads=8, kv_heads=2, block_ff=3072, vocabulary=8192,
        encoder_layers=4, encoder_width=256, encoder_heads=4, encoder_channels=64,
        depth_layers=6, depth_width=256, detokenizer=RELEASED_DETOKENIZER, detokenizer_ff=1024,
    ),
    "half": Preset(  # the released number of layers at half the width
        hidden=1024, layers=16, attention=RELEASED_ATTENTION, heads=16, kv_heads=8, block_ff=6144, vocabulary=32768,
        encoder_layers=17, encoder_width=256, encoder_heads=4, encoder_channels=128, encoder_positions=5000,
        depth_layers=6, depth_width=512, detokenizer=RELEASED_DETOKENIZER, detokenizer_ff=2304, small_mimi=False,
    ),
    "large": Preset(  # and at three quarters of it
        hidden=1536, layers=16, attention=RELEASED_ATTENTION, heads=24, kv_heads=8, block_ff=9216, vocabulary=65536,
        positions=32768, encoder_layers=17, encoder_width=384, encoder_heads=6, encoder_channels=256,
        encoder_positions=5000, depth_layers=6, depth_width=768,
        detokenizer=RELEASED_DETOKENIZER, detokenizer_ff=2304, small_mimi=False,
    ),
    "full": Preset(  # the released shape
        hidden=2048, layers=16, attention=RELEASED_ATTENTION, heads=32, kv_heads=8, block_ff=12288, vocabulary=65536,
        positions=128_000, encoder_layers=17, encoder_width=512, encoder_heads=8, encoder_channels=256,
        encoder_positions=5000, depth_layers=6, depth_width=1024,
        detokenizer=RELEASED_DETOKENIZER, detokenizer_ff=2304, detokenizer_vocabulary=65536, small_mimi=False,
    ),
})  # fmt: skip


def write_random_checkpoint(
    folder: Path,
    preset: Preset,
    *,
    seed: int,
    text_run: int = 6,
    audio_run: int = 12,
    boost: float = 2.5,
    detokenizer: bool = True,
    mimi: bool = False,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[str], None] = lambda doing: None,
) -> Path:
    """Write a checkpoint of random weights into ``folder``, which is made if need be, and return it.

    ``boost`` enlarges the rows of the control tokens, ``dtype`` is that of the model's file (the detokenizers' files
    are float32, as released). ``progress`` is told what is being done. Memory: the model in float32, once.
    The same arguments give the same weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = model_config(preset, text_run=text_run, audio_run=audio_run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(FIRST_SEED + seed)
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        write_tokenizer(folder, preset.vocabulary)
        save(random_model(config, boost=boost, progress=progress).to(dtype), folder / "model.safetensors")
        if detokenizer:
            write_detokenizer(folder / "audio_detokenizer", preset, progress)
        if mimi:
            progress("Mimi")
            save(random_mimi(small=preset.small_mimi), folder / MIMI_FILE)
    return folder


# -- the model -------------------------------------------------------------------------------------------------------


def model_config(preset: Preset, *, text_run: int, audio_run: int) -> dict[str, Any]:
    """config.json, with the keys of the released ones."""
    return {
        "architectures": ["Lfm2AudioForConditionalGeneration"],
        "codebooks": 8,
        "tie_audio_embeddings": False,
        "semantic_codebook_factor": 100,
        "codebook_weight": "log",
        "interleaved_n_text": text_run,
        "interleaved_n_audio": audio_run,
        "preprocessor": preprocessor_config(),
        "encoder": encoder_config(preset),
        "lfm": backbone_config(preset),
        "depthformer": {"layers": preset.depth_layers, "dim": preset.depth_width, "tie": True},
    }


def preprocessor_config() -> dict[str, Any]:
    return {
        "sample_rate": 16_000,
        "normalize": "per_feature",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": MEL_BINS,
        "n_fft": 512,
        "log": True,
        "frame_splicing": 1,
        "dither": 1e-05,
        "pad_to": 0,
        "pad_value": 0.0,
    }


def encoder_config(preset: Preset) -> dict[str, Any]:
    return {
        "feat_in": MEL_BINS,
        "feat_out": -1,
        "n_layers": preset.encoder_layers,
        "d_model": preset.encoder_width,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": preset.encoder_channels,
        "causal_downsampling": False,
        "reduction": None,
        "reduction_position": None,
        "reduction_factor": 1,
        "ff_expansion_factor": 4,
        "self_attention_model": "rel_pos",
        "n_heads": preset.encoder_heads,
        "att_context_size": [-1, -1],
        "xscaling": False,
        "untie_biases": True,
        "pos_emb_max_len": preset.encoder_positions,
        "conv_kernel_size": 9,
        "conv_norm_type": "batch_norm",
        "conv_context_size": None,
        "dropout": 0.1,
        "dropout_pre_encoder": 0.1,
        "dropout_emb": 0.0,
        "dropout_att": 0.1,
    }


def backbone_config(preset: Preset) -> dict[str, Any]:
    return {
        "model_type": "lfm2",
        "vocab_size": preset.vocabulary,
        "hidden_size": preset.hidden,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "num_key_value_heads": preset.kv_heads,
        "full_attn_idxs": list(preset.attention),
        "block_ff_dim": preset.block_ff,
        "block_multiple_of": preset.multiple_of,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True,
        "conv_L_cache": 3,
        "conv_bias": False,
        "max_position_embeddings": preset.positions,
        "norm_eps": 1e-05,
        "rope_theta": 1_000_000.0,
        "pad_token_id": CONTROL_IDS["<|pad|>"],
        "bos_token_id": CONTROL_IDS["<|startoftext|>"],
        "eos_token_id": CONTROL_IDS["<|im_end|>"],
        "tie_embedding": True,
        "use_cache": True,
    }


def empty_model(config: Mapping[str, Any]) -> Any:
    """The package's own class, built from config.json, in train mode as the package leaves it."""
    from liquid_audio import LFM2AudioModel
    from liquid_audio.model.conformer.encoder import ConformerEncoderConfig
    from liquid_audio.model.lfm2_audio import DepthformerConfig, LFM2AudioConfig
    from transformers import Lfm2Config

    parts = {
        "lfm": Lfm2Config(**config["lfm"]),
        "encoder": ConformerEncoderConfig(**config["encoder"]),
        "depthformer": DepthformerConfig(**config["depthformer"]),
    }
    return LFM2AudioModel(LFM2AudioConfig(**{**config, **parts}))


def random_model(config: Mapping[str, Any], *, boost: float, progress: Callable[[str], None]) -> Any:
    """One with every weight drawn, those of norms too, so that none can be left out unseen."""
    with undrawn():
        model = empty_model(config)
    with torch.no_grad():
        draw_weights(model, progress)
        draw_statistics(model)
        enlarge_controls(model, boost)
    return model


def undrawn() -> AbstractContextManager[None]:
    """While inside, models are built with weights of any value: to draw them twice would take most of the time."""
    from transformers.initialization import no_init_weights

    context: AbstractContextManager[None] = no_init_weights()
    return context


def draw_weights(model: nn.Module, progress: Callable[[str], None]) -> None:
    parameters = list(model.named_parameters())
    total = sum(parameter.numel() for _, parameter in parameters)
    done = 0
    for name, parameter in parameters:
        progress(f"weights: {done / total:.0%}")
        draw(name, parameter)
        done += parameter.numel()


def draw(name: str, parameter: Tensor) -> None:
    """Matrices that keep the size of what passes through them, norms around 1, biases around 0.

    With the small matrices that transformers begins a training with, a reply depends on little but its last token,
    and a fault in the model's memory of the rest would go unseen. With large embeddings of text, which are the text
    head too, every token would call for itself again.
    """
    if "embed_tokens" in name:
        parameter.normal_(0.0, 0.02)
    elif "pos_bias" in name:
        parameter.normal_(0.0, 0.1)
    elif parameter.ndim > 1:
        parameter.normal_(0.0, parameter[0].numel() ** -0.5)
    elif name.endswith("bias"):
        parameter.normal_(0.0, 0.05)
    else:
        parameter.uniform_(0.8, 1.2)


def draw_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0.0, 0.05)
            module.running_var.uniform_(0.9, 1.1)


def enlarge_controls(model: Any, boost: float) -> None:
    """Make the control tokens likely: larger rows give larger scores, of either sign. Turns shall end, but not soon."""
    rows = model.lfm.embed_tokens.weight
    rows[CONTROL_IDS["<|audio_start|>"]] *= boost
    rows[CONTROL_IDS["<|text_end|>"]] *= boost
    rows[CONTROL_IDS["<|im_end|>"]] *= boost**0.5
    model.depth_embeddings[0].embedding.weight[CODES] *= boost


# -- the detokenizers ------------------------------------------------------------------------------------------------


def write_detokenizer(folder: Path, preset: Preset, progress: Callable[[str], None]) -> None:
    folder.mkdir(exist_ok=True)
    config = detokenizer_config(preset)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save(random_detokenizer(config, progress), folder / "model.safetensors")


def detokenizer_config(preset: Preset) -> dict[str, Any]:
    kinds = {"c": "conv", "s": "sliding_attention"}
    return {
        "architectures": ["Lfm2AudioDetokenizer"],
        "model_type": "lfm2",
        "vocab_size": preset.detokenizer_vocabulary,
        "hidden_size": DETOKENIZER_WIDTH,
        "num_hidden_layers": len(preset.detokenizer),
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "layer_types": [kinds[letter] for letter in preset.detokenizer],
        "sliding_window": 30,
        "intermediate_size": preset.detokenizer_ff,
        "block_auto_adjust_ff_dim": False,
        "conv_L_cache": 3,
        "conv_bias": False,
        "max_position_embeddings": 128_000,
        "norm_eps": 1e-05,
        "rope_theta": 1_000_000.0,
    }


def empty_detokenizer(config: Mapping[str, Any]) -> Any:
    """The package's own class, built from the detokenizer's config.json."""
    from liquid_audio.detokenizer import LFM2AudioDetokenizer
    from transformers import Lfm2Config

    known = {"sliding_attention": "full_attention"}  # transformers' model has no other name for it
    layers = [known.get(kind, kind) for kind in config["layer_types"]]
    return LFM2AudioDetokenizer(Lfm2Config(**{**config, "layer_types": layers}))


def random_detokenizer(config: Mapping[str, Any], progress: Callable[[str], None]) -> Any:
    """One that is scaled so that what it says is finite and audible."""
    with undrawn():
        model = empty_detokenizer(config)
    with torch.no_grad():
        draw_weights(model, progress)
        tame_spectrum(model.lin)
    return model


def tame_spectrum(linear: nn.Linear) -> None:
    """Magnitudes (the first half, logarithmic) nearly even, phases all over the circle."""
    bins = linear.out_features // 2
    linear.weight[:bins] *= 0.1
    linear.bias[:bins] = 0.5
    linear.weight[bins:] *= 5


SMALL_MIMI: Mapping[str, Mapping[str, Any]] = {
    "_seanet_kwargs": {"dimension": 32, "n_filters": 4},
    "_quantizer_kwargs": {"dimension": 16, "input_dimension": 32, "output_dimension": 32},
    "_transformer_kwargs": {
        "d_model": 32,
        "num_heads": 2,
        "num_layers": 2,
        "dim_feedforward": 64,
        "input_dimension": 32,
        "output_dimensions": [32],
    },
}


@contextmanager
def small_mimi() -> Iterator[None]:
    """While inside, the package builds (and loads) a Mimi of a size for tests: it has the architecture in its code."""
    from liquid_audio.moshi.models import loaders

    parts = [getattr(loaders, name) for name in SMALL_MIMI]
    released = [dict(part) for part in parts]
    for part, small in zip(parts, SMALL_MIMI.values(), strict=True):
        part.update(small)
    try:
        yield
    finally:
        for part, before in zip(parts, released, strict=True):
            part.update(before)


def random_mimi(*, small: bool) -> nn.Module:
    if small:
        with small_mimi():
            return random_mimi(small=False)
    from liquid_audio.moshi.models import loaders

    model: nn.Module = loaders.get_mimi(None, device="cpu")
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("embedding_sum"):  # a codebook before its first training is all zeros
                buffer.normal_()
            elif name.endswith("_initialized"):
                buffer.fill_(1)
    return model


# -- the files -------------------------------------------------------------------------------------------------------


def save(model: nn.Module, file: Path) -> None:
    """Write the model's state, tied tensors once for each of their names, as the released files have them."""
    from safetensors.torch import save_file

    save_file(dict(untied(model.state_dict())), file, metadata={"format": "pt"})


def untied(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    seen: set[int] = set()
    for name, tensor in state.items():
        whole = tensor.contiguous()
        yield name, whole.clone() if whole.data_ptr() in seen else whole
        seen.add(whole.data_ptr())


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A byte-level BPE with the control tokens at the released places, and hardly any merges."""
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_definition(vocabulary), ensure_ascii=False))
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def tokenizer_definition(vocabulary: int) -> dict[str, Any]:
    """tokenizer.json. Its post-processor puts the start of the text in front, as the released one does."""
    start = {"SpecialToken": {"id": "<|startoftext|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(name, number) for name, number in CONTROL_IDS.items()],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, text],
            "pair": [start, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|startoftext|>": {"id": "<|startoftext|>", "ids": [1], "tokens": ["<|startoftext|>"]}},
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(zip(words(), range(min(vocabulary, DECODABLE)), strict=False)),
            "merges": [list(pair) for pair in MERGES],
        },
    }


def added_token(name: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, **flags, "special": True}


def words() -> Iterator[str]:
    """The entry of each id: control tokens at their places, then bytes, merges, and words to fill the rest."""
    from tokenizers.pre_tokenizers import ByteLevel

    places = {number: name for name, number in CONTROL_IDS.items()}
    others = iter([*sorted(ByteLevel.alphabet()), *(first + second for first, second in MERGES)])
    for number in range(DECODABLE):
        yield places.get(number) or next(others, f"Ġword{number}")
