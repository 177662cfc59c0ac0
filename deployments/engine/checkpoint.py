"""A checkpoint of LFM2-Audio as it lies in a folder: its shape, its tokenizer, and its tensors, read when asked for."""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor

from deployments.engine.alternation import ControlTokens
from deployments.engine.shape import ModelShape, shape_of
from routing.errors import AntiphonError, ModelError

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"  # in the place of one file, where the tensors are spread over several
TOKENIZER_FILE = "tokenizer.json"
DETOKENIZER_FOLDER = "audio_detokenizer"
MIMI_FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"
EXPECTED = (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE)
DETOKENIZER_FILES = (CONFIG_FILE, WEIGHTS_FILE)
WANTED = (
    CONFIG_FILE,
    "model*.safetensors",
    WEIGHTS_INDEX,
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    f"{DETOKENIZER_FOLDER}/*",
    MIMI_FILE,
    "LICENSE*",
)
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

Device = torch.device | str | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Checkpoint:
    """What ``open_checkpoint`` found. The tensors stay in their files until they are asked for."""

    folder: Path
    config: Mapping[str, Any] = field(repr=False)
    shape: ModelShape
    tokenizer: Tokenizer = field(repr=False)
    controls: ControlTokens
    audio_vocabulary: int  # codes of a codebook, with the one that ends the sound
    detokenizer_folder: Path | None
    mimi_file: Path | None
    places: Mapping[str, Path] = field(repr=False)  # the file of each tensor

    def tensors(self, prefix: str = "", device: Device = None, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Read the tensors whose names begin with ``prefix``; the names are returned without it.

        They come on the CPU and as they were saved unless told otherwise; ``dtype`` is for those of floating point.
        Raises ModelError where there is none, or a file cannot be read.
        """
        names = [name for name in self.places if name.startswith(prefix)]
        if not names:
            raise ModelError(f"{self.folder}: expected tensors named {prefix}*, found none")
        read = read_tensors(self.places, names, device)
        return {name.removeprefix(prefix): cast_floating(tensor, dtype) for name, tensor in read}


def open_checkpoint(
    name: str | Path, *, revision: str | None = None, download: Callable[[str, str | None], Path] | None = None
) -> Checkpoint:
    """Open a local folder, or a hub id such as ``LiquidAI/LFM2.5-Audio-1.5B``, which is downloaded once.

    Only headers are read, no weights. Raises ModelError, which tells what was expected and what was found: where
    files are missing, damaged, cut short or another model's, and where the hub gives nothing.
    ``download`` (hub id, revision) stands in for the hub's own client.
    """
    folder = find_folder(name, revision, download or download_snapshot)
    check_files(folder)
    config = read_json(folder / CONFIG_FILE)
    with made_from(folder, "a model"):
        shape = shape_of(config)
        places = tensor_places(folder)
        audio_vocabulary = check_tensors(folder, places, shape)
    tokenizer = read_tokenizer(folder / TOKENIZER_FILE)
    check_ids(tokenizer, folder / TOKENIZER_FILE, shape.vocabulary)
    return Checkpoint(
        folder=folder,
        config=config,
        shape=shape,
        tokenizer=tokenizer,
        controls=control_tokens(tokenizer, folder / TOKENIZER_FILE, end_of_audio=audio_vocabulary - 1),
        audio_vocabulary=audio_vocabulary,
        detokenizer_folder=find_detokenizer(folder),
        mimi_file=mimi if (mimi := folder / MIMI_FILE).is_file() else None,
        places=places,
    )


@contextmanager
def made_from(folder: Path, part: str) -> Iterator[None]:
    """Numbers and names that nobody foresees fail in any way, deep in what they are given to: say whence they came.

    Raises ModelError in the place of what is no error of ours; a device without memory stays what it is.
    """
    try:
        yield
    except (AntiphonError, torch.OutOfMemoryError):
        raise
    except Exception as exc:
        raise ModelError(
            f"{folder}: expected a {CONFIG_FILE} and tensors of which {part} can be made; it fails with {exc!r}"
        ) from exc


# -- the folder ------------------------------------------------------------------------------------------------------


def find_folder(name: str | Path, revision: str | None, download: Callable[[str, str | None], Path]) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ModelError(f"{folder}: expected no revision with a local folder, got {revision}")
        return folder
    if isinstance(name, Path) or not HUB_ID.fullmatch(name):
        raise ModelError(f"expected a folder or a hub id (owner/name) for the checkpoint; {name} is neither")
    tell_licence(name)
    return download(name, revision)


@functools.cache
def tell_licence(hub_id: str) -> None:
    logger.warning(
        "%s is not part of Antiphon: its weights are under the LFM Open License v1.0, which does not license commercial"
        " use by companies with an annual revenue of US$ 10 million or more. Read its LICENSE before you use it.",
        hub_id,
    )


def download_snapshot(hub_id: str, revision: str | None) -> Path:
    """Fetch what the engine reads, unless it lies in the hub client's cache already."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, HFValidationError, OSError) as exc:
        came = str(exc).strip().partition("\n")[0]
        wanted = hub_id if revision is None else f"{hub_id} at revision {revision}"
        raise ModelError(
            f"expected the folder {hub_id} here, or {wanted} on the hub; the hub's client says: {came}"
        ) from exc


def check_files(folder: Path) -> None:
    missing = [name for name in EXPECTED if not (folder / name).is_file()]
    if (folder / WEIGHTS_INDEX).is_file() and WEIGHTS_FILE in missing:
        missing.remove(WEIGHTS_FILE)
    if missing:
        raise ModelError(
            f"{folder}: not a checkpoint of LFM2-Audio: expected the files {', '.join(EXPECTED)}, and for its sound "
            f"{DETOKENIZER_FOLDER}/ or {MIMI_FILE}; missing: {', '.join(missing)}; found: {listing(folder)}"
        )


def find_detokenizer(folder: Path) -> Path | None:
    inner = folder / DETOKENIZER_FOLDER
    if not inner.is_dir():
        return None
    if missing := [name for name in DETOKENIZER_FILES if not (inner / name).is_file()]:
        expected = ", ".join(DETOKENIZER_FILES)
        raise ModelError(f"{inner}: expected {expected}; missing: {', '.join(missing)}; found: {listing(inner)}")
    return inner


def listing(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "nothing"


def read_json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ModelError(f"{file}: expected JSON: {exc}") from exc
    if not isinstance(content, Mapping):
        raise ModelError(f"{file}: expected a JSON object, found {type(content).__name__}")
    return content


# -- the tokenizer ---------------------------------------------------------------------------------------------------


def read_tokenizer(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as exc:  # the library raises nothing narrower
        raise ModelError(f"{file}: expected the definition of a tokenizer: {exc}") from exc


def check_ids(tokenizer: Tokenizer, file: Path, vocabulary: int) -> None:
    """An id that the model does not know would fail in the middle of somebody's turn."""
    token, highest = max(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1])
    if highest >= vocabulary:
        raise ModelError(f"{file}: expected ids below {vocabulary} by {CONFIG_FILE}, found {highest} for {token!r}")


def control_tokens(tokenizer: Tokenizer, file: Path, *, end_of_audio: int) -> ControlTokens:
    def number(name: str) -> int:
        found: int | None = tokenizer.token_to_id(name)
        if found is None:
            raise ModelError(f"{file}: expected the token {name}, found none of that name")
        return found

    return ControlTokens(
        end_of_turn=number("<|im_end|>"),
        audio_start=number("<|audio_start|>"),
        text_end=number("<|text_end|>"),
        end_of_audio=end_of_audio,
    )


# -- the tensors -----------------------------------------------------------------------------------------------------


def tensor_places(folder: Path) -> dict[str, Path]:
    """The file of each tensor, by the headers of the files themselves."""
    return {name: file for file in weight_files(folder) for name in header(file)}


def weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = read_json(folder / WEIGHTS_INDEX)
    names = sorted(set(index.get("weight_map", {}).values()))
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ModelError(f"{folder}: expected by {WEIGHTS_INDEX}: {', '.join(names)}; missing: {', '.join(missing)}")
    return [folder / name for name in names]


def header(file: Path) -> list[str]:
    with opened(file) as content:
        return list(content.keys())


def opened(file: Path, device: Device = None) -> Any:
    try:
        return safe_open(file, framework="pt", device=str(device or "cpu"))
    except (SafetensorError, OSError) as exc:
        size = file.stat().st_size if file.exists() else 0
        raise ModelError(f"{file}: expected a whole safetensors file, found {size} bytes that are none: {exc}") from exc


def read_tensors(places: Mapping[str, Path], names: list[str], device: Device) -> Iterator[tuple[str, Tensor]]:
    for file in sorted({places[name] for name in names}):
        with opened(file, device) as content:
            for name in names:
                if places[name] == file:
                    yield name, content.get_tensor(name)


def cast_floating(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def check_tensors(folder: Path, places: Mapping[str, Path], shape: ModelShape) -> int:
    """Compare a few tensors of each part with what config.json says, and return the size of a codebook."""
    size = tensor_shape(folder, places, "depth_embeddings.0.embedding.weight")[0]
    last = shape.depth_layers - 1
    expected = {
        "lfm.embed_tokens.weight": (shape.vocabulary, shape.hidden),
        f"lfm.layers.{len(shape.layers) - 1}.feed_forward.w1.weight": (shape.ff, shape.hidden),
        "audio_embedding.embedding.weight": (shape.codebooks * size, shape.hidden),
        "depth_linear.weight": (shape.codebooks * shape.depth_hidden, shape.hidden),
        f"depthformer.layers.{last}.operator.out_proj.weight": (shape.depth_hidden, shape.depth_hidden),
        f"depth_embeddings.{shape.codebooks - 1}.embedding.weight": (size, shape.depth_hidden),
        "audio_adapter.model.0.weight": (encoder_width(shape),),
        f"conformer.layers.{shape.encoder['n_layers'] - 1}.norm_out.weight": (shape.encoder["d_model"],),
    }
    for name, wanted in expected.items():
        if (found := tensor_shape(folder, places, name)) != wanted:
            raise ModelError(f"{places[name]}: expected {name} of shape {wanted} by {CONFIG_FILE}, found {found}")
    return size


def encoder_width(shape: ModelShape) -> int:
    """Numbers of an encoded piece of speech: those of its layers, unless a last projection changes them."""
    out: int = shape.encoder["feat_out"]
    width: int = shape.encoder["d_model"]
    return out if out > 0 else width


def tensor_shape(folder: Path, places: Mapping[str, Path], name: str) -> tuple[int, ...]:
    if name not in places:
        found = ", ".join(sorted({place.partition(".")[0] for place in places})) or "none"
        raise ModelError(f"{folder}: expected the tensor {name}; found tensors of: {found}")
    with opened(places[name]) as content:
        return tuple(content.get_slice(name).get_shape())
