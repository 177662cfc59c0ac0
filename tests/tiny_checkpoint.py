"""Small checkpoints with random weights, made once and kept in the system's temporary folder."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from deployments.engine import random_checkpoint
from deployments.engine.random_checkpoint import PRESETS, write_random_checkpoint

MAKER = Path(random_checkpoint.__file__).read_text()  # as it was imported, whatever the file says later


def tiny_checkpoint(seed: int = 0, text_run: int = 6, audio_run: int = 12, mimi: bool = False) -> Path:
    """The folder of a checkpoint of the preset ``tiny``. It is shared: copy it before you change anything in it."""
    return cached_checkpoint("tiny", seed=seed, text_run=text_run, audio_run=audio_run, mimi=mimi)


def cached_checkpoint(preset: str, **options: Any) -> Path:
    """One of any preset. Its name tells what it was made from, so that it is made anew when the maker has changed."""
    made_from = f"{preset} {json.dumps(options, sort_keys=True)} {MAKER}"
    name = f"{preset}-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}"
    folder = Path(tempfile.gettempdir()) / f"antiphon-checkpoints-{os.getuid()}" / name
    if not folder.is_dir():
        build(folder, preset, options)
    return folder


def build(folder: Path, preset: str, options: dict[str, Any]) -> None:
    """Made beside its place and moved there whole: another process may want the same one at the same time."""
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(dir=folder.parent))
    write_random_checkpoint(workshop, PRESETS[preset], **options)
    try:
        workshop.rename(folder)
    except OSError:  # the other process was first
        shutil.rmtree(workshop)


class Stock(NamedTuple):
    """The package's own model and processor, in float32 on the CPU, in eval mode."""

    model: Any
    processor: Any


@functools.cache
def stock(folder: Path) -> Stock:
    """Load with the package's own code. ``processor.decode`` works, where the folder has a detokenizer."""
    import torch
    from liquid_audio import LFM2AudioModel, LFM2AudioProcessor

    model = LFM2AudioModel.from_pretrained(folder, dtype=torch.float32, device="cpu").eval()
    processor = LFM2AudioProcessor.from_pretrained(folder, device="cpu").eval()
    if processor.detokenizer_path is not None:
        processor._audio_detokenizer = stock_detokenizer(folder / "audio_detokenizer")
    return Stock(model, processor)


def stock_detokenizer(folder: Path) -> Any:
    """As the processor would build it, but for its fixed wish of a GPU."""
    from safetensors.torch import load_file

    model = random_checkpoint.empty_detokenizer(json.loads((folder / "config.json").read_text()))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()
