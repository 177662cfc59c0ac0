"""The cloud of this edge: whether it can be reached, lets us in, speaks our protocol, and has slots."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus

from edge_client.caller.client import LOOPBACK_HOSTS
from edge_client.cloud.connection import Connection, Line
from edge_client.cloud.heartbeat import HEARTBEAT_PATH
from edge_client.cloud.settings import CloudSettings
from edge_client.doctor.finding import Finding, fault, ok, skipped, warning
from routing.errors import AtCapacity, BackendError, SettingsError
from routing.load import Load
from routing.wire import VERSION, Ping, Pong, encode

ABOUT = "cloud"


async def look_at_cloud(settings: CloudSettings) -> list[Finding]:
    """Beat once, as the edge does every few seconds."""
    if not settings.url:
        return [skipped(ABOUT, "none is set: this machine answers every turn", advice="Set cloud.url to have one.")]
    began = time.monotonic()
    try:
        async with Line(settings).open(HEARTBEAT_PATH) as connection:
            pong = await _beat(connection, settings)
    except BackendError as error:
        return [_judged(error)]
    return [_answered(pong.load, time.monotonic() - began), *_load(pong.load), *_encryption(settings)]


async def _beat(connection: Connection, settings: CloudSettings) -> Pong:
    try:
        async with asyncio.timeout(settings.heartbeat_timeout_sec):
            await connection.send(encode(Ping(1)))
            message = await connection.receive()
    except TimeoutError:
        raise BackendError(
            f"it took the connection, and told nothing for {settings.heartbeat_timeout_sec:g} s"
        ) from None
    if not isinstance(message, Pong):
        raise BackendError(f"the cloud does not keep to the protocol: a {type(message).__name__} for a Ping")
    return message


def _answered(load: Load, seconds: float) -> Finding:
    told = f"{load.in_use} of {load.slots} slots in use, {load.waiting} waiting"
    return ok(ABOUT, f"connected and answered in {seconds * 1000:.0f} ms, protocol {VERSION}; {told}")


def _load(load: Load) -> Iterator[Finding]:
    if load.slots == 0:
        yield warning(
            "replicas",
            "no slot at all",
            expected="replicas that take turns",
            advice="They still load, or Ray finds no place for them: see `serve status` there.",
        )


def _encryption(settings: CloudSettings) -> Iterator[Finding]:
    parts = urlsplit(settings.url)
    if parts.scheme == "ws" and parts.hostname not in LOOPBACK_HOSTS:
        yield warning(
            "encryption to the cloud",
            "ws://",
            expected="wss:// to another machine",
            advice="What people say could be read on the way: have the cloud's entrance encrypt.",
        )


def _judged(error: BackendError) -> Finding:
    return fault(ABOUT, str(error), expected="a heartbeat of the cloud that is set", advice=_advice(error))


def _advice(error: BackendError) -> str:
    cause = error.__cause__
    if isinstance(error, AtCapacity):
        return "It is full: let it have more replicas, or wait."
    if isinstance(cause, InvalidStatus) and cause.response.status_code in {401, 403}:
        return "Make cloud.key one of the keys that its entrance takes."
    if isinstance(cause, InvalidStatus):
        return "Something else answers there: correct cloud.url, up to the route's prefix."
    if isinstance(cause, SettingsError):
        return "Mend that file: the edge cannot use it either."
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "Name the authority that signed its certificate, cloud.ca_file, and call it by the name in that."
    if isinstance(cause, ssl.SSLError):
        return (
            "It does not speak TLS as we do: see whether it wants a certificate of ours, or ws:// within the cluster."
        )
    if "protocol" in str(error):
        return f"Run edge and cloud of versions that speak the same protocol, here {VERSION}."
    return "See that it runs, that cloud.url is right, and that firewalls let this machine through."
