"""The one HTTP request of a call: an offer goes out, an answer comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx

from edge_client.caller.dialect import OPENAI, RETRY_AFTER_SEC, Dialect, Posted
from edge_client.webrtc.turn import Relays, relays_told
from routing.errors import AntiphonError, AtCapacity, BackendUnavailable, InvalidRequest

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_SEC = 10.0  # for the whole answer, however slowly it trickles in
LONGEST_ANSWER = 256 * 1024  # bytes; a description has a few thousand
RESUME = "Antiphon-Resume"  # header: the token of a call
LAST_EVENT = "Antiphon-Last-Event"  # header: the id of the last event that came
TRACE_ID = "X-Trace-Id"  # header: what the connection is called in traces
NO_HEADERS: Mapping[str, str] = {}


def calls_url(url: str, *, model: str | None = None, dialect: Dialect = OPENAI) -> str:
    """Where a server takes offers: ``url`` may be a bare ``host:port``, or end anywhere on the way to the route."""
    parts = _split(url if "://" in url else f"http://{url}")
    path = dialect.completed(parts.path.rstrip("/"))
    query = "&".join(part for part in (parts.query, str(httpx.QueryParams({"model": model})) if model else "") if part)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # brackets that are not closed, a port that is none
        pass
    raise InvalidRequest(f"expected an address like http://127.0.0.1:8080, got {url!r}")


class Answer(NamedTuple):
    """What a server says to an offer; with ``token`` the call can be resumed on another connection."""

    sdp: str
    token: str | None


def resumption(token: str, last_event_id: str | None) -> dict[str, str]:
    """The headers that ask to go on with a call, from after the last event that came."""
    return {RESUME: token} | ({LAST_EVENT: last_event_id} if last_event_id else {})


async def relays_of(url: str, *, key: str | None) -> Relays:
    """The TURN servers that the Antiphon edge which takes offers at ``url`` has for its callers.

    Raises:
        BackendUnavailable: nobody answers there.
        InvalidRequest: it tells of none.
    """
    where = url.partition("?")[0].removesuffix("/calls") + "/ice_servers"
    own = {"Authorization": f"Bearer {key}"} if key else {}
    async with _request("GET", where, headers=own) as response:
        text = await _read(response)
    if not response.is_success:
        raise _refusal(response, text)
    told = relays_told(text.encode())
    if told is None:
        raise InvalidRequest(f"expected TURN servers for callers at {where}, got none", code="no_relays")
    return told


async def exchange(
    offer: str,
    *,
    url: str,
    key: str | None,
    dialect: Dialect = OPENAI,
    headers: Mapping[str, str] = NO_HEADERS,
    ticket: str | None = None,
) -> Answer:
    """Post the offer to ``url`` and return the answer; with a ``ticket`` the call goes on with its session.

    Raises:
        BackendUnavailable: nobody answers there.
        AtCapacity: the server takes no more calls now.
        InvalidRequest: the server refuses this one.
    """
    posted = dialect.write_offer(offer) if ticket is None else _with_ticket(offer, ticket)
    own = {"Content-Type": posted.content_type} | ({"Authorization": f"Bearer {key}"} if key else {})
    async with _request("POST", url, content=posted.content.encode(), headers=own | dict(headers)) as response:
        text = await _read(response)
    if re.fullmatch(r"[0-9a-f]{32}", trace_id := response.headers.get(TRACE_ID, "")):
        logger.info("the trace of this connection is %s", trace_id)
    if not response.is_success:
        raise _refusal(response, text)
    return Answer(dialect.read_answer(text), response.headers.get(RESUME))


@asynccontextmanager
async def _request(
    method: str, url: str, *, headers: Mapping[str, str], content: bytes | None = None
) -> AsyncIterator[httpx.Response]:
    try:
        # The environment's proxies are for web pages: the media would not go through them.
        async with (
            asyncio.timeout(REQUEST_TIMEOUT_SEC),
            httpx.AsyncClient(timeout=REQUEST_TIMEOUT_SEC, trust_env=False, verify=await trust(url)) as client,
            client.stream(method, url, content=content, headers=dict(headers)) as response,
        ):
            yield response
    except (httpx.HTTPError, TimeoutError) as exc:
        raise BackendUnavailable(f"nobody takes calls at {url}: {str(exc) or type(exc).__name__}") from exc


def _with_ticket(offer: str, ticket: str) -> Posted:
    """A form; only an Antiphon edge gives tickets."""
    form = httpx.Request("POST", "http://form", files={"sdp": (None, offer), "ticket": (None, ticket)})
    return Posted(form.read().decode(), form.headers["Content-Type"])


async def _read(response: httpx.Response) -> str:
    """The body, whoever sends it: a server under test may send without end."""
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > LONGEST_ANSWER:
            raise BackendUnavailable(f"expected an answer of at most {LONGEST_ANSWER} bytes, got more")
    return body.decode(errors="replace")


async def trust(url: str) -> ssl.SSLContext | bool:
    """Whose certificates are believed: the system's, or those that SSL_CERT_FILE names. For httpx.

    They are read from disk, which takes a while: only where they are needed, and not in the event loop.
    """
    return await asyncio.to_thread(ssl.create_default_context) if url.startswith("https:") else False


def _refusal(response: httpx.Response, text: str) -> AntiphonError:
    message = f"{response.request.url} answered {response.status_code}: {_message(text) or response.reason_phrase}"
    if response.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
        return AtCapacity(message, retry_after_sec=_retry_after(response.headers))
    if response.is_server_error:
        return BackendUnavailable(message)
    return InvalidRequest(message, code="refused")


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return text[:200].strip()


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return float(headers.get("Retry-After", RETRY_AFTER_SEC))
    except ValueError:  # a date
        return RETRY_AFTER_SEC
