"""The engine behind Ray Serve: real Ray, real sockets, the whole model, but for its weights, which are random."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.settings import CloudSettings
from routing.telemetry import names
from routing.telemetry.program import open_telemetry
from routing.telemetry.settings import TelemetrySettings
from tests.cloud import PATIENT, Cloud, local_cloud
from tests.cloud_talk import Answer, Talker
from tests.cloud_trace import Trace, trace_of, written
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(280)]

GENERATE = "generate_content lfm2-audio"
SCHEDULER = {"first_audio_target_sec": 60.0, "step_budget_share": 1.0}  # nobody is refused because a machine is slow
ENGINE = {
    "device": "cpu",
    "dtype": "float32",
    "maximum_reply_sec": 2.0,
    "scheduler": SCHEDULER,
    "slots": 32,
    "threads": 1,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the cloud writes its traces."""
    return tmp_path / "traces.jsonl"


@pytest.fixture
def cloud(file: Path) -> Iterator[Cloud]:
    settings = {"checkpoint": str(tiny_checkpoint()), **ENGINE}
    arguments = {
        "model": "lfm2-audio",
        "model_settings": settings,
        "ingress": PATIENT,
        "telemetry": {"file": str(file)},
    }
    with local_cloud(arguments) as running:
        yield running


async def test_several_talk_with_one_engine_that_remembers_them(
    cloud: Cloud, file: Path, nothing_left_behind: None
) -> None:
    backend = CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=30.0))
    async with open_telemetry(TelemetrySettings(), service=names.EDGE) as telemetry:
        talkers = [Talker(backend, f"sess_{number}", spans=telemetry.spans(names.EDGE)) for number in range(4)]
        first, second = [await everybody_says(talkers) for _ in range(2)]
    assert all(answer.text and answer.end for answer in [*first, *second])
    assert any(answer.sound_sec > 0 for answer in first)
    assert all(prompt(after) < prompt(before) for before, after in zip(first, second, strict=True))
    for answer in [*first, *second]:
        trace = await trace_of(file, answer.turn, names.INGRESS_TURN, GENERATE)
        assert_phases(trace, answer)
        await assert_admitted(file, trace)


def assert_phases(trace: Trace, answer: Answer) -> None:
    """Each phase of the engine's work is there, one after the other."""
    phases = trace.children(trace.one(GENERATE))
    assert answer.end
    assert [span.name for span in phases] == [names.PHASES[name] for name in answer.end.timings_ms]
    assert {names.QUEUE_WAIT, names.AUDIO_ENCODE, names.PREFILL, names.FIRST_TEXT} <= {span.name for span in phases}
    assert all(before.end_ns <= after.begin_ns for before, after in pairwise(phases))  # the first word may take no time


async def assert_admitted(file: Path, trace: Trace) -> None:
    """The step that admitted the turn and the turn's wait for it know of each other."""
    model, (link,) = trace.one(GENERATE), trace.one(names.QUEUE_WAIT).links
    (step,) = [span for span in await asyncio.to_thread(written, file) if (span.trace_id, span.span_id) == link]
    assert step.name == names.STEP_WINDOW
    assert (model.trace_id, model.span_id) in step.links
    prefilled = step.attributes[names.BATCH_PREFILL_TOKENS]
    assert isinstance(prefilled, int)
    assert prefilled > 0


async def everybody_says(talkers: list[Talker]) -> list[Answer]:
    return await asyncio.gather(*(talker.say(chunks=20) for talker in talkers))


def prompt(answer: Answer) -> int:
    """How much had to be read for an answer: of what is still computed from the turns before, nothing."""
    assert answer.end
    return answer.end.input_tokens
