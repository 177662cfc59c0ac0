"""A real call: whether sound flows, and whether a spoken turn is answered."""

from __future__ import annotations

import numpy as np

from edge_client.caller.client import Caller, Sound
from edge_client.caller.line import until
from edge_client.caller.question import Question, synthesised
from edge_client.caller.signalling import calls_url, relays_of
from edge_client.caller.spoken import Reply
from edge_client.doctor.aside import aside
from edge_client.doctor.finding import Finding, fault, ok, skipped, warning
from routing.errors import AtCapacity, BackendError, InvalidRequest
from routing.turns import Samples

ABOUT = "call"
TURN = "spoken turn"
CALL_SEC = 30.0
TURN_SEC = 60.0
REPLY_SEC = 20.0
PATIENCE_SEC = 3.0
ENOUGH_PACKETS = 10  # a fifth of a second of sound, silence included
QUESTION = "What time is it?"
SLOW_SEC = 1.5  # what objectives call too late
UDP_ADVICE = (
    "Signalling came through and sound did not: let UDP between both machines through, set peer.listen_addresses to"
    " what callers reach, or give callers a TURN server (peer.turn)."
)


async def look_at_call(url: str, *, key: str | None) -> list[Finding]:
    """Call, say nothing, and see whether sound comes."""
    try:
        relayed, silent = await _has_relays(url, key), Sound(read=_silence)
        async with Caller.connect(url, key=key, sound=silent, reporting=False, relayed=relayed) as call:
            packets = await _packets(call)
            return [_heard(packets, call)]
    except (BackendError, InvalidRequest) as error:
        return [_unasked() if _wants_key(error) and not key else _no_call(error)]


async def _has_relays(url: str, key: str | None) -> bool:
    """Whether the edge has TURN servers for its callers: a browser would ask them too."""
    try:
        await relays_of(calls_url(url), key=key)
    except (BackendError, InvalidRequest):
        return False
    return True


def _wants_key(error: Exception) -> bool:
    return isinstance(error, InvalidRequest) and "answered 401" in str(error)


def _unasked() -> Finding:
    return skipped(ABOUT, "it asks for a key", advice="Give one that it takes: --key.")


def _silence(count: int) -> Samples:
    return np.zeros(count, np.float32)


async def _packets(call: Caller) -> int:
    """How many came, in the time that enough of them take."""
    await until(lambda: call.packets().received >= ENOUGH_PACKETS, PATIENCE_SEC, is_over=lambda: False)
    return call.packets().received


def _heard(packets: int, call: Caller) -> Finding:
    connect_ms = (call.connect_sec or 0.0) * 1000
    if packets >= ENOUGH_PACKETS:
        way = {"relay": "over a relay", "host": "directly"}.get(
            call.ice.pair_type or "", "through an address translator"
        )
        return ok(ABOUT, f"connected {way} in {connect_ms:.0f} ms, and sound comes")
    return fault(
        ABOUT,
        f"{packets} packets in {PATIENCE_SEC:g} s, after connecting in {connect_ms:.0f} ms",
        expected="sound, be it silence, fifty packets a second",
        advice="The way is open and no sound is sent: the edge's log and its load tell more.",
    )


def _no_call(error: BackendError | InvalidRequest) -> Finding:
    return fault(ABOUT, str(error), expected="a call that connects", advice=_advice(error))


def _advice(error: BackendError | InvalidRequest) -> str:
    if isinstance(error, AtCapacity):
        return "It is full, or leaves: ask again later, or call another one."
    if _wants_key(error):
        return "Give a key that it takes: --key."
    if isinstance(error, InvalidRequest):
        return "It refused the offer: see that it is an edge, and what its log says."
    if "certificate" in str(error).lower():
        return (
            "Its certificate is not trusted here: call it by the name in it, and name the authority that signed it in"
            " SSL_CERT_FILE, unless it is one that everybody knows."
        )
    if "UDP" in str(error) or "ended the call" in str(error):
        return UDP_ADVICE
    return "See that it runs, and that its address is right."


# -- a turn ------------------------------------------------------------------------------------------------------------


async def look_at_turn(url: str, *, key: str | None, question: Question | None = None) -> list[Finding]:
    """Ask a question aloud, and measure how long the answer takes to be heard."""
    asked = await aside(_question) if question is None else question
    try:
        async with Caller.connect(url, key=key, relayed=await _has_relays(url, key)) as call:
            await call.say(asked.samples)
            return [_judged(asked, await call.reply(REPLY_SEC))]
    except (BackendError, InvalidRequest) as error:
        return [_no_call(error)]


def _question() -> Question:
    return next(synthesised([QUESTION]))


def _judged(question: Question, reply: Reply) -> Finding:
    v2v_sec = reply.latency.v2v_sec
    if v2v_sec is None:
        found = "; ".join(reply.errors) or "silence"
        advice = "Its log and `antiphon trace show` on its machine say what became of the turn."
        return fault(TURN, found, expected=f"an answer to {question.text!r}", advice=advice)
    told = f"{reply.answer!r} after {v2v_sec * 1000:.0f} ms, from voice to voice"
    if v2v_sec > SLOW_SEC:
        advice = "`antiphon trace show` on its machine says where the time went."
        return warning(TURN, told, expected=f"an answer within {SLOW_SEC * 1000:.0f} ms", advice=advice)
    return ok(TURN, f"answered with {told}")
