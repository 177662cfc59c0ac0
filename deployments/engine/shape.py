"""How large a model is and of what it consists, as the config.json of its checkpoint says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from routing.errors import ModelError

LayerKind = Literal["attention", "conv"]

SECTIONS = ("preprocessor", "encoder", "lfm", "depthformer")
TOP_KEYS = (
    "architectures codebooks tie_audio_embeddings semantic_codebook_factor codebook_weight "
    "interleaved_n_text interleaved_n_audio"
).split()
TOP_OPTIONAL = ("text_loss_multiplier", "audio_loss_multiplier")
PREPROCESSOR_KEYS = (
    "sample_rate normalize window_size window_stride window features n_fft log frame_splicing dither pad_to pad_value"
).split()
ENCODER_KEYS = (
    "feat_in feat_out n_layers d_model subsampling subsampling_factor subsampling_conv_channels causal_downsampling "
    "reduction reduction_position reduction_factor ff_expansion_factor self_attention_model n_heads att_context_size "
    "xscaling untie_biases pos_emb_max_len conv_kernel_size conv_norm_type conv_context_size dropout "
    "dropout_pre_encoder dropout_emb dropout_att"
).split()
DEPTHFORMER_KEYS = "layers dim tie".split()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a speech model. ``preprocessor`` and ``encoder`` are those parts of config.json as they stand."""

    hidden: int
    layers: tuple[LayerKind, ...]
    heads: int  # of queries
    kv_heads: int
    head_dim: int
    ff: int  # width inside the feed-forward parts of the backbone
    vocabulary: int
    rope_theta: float
    norm_eps: float
    conv_kernel: int
    conv_bias: bool
    positions: int  # the longest context the model was made for
    depth_layers: int
    depth_hidden: int
    codebooks: int
    text_run: int  # tokens of text before it is the sound's turn, when they are interleaved
    audio_run: int  # frames of sound before it is the text's turn
    preprocessor: Mapping[str, Any]
    encoder: Mapping[str, Any]

    @property
    def attention_layers(self) -> int:
        return self.layers.count("attention")

    @property
    def conv_layers(self) -> int:
        return self.layers.count("conv")

    def kv_bytes_per_position(self, itemsize: int) -> int:
        """Bytes of keys and values that one position of context takes, with numbers of ``itemsize`` bytes."""
        return 2 * self.attention_layers * self.kv_heads * self.head_dim * itemsize


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """Read a parsed config.json. Raises ModelError, which names the key, where one is missing, unknown or makes no
    sense. In the backbone's part (``lfm``) further keys are let be, as the released ones have many without meaning.
    """
    top = Section("config.json", config)
    top.check_keys([*TOP_KEYS, *SECTIONS], optional=TOP_OPTIONAL)
    depthformer = top.section("depthformer")
    depthformer.check_keys(DEPTHFORMER_KEYS)
    return ModelShape(
        **backbone_sizes(top.section("lfm")),
        depth_layers=depthformer.whole("layers"),
        depth_hidden=depthformer.whole("dim"),
        codebooks=top.whole("codebooks"),
        text_run=top.whole("interleaved_n_text"),
        audio_run=top.whole("interleaved_n_audio"),
        preprocessor=top.section("preprocessor").checked(PREPROCESSOR_KEYS),
        encoder=top.section("encoder").checked(ENCODER_KEYS),
    )


def backbone_sizes(lfm: Section) -> dict[str, Any]:
    hidden, heads = lfm.whole("hidden_size"), lfm.whole("num_attention_heads")
    kv_heads = lfm.whole("num_key_value_heads")
    lfm.check(hidden % heads == 0, "num_attention_heads", f"a divisor of hidden_size {hidden}")
    lfm.check(heads % kv_heads == 0, "num_key_value_heads", f"a divisor of num_attention_heads {heads}")
    return {
        "hidden": hidden,
        "layers": layer_kinds(lfm),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": hidden // heads,
        "ff": feed_forward_width(lfm),
        "vocabulary": lfm.whole("vocab_size"),
        "rope_theta": rope_theta(lfm),
        "norm_eps": lfm.number("norm_eps", 1e-5),
        "conv_kernel": lfm.whole("conv_L_cache", 3),
        "conv_bias": lfm.flag("conv_bias", False),
        "positions": lfm.whole("max_position_embeddings", 128_000),
    }


