"""Builds an engine from its settings: weights, static memory, recorded steps, and the costs that were measured."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from weakref import finalize

import torch

from deployments.engine.checkpoint import Checkpoint, made_from, open_checkpoint
from deployments.engine.detokenizer import Detokenizer, load_detokenizer
from deployments.engine.encoder import SpeechEncoder
from deployments.engine.engine import Engine
from deployments.engine.engine_thread import EngineThread
from deployments.engine.graphs import StepGraphs
from deployments.engine.packing import pack
from deployments.engine.prompt import Prompter
from deployments.engine.quantisation import quantise
from deployments.engine.runner import Runner
from deployments.engine.scheduler import Scheduler
from deployments.engine.sequence import Pace
from deployments.engine.sessions import SessionTable
from deployments.engine.settings import EngineSettings
from deployments.engine.speech_model import load_speech_model
from deployments.engine.vocabulary import Vocabulary
from deployments.engine.warm_up import measure_costs
from routing.errors import SettingsError
from routing.turns import REPLY_SAMPLE_RATE

logger = logging.getLogger(__name__)

PREPARED_SHAPES = 64  # enough for the steps of every batch, which come again and again
ROOM_SEC = 10.0  # of a reply, for which there must be room in a slot where a turn begins
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_engine(settings: EngineSettings) -> Engine:
    """An engine that is ready to be entered. Takes seconds to minutes, during which it says what it does.

    Raises:
        ModelError: the checkpoint is missing, damaged, or none of LFM2-Audio.
        SettingsError: this machine or this model cannot do what the settings ask for.
    """
    thread = EngineThread()
    try:
        engine = thread.do(lambda: build_engine(settings, thread)).result()
    except BaseException:
        thread.close()
        raise
    finalize(engine, thread.close)
    return engine


def build_engine(settings: EngineSettings, thread: EngineThread) -> Engine:
    """Called on ``thread``, which then runs the engine."""
    checkpoint = open_checkpoint(settings.checkpoint, revision=settings.revision)
    runner = load_runner(checkpoint, settings)
    pace = pace_of(checkpoint, runner)
    vocabulary = Vocabulary(checkpoint.tokenizer)
    sessions = new_sessions(vocabulary, runner, settings, pace)
    logger.info("measuring what steps cost")
    cost = measure_costs(runner, sessions, settings)
    return Engine(
        thread=thread,
        runner=runner,
        scheduler=Scheduler(settings.scheduler, cost, **asdict(pace)),
        sessions=sessions,
        controls=checkpoint.controls,
        new_text=vocabulary.text_stream,
        settings=settings,
        pace=pace,
    )


def pace_of(checkpoint: Checkpoint, runner: Runner) -> Pace:
    return Pace(runner.frame_samples / REPLY_SAMPLE_RATE, checkpoint.shape.text_run, checkpoint.shape.audio_run)


def new_sessions(vocabulary: Vocabulary, runner: Runner, settings: EngineSettings, pace: Pace) -> SessionTable:
    return SessionTable(
        slots=settings.slots,
        positions=settings.slot_positions,
        reply_positions=min(pace.steps_in(min(settings.maximum_reply_sec, ROOM_SEC)), settings.slot_positions // 4),
        prompter=Prompter(vocabulary.encode),
        speech_positions=runner.encoder.positions_of,
    )


def load_runner(
    checkpoint: Checkpoint,
    settings: EngineSettings,
    *,
    watch: Callable[[Detokenizer], Detokenizer] = lambda detokenizer: detokenizer,
) -> Runner:
    """The model alone, without a schedule: what runs the steps. ``watch`` may put something around the detokenizer."""
    bound_prepared_shapes()
    device = find_device(settings.device)
    dtype = find_dtype(settings.dtype, device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    logger.info("loading %s on %s as %s", checkpoint.folder.name, device, dtype)
    with made_from(checkpoint.folder, "a backbone and a depthformer"):
        model = load_speech_model(checkpoint, device=device, dtype=dtype)
    with made_from(checkpoint.folder, "an encoder of speech"):
        encoder = SpeechEncoder(checkpoint, device=device, dtype=dtype, maximum_sec=settings.maximum_speech_sec)
    with made_from(checkpoint.folder, "a detokenizer"):
        detokenizer = load_detokenizer(checkpoint, settings.detokenizer, device=device)
    quantise(model, backbone=settings.backbone_weights, depthformer=settings.depthformer_weights)
    if not settings.compile:
        pack(model)
    return Runner(
        model=model,
        encoder=encoder,
        detokenizer=watch(detokenizer),
        graphs=StepGraphs(device, compile=settings.compile),
        slots=settings.slots,
        positions=settings.slot_positions,
        maximum_batch=settings.scheduler.maximum_running,
        maximum_chunk=settings.scheduler.prefill_chunk,
        end_of_audio=checkpoint.controls.end_of_audio,
        fixed_shapes=settings.compile or device.type == "cuda",
    )


def bound_prepared_shapes() -> None:
    """On a CPU, oneDNN keeps what it prepared for each shape of a product, and prompts come in hundreds of lengths.

    With the 1,024 that it keeps by default, memory grows by hundreds of megabytes over a thousand turns. It looks at
    this once, at its first product; what the environment says already stands.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):  # torch's cache of them, and oneDNN's own
        os.environ.setdefault(name, str(PREPARED_SHAPES))


def find_device(name: str) -> torch.device:
    """Raises SettingsError where there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as exc:
        raise SettingsError(f"device: expected auto, cpu or cuda, got {name!r}") from exc
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise SettingsError(f"device: expected auto, cpu or cuda, got {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"device: {name!r} is asked for, and PyTorch finds no CUDA device here")
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return DTYPES[name]
