"""What is looked at, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from edge_client.caller.client import LOOPBACK_HOSTS
from edge_client.doctor import call, collector, configuration, models
from edge_client.doctor.aside import aside
from edge_client.doctor.certificates import look_at_certificates
from edge_client.doctor.check import Check
from edge_client.doctor.clocks import Other, look_at_clocks, look_at_own_clock
from edge_client.doctor.cloud import look_at_cloud
from edge_client.doctor.datagrams import look_at_datagrams
from edge_client.doctor.edge import look_at_edge
from edge_client.doctor.finding import Finding
from edge_client.doctor.gpus import cuda_devices, look_at_gpus
from edge_client.doctor.keys import look_at_keys, read_keys
from edge_client.doctor.machine import look_at_machine, this_machine
from edge_client.doctor.packages import look_at_packages
from edge_client.doctor.ports import look_at_port
from edge_client.doctor.relay import CALLERS, look_at_callers_relays, look_at_relays
from edge_client.doctor.sound import look_at_sound
from edge_client.doctor.upstream import look_at_upstream
from edge_client.doctor.web import as_http, check_address
from edge_client.models.store import ModelStore, default_folder
from edge_client.settings import EdgeSettings
from routing.errors import SettingsError

TURN_LIMIT_SEC = 20.0  # several servers, each of which is given five seconds
TORCH_SEC = 60.0  # it takes long to import

type Groups = list[list[Check]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What the doctor is asked to look at.

    Args:
        url: an edge somewhere, beside this machine
        key: for that edge; where it is on this machine, else the first of the settings' own
        spoken: also ask it a question aloud
        quick: leave out what takes longer than a few seconds
    """

    config: Path | None = None
    environment: Mapping[str, str]
    url: str | None = None
    key: str | None = None
    spoken: bool = False
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups of checks, one after the other, and what was found while it was made. ``secrets`` are never shown."""

    groups: Groups
    findings: Sequence[Finding]
    secrets: Sequence[str]


async def plan(visit: Visit) -> Plan:
    """Read the settings, and decide what to look at.

    Raises:
        InvalidRequest: what is to be looked at has no address.
    """
    if visit.url:
        check_address(visit.url)
    settings, findings = await aside(lambda: configuration.read(visit.config, visit.environment))
    groups = [
        [*_of_settings(settings, visit), *_of_machine(settings, visit)] if settings else _of_machine(None, visit),
        [*_at_work(settings, visit)],
        [*_from_outside(settings, visit)],
        [*_spoken(settings, visit)],
    ]
    return Plan([group for group in groups if group], findings, await aside(lambda: _secrets(settings, visit)))


def _of_settings(settings: EdgeSettings, visit: Visit) -> Iterator[Check]:
    host = urlsplit(as_http(visit.url)).hostname if visit.url else None
    yield _reading("keys", lambda: look_at_keys(settings))
    yield _reading("certificates", lambda: look_at_certificates(settings, host=host))
    yield _reading("machine", lambda: look_at_machine(this_machine(), settings))
    yield Check("port", partial(look_at_port, settings))
    yield Check("UDP", partial(look_at_datagrams, settings))
    yield Check("TURN", partial(look_at_relays, settings.peer.turn))
    yield Check("cloud", partial(look_at_cloud, settings.cloud), TURN_LIMIT_SEC)
    yield Check("upstream", partial(look_at_upstream, settings.upstream), TURN_LIMIT_SEC)
    yield Check("collector", partial(collector.look_at_collector, settings.telemetry), TURN_LIMIT_SEC)
    yield _reading("files", lambda: collector.look_at_files(settings.telemetry, settings.records))
    yield Check("clocks of others", partial(look_at_clocks, _others(settings, visit)))


def _of_machine(settings: EdgeSettings | None, visit: Visit) -> list[Check]:
    checks = [
        _reading("packages", look_at_packages),
        Check("clock", look_at_own_clock),
        Check("GPU", partial(look_at_gpus, torch_sees=None if visit.quick else cuda_devices), TORCH_SEC),
        Check("microphone", look_at_sound),
    ]
    if settings is None or settings.engine == "device":
        checks.append(Check("models", partial(models.look_at_files, _store(visit)), models.HASHING_SEC))
    return checks


def _at_work(settings: EdgeSettings | None, visit: Visit) -> Iterator[Check]:
    """Alone: it takes all cores."""
    if not visit.quick and (settings is None or settings.engine == "device"):
        yield Check(models.TRIAL, partial(models.look_at_work, _store(visit)), models.TRIAL_SEC + 5)


def _from_outside(settings: EdgeSettings | None, visit: Visit) -> Iterator[Check]:
    if visit.url:
        yield Check("edge", partial(look_at_edge, visit.url, key=_key(settings, visit)), TURN_LIMIT_SEC)
        yield Check(CALLERS, partial(look_at_callers_relays, visit.url, key=_key(settings, visit)), TURN_LIMIT_SEC)
        yield Check("call", partial(call.look_at_call, visit.url, key=_key(settings, visit)), call.CALL_SEC)


def _spoken(settings: EdgeSettings | None, visit: Visit) -> Iterator[Check]:
    if visit.url and visit.spoken:
        yield Check("spoken turn", partial(call.look_at_turn, visit.url, key=_key(settings, visit)), call.TURN_SEC)


def _reading(about: str, look: Callable[[], Iterable[Finding]]) -> Check:
    """One that reads the disk, and so does it aside."""
    return Check(about, partial(aside, look))


def _others(settings: EdgeSettings, visit: Visit) -> list[Other]:
    there = {"the edge": visit.url, "the cloud": settings.cloud.url, "the collector": settings.telemetry.endpoint}
    authority = settings.cloud.ca_file
    return [Other(name, url, authority if name == "the cloud" else None) for name, url in there.items() if url]


def _store(visit: Visit) -> ModelStore:
    return ModelStore(default_folder(visit.environment))


def _key(settings: EdgeSettings | None, visit: Visit) -> str | None:
    """The operator's own is for edges on this machine: it is sent nowhere else without being asked to."""
    own = settings.api_keys if settings and _is_here(visit.url or "") else ()
    return visit.key or (own[0].get_secret_value() if own else None)


def _is_here(url: str) -> bool:
    return urlsplit(as_http(url)).hostname in LOOPBACK_HOSTS


def _secrets(settings: EdgeSettings | None, visit: Visit) -> list[str]:
    """Everything that no line may show. Reads files."""
    return [secret for secret in (visit.key, *_set(settings)) if secret]


def _set(settings: EdgeSettings | None) -> Iterator[str]:
    if settings is None:
        return
    hidden = [*settings.api_keys, settings.peer.turn.secret, settings.cloud.key, settings.upstream.key]
    yield from (secret.get_secret_value() for secret in hidden if secret)
    for file in (settings.api_keys_file, settings.signing_keys_file):
        if file:
            yield from _keys_in(file)


def _keys_in(file: Path) -> tuple[str, ...]:
    try:
        return read_keys(file)
    except SettingsError:
        return ()
