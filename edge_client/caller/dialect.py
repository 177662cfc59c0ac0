"""How servers want to be called: OpenAI Realtime, Pipecat's SmallWebRTC, FastRTC.

All take one HTTP request with an offer and give one answer; they differ in the path, in what is wrapped around the
two descriptions, and in the data channel that they expect beside the sound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from edge_client.webrtc.channel import EVENTS_CHANNEL
from routing.errors import AtCapacity, BackendUnavailable, InvalidRequest

RETRY_AFTER_SEC = 5.0  # where a full server does not say how long


class Posted(NamedTuple):
    """What is sent to a server."""

    content: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way to call. ``known_paths`` are what an address may end with on the way to ``path``."""

    name: str
    path: str
    known_paths: tuple[str, ...] = ()
    channel: str
    keep_alive: str | None = None  # a message that the server wants to hear every second
    write_offer: Callable[[str], Posted]
    read_answer: Callable[[str], str]

    @property
    def has_events(self) -> bool:
        """Whether the server tells on the data channel what happens, and does as it is told there."""
        return self.channel == EVENTS_CHANNEL

    def completed(self, path: str) -> str:
        """``path`` led on to where offers are taken."""
        for known in (self.path, *self.known_paths):
            if path.endswith(known):
                return path.removesuffix(known) + self.path
        return path + self.path


def _plain_offer(sdp: str) -> Posted:
    return Posted(sdp, "application/sdp")


def _plain_answer(text: str) -> str:
    return text


def _pipecat_offer(sdp: str) -> Posted:
    return Posted(json.dumps({"sdp": sdp, "type": "offer"}), "application/json")


def _fastrtc_offer(sdp: str) -> Posted:
    return Posted(json.dumps({"sdp": sdp, "type": "offer", "webrtc_id": uuid4().hex}), "application/json")


def _json_answer(text: str) -> str:
    """The description inside. FastRTC refuses calls with the status of a success."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    match answer:
        case {"sdp": str(sdp)}:
            return sdp
        case {"meta": {"error": "concurrency_limit_reached"}}:
            raise AtCapacity("the server takes no more calls now", retry_after_sec=RETRY_AFTER_SEC)
        case {"meta": {"error": str(fault)}}:
            raise InvalidRequest(f"the server refused the call: {fault}", code="refused")
    raise BackendUnavailable(f"expected a JSON object with an sdp for an answer, got {text[:80]!r}")


OPENAI = Dialect(
    name="openai",
    path="/v1/realtime/calls",
    known_paths=("/v1/realtime", "/v1"),
    channel=EVENTS_CHANNEL,
    write_offer=_plain_offer,
    read_answer=_plain_answer,
)
PIPECAT = Dialect(
    name="pipecat",
    path="/api/offer",
    channel="chat",
    keep_alive="ping",  # once it has heard one, it takes a caller who is quiet for 3 s for gone
    write_offer=_pipecat_offer,
    read_answer=_json_answer,
)
FASTRTC = Dialect(
    name="fastrtc",
    path="/webrtc/offer",
    channel="text",  # no sound flows before it is open
    write_offer=_fastrtc_offer,
    read_answer=_json_answer,
)
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (OPENAI, PIPECAT, FASTRTC)}


def find_dialect(name: str | None, url: str) -> Dialect:
    """The dialect of this name; without one, what the path of ``url`` tells, and else OpenAI's.

    Raises:
        InvalidRequest: there is none of this name.
    """
    if name is None:
        path = url.partition("?")[0].rstrip("/")
        return next((dialect for dialect in DIALECTS.values() if path.endswith(dialect.path)), OPENAI)
    if name not in DIALECTS:
        raise InvalidRequest(f"expected a dialect of {', '.join(DIALECTS)}, got {name!r}", param="dialect")
    return DIALECTS[name]
