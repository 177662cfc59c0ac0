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
from routing.telemetry import names
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.placement import decision_phase, parent_of
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Spans
from routing.telemetry.traced_backend import OpenTurns, TracedBackend
from routing.turns import Backend

CLOUD, UPSTREAM = "cloud", "upstream"


class Switchboard(NamedTuple):
    """``statistics`` tells how those do who may answer."""

    router: Router
    statistics: Callable[[], Json]


type OnAttempt = Callable[[AttemptFigures], None] | None
type Work = Callable[[], Coroutine[Any, Any, None]]


class _Party(NamedTuple):
    """One who may answer, and what must run meanwhile to know how they are."""

    contender: Contender
    watching: Work | None = None


class _Tracing:
    """Wraps those who may answer, so that each of their attempts is written down."""

    def __init__(self, spans: Spans, on_attempt: OnAttempt, *, content: bool) -> None:
        self._spans = spans
        self._content = content
        self._on_attempt = on_attempt
        self._open_turns = OpenTurns()  # shared: they go on for each other

    def here(self, backend: Backend) -> Backend:
        return self._traced(backend, is_remote=False)

    def away(self, backend: Backend, *, tells_phases: bool) -> Backend:
        """``tells_phases``: nobody else writes down what was done there."""
        return self._traced(backend, is_remote=True, tells_phases=tells_phases)

    def _traced(self, backend: Backend, *, is_remote: bool, tells_phases: bool = False) -> Backend:
        return TracedBackend(
            backend,
            spans=self._spans,
            is_remote=is_remote,
            tells_phases=tells_phases,
            on_attempt=None if is_remote else self._on_attempt,
            open_turns=self._open_turns,
            content=self._content,
        )


def _parties(settings: EdgeSettings, device: Backend, tracing: _Tracing) -> Iterator[_Party]:
    """This machine first, then whoever has an address in the settings."""
    yield _Party(Contender.here(tracing.here(device)))
    if settings.cloud.url:
        yield _cloud(settings.cloud, settings.traits.cloud.traits(), tracing)
    if settings.upstream.url:
        yield _upstream(settings.upstream, settings.traits.upstream.traits(), tracing)


def _cloud(settings: CloudSettings, traits: Traits, tracing: _Tracing) -> _Party:
    from edge_client.cloud.backend import CloudBackend
    from edge_client.cloud.heartbeat import Heartbeat

    backend = CloudBackend(settings, name=CLOUD)
    outlook = Outlook(backend.name, traits)
    contender = Contender(tracing.away(backend, tells_phases=False), outlook)
    return _Party(contender, Heartbeat(settings, outlook).run)


def _upstream(settings: UpstreamSettings, traits: Traits, tracing: _Tracing) -> _Party:
    from edge_client.upstream.backend import UpstreamBackend

    backend = UpstreamBackend(settings, name=UPSTREAM)
    return _Party(Contender(tracing.away(backend, tells_phases=True), Outlook(backend.name, traits)))


def who_may_answer(settings: EdgeSettings, device: Backend) -> list[str]:
    """The names of the backends."""
    remote = {CLOUD: settings.cloud.url, UPSTREAM: settings.upstream.url}
    return [device.name, *(name for name, url in remote.items() if url)]


@asynccontextmanager
async def open_switchboard(
    settings: EdgeSettings,
    device: Backend,
    telemetry: Telemetry | None = None,
    *,
    on_attempt: OnAttempt = None,
    on_placed: Callable[[PlacementRecord], None] = lambda record: None,
) -> AsyncIterator[Switchboard]:
    """Turns can be opened until the block ends.

    Args:
        telemetry: to write spans with; none are written without
        on_attempt: gets the figures of each attempt of this machine at an answer, when it is over
        on_placed: gets what became of each turn

    Raises:
        SettingsError: the placements cannot be written where they should.
    """
    spans = telemetry.spans(names.EDGE) if telemetry else Spans.silent()
    tracing = _Tracing(spans, on_attempt, content=telemetry is not None and telemetry.content)
    parties, watch = list(_parties(settings, device, tracing)), DeviceWatch()
    contenders = [party.contender for party in parties]
    placements, now = Placements(contenders), asyncio.get_running_loop().time
    async with (
        _records(settings.records) as write,
        _working(watch.run, *(party.watching for party in parties if party.watching)),
    ):

        def note(record: PlacementRecord) -> None:
            placements.add(record)
            write(record)
            if parent := parent_of(record):
                spans.write([decision_phase(record)], parent=parent)
            on_placed(record)

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