def layer_kinds(lfm: Section) -> tuple[LayerKind, ...]:
    """Kinds of the layers from the first on: given by name, or by the places of those with attention."""
    count = lfm.whole("num_hidden_layers")
    if lfm.has("layer_types"):
        kinds = tuple(layer_kind(lfm, name) for name in lfm.items("layer_types"))
        lfm.check(len(kinds) == count, "layer_types", f"{count} entries, one for each of num_hidden_layers")
        return kinds
    places = lfm.items("full_attn_idxs", called="full_attn_idxs or layer_types")
    lfm.check(set(places) <= set(range(count)), "full_attn_idxs", f"places among {count} layers")
    return tuple("attention" if place in places else "conv" for place in range(count))


def layer_kind(lfm: Section, name: str) -> LayerKind:
    kinds: dict[str, LayerKind] = {"full_attention": "attention", "conv": "conv"}
    lfm.check(name in kinds, "layer_types", f"only of {', '.join(kinds)}")
    return kinds[name]


def feed_forward_width(lfm: Section) -> int:
    """What transformers builds: unless told not to, two thirds of the configured width, scaled and rounded up."""
    width = lfm.whole("block_ff_dim") if lfm.has("block_ff_dim") else lfm.whole("intermediate_size")
    if not lfm.flag("block_auto_adjust_ff_dim", True):
        return width
    width = int(2 * width / 3)
    if lfm.values.get("block_ffn_dim_multiplier", 1.0) is None:
        return width
    multiple = lfm.whole("block_multiple_of", 256)
    return multiple * -(int(lfm.number("block_ffn_dim_multiplier", 1.0) * width) // -multiple)


def rope_theta(lfm: Section) -> float:
    rope = lfm.section("rope_parameters") if lfm.has("rope_parameters") else lfm
    rope.check(rope.values.get("rope_type", "default") == "default", "rope_type", "default")
    rope.check(not rope.has("rope_scaling"), "rope_scaling", "none")
    return rope.number("rope_theta", 1_000_000.0)


class Section:
    """A part of config.json that knows its name, so that errors can tell it."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self.values = values

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def get(self, key: str, *, called: str | None = None) -> Any:
        if not self.has(key):
            raise ModelError(f"{self.name}: expected the key {called or key}, found none")
        return self.values[key]

    def items(self, key: str, *, called: str | None = None) -> list[Any]:
        values = self.get(key, called=called)
        self.check(isinstance(values, list), key, "a list")
        return list(values)

    def check(self, right: bool, key: str, expected: str) -> None:
        if not right:
            raise ModelError(f"{self.name}: expected for {key} {expected}; found {self.values.get(key)!r}")

    def check_keys(self, expected: Iterable[str], optional: Iterable[str] = ()) -> None:
        """A key too many may change what the model computes, so it is refused like one too few."""
        missing = sorted(set(expected) - set(self.values))
        unknown = sorted(set(self.values) - set(expected) - set(optional))
        if missing or unknown:
            lack, excess = ", ".join(missing) or "none", ", ".join(unknown) or "none"
            raise ModelError(f"{self.name}: not that of an LFM2-Audio model: missing keys: {lack}; unknown: {excess}")

    def checked(self, expected: Iterable[str]) -> Mapping[str, Any]:
        self.check_keys(expected)
        return dict(self.values)

    def section(self, key: str) -> Section:
        values = self.get(key)
        self.check(isinstance(values, Mapping), key, "a group of keys")
        return Section(f"{self.name}, {key}", values)

    def whole(self, key: str, default: int | None = None) -> int:
        value = default if default is not None and not self.has(key) else self.get(key)
        self.check(isinstance(value, int) and value > 0 and value is not True, key, "a whole number above 0")
        return cast(int, value)

    def number(self, key: str, default: float) -> float:
        value = self.values[key] if self.has(key) else default
        self.check(isinstance(value, (int, float)) and value > 0, key, "a number above 0")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.values[key] if self.has(key) else default
        self.check(isinstance(value, bool), key, "true or false")
        return cast(bool, value)
