"""The engine behind Ray Serve: real Ray, real sockets, the whole model, but for its weights, which are random."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.settings import CloudSettings
from tests.cloud import Cloud, local_cloud
from tests.cloud_talk import Answer, Talker
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(240)]

ENGINE = {"device": "cpu", "dtype": "float32", "maximum_reply_sec": 2.0, "slots": 32, "threads": 1}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    settings = {"checkpoint": str(tiny_checkpoint()), **ENGINE}
    with local_cloud({"model": "lfm2-audio", "model_settings": settings}) as running:
        yield running


async def test_several_talk_with_one_engine_that_remembers_them(cloud: Cloud, nothing_left_behind: None) -> None:
    backend = CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=10.0))
    talkers = [Talker(backend, f"sess_{number}") for number in range(4)]
    first, second = [await everybody_says(talkers) for _ in range(2)]
    assert all(answer.text and answer.end for answer in [*first, *second])
    assert any(answer.sound_sec > 0 for answer in first)
    assert all(prompt(after) < prompt(before) for before, after in zip(first, second, strict=True))


async def everybody_says(talkers: list[Talker]) -> list[Answer]:
    return await asyncio.gather(*(talker.say(chunks=20) for talker in talkers))


def prompt(answer: Answer) -> int:
    """How much had to be read for an answer: of what is still computed from the turns before, nothing."""
    assert answer.end
    return answer.end.input_tokens
