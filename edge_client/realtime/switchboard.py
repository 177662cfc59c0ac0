"""The router of an edge with all that it needs while the edge lives: who may answer, and what is known of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from edge_client.cloud.settings import CloudSettings
from edge_client.device_state import DeviceWatch
from edge_client.realtime.placements import Placements
from edge_client.realtime.session_config import Json
from edge_client.settings import EdgeSettings
from edge_client.upstream.settings import UpstreamSettings
from routing.contender import Contender
from routing.outlook import Outlook
from routing.own_tasks import own_tasks
from routing.policy import Traits
from routing.question import understand
from routing.record import PlacementRecord, recording
from routing.router import Router
from routing.turns import Backend


class Switchboard(NamedTuple):
    """``statistics`` tells how those do who may answer."""

    router: Router
    statistics: Callable[[], Json]


type Work = Callable[[], Coroutine[Any, Any, None]]


class _Party(NamedTuple):
    """One who may answer, and what must run meanwhile to know how they are."""

    contender: Contender
    watching: Work | None = None


def _parties(settings: EdgeSettings, device: Backend) -> Iterator[_Party]:
    """This machine first, then whoever has an address in the settings."""
    yield _Party(Contender.here(device))
    if settings.cloud.url:
        yield _cloud(settings.cloud, settings.traits.cloud.traits())
    if settings.upstream.url:
        yield _upstream(settings.upstream, settings.traits.upstream.traits())


def _cloud(settings: CloudSettings, traits: Traits) -> _Party:
    from edge_client.cloud.backend import CloudBackend
    from edge_client.cloud.heartbeat import Heartbeat

    backend = CloudBackend(settings, name="cloud")
    outlook = Outlook(backend.name, traits)
    return _Party(Contender(backend, outlook), Heartbeat(settings, outlook).run)


def _upstream(settings: UpstreamSettings, traits: Traits) -> _Party:
    from edge_client.upstream.backend import UpstreamBackend

    backend = UpstreamBackend(settings, name="upstream")
    return _Party(Contender(backend, Outlook(backend.name, traits)))


@asynccontextmanager
async def open_switchboard(settings: EdgeSettings, device: Backend) -> AsyncIterator[Switchboard]:
    """Turns can be opened until the block ends.

    Raises:
        SettingsError: the placements cannot be written where they should.
    """
    parties, watch = list(_parties(settings, device)), DeviceWatch()
    contenders = [party.contender for party in parties]
    placements, now = Placements(contenders), asyncio.get_running_loop().time
    async with (
        _records(settings.records) as write,
        _working(watch.run, *(party.watching for party in parties if party.watching)),
    ):

        def note(record: PlacementRecord) -> None:
            placements.add(record)
            write(record)

        router = Router(
            contenders,
            settings=settings.routing,
            device_state=lambda: watch.state,
            understand=understand,
            on_placed=note,
        )
        yield Switchboard(router, lambda: placements.statistics(now()))


@asynccontextmanager
async def _records(path: str) -> AsyncIterator[Callable[[PlacementRecord], None]]:
    if not path:
        yield lambda record: None
        return
    async with recording(Path(path)) as file:
        yield file.add


@asynccontextmanager
async def _working(*works: Work) -> AsyncIterator[None]:
    """The works run until the block ends."""
    async with own_tasks() as tasks:
        working = [tasks.create_task(work()) for work in works]
        try:
            yield
        finally:
            for task in working:
                task.cancel()
