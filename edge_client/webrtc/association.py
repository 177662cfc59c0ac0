"""What one caller may make the association under the data channels keep and compute.

aiortc takes whatever comes: a message without an end, fragments without a beginning, streams without a channel, each
of them for ever, and every further fragment makes it look through those before it. An honest caller keeps within what
it was told; for another one the call ends.

The private names of aiortc used here are held by `tests/test_webrtc_association.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import Chunk, DataChunk, tsn_plus_one

from edge_client.webrtc.budget import Budget

# Fragments that came before others that were sent earlier. Beyond that they are taken for lost like those.
MOST_EARLY = 1024

MOST_FRAGMENTS = 2 * MOST_EARLY  # of unfinished messages; the largest message we allow comes in about 230
MOST_STREAMS = 64

# Beyond this rate fragments are taken for lost, and the sender slows down like on any narrow line.
FRAGMENTS_PER_SEC = 1000
FRAGMENTS_SAVED = 2000


def bound_association(
    association: RTCSctpTransport,
    *,
    on_excess: Callable[[str], None],
    has_room: Callable[[float], bool] = lambda now: True,
) -> None:
    """Keep watch over ``association``. ``on_excess`` is told what went too far; nothing is taken after that.

    While whoever takes the messages has no room for the next one, fragments are taken for lost: they stay with their
    sender, who slows down. Each may end one message.
    """
    take, take_chunk = association._handle_data, association._receive_chunk  # noqa: SLF001
    budget = Budget(per_sec=FRAGMENTS_PER_SEC, saved=FRAGMENTS_SAVED)
    loop = asyncio.get_running_loop()
    is_over = False

    def end(fault: str) -> None:
        nonlocal is_over
        is_over = True
        on_excess(fault)

    async def take_chunk_within_bounds(chunk: Chunk) -> None:
        if is_over:
            return
        now = loop.time()
        if isinstance(chunk, DataChunk) and (
            not has_room(now) or _is_too_early(association, chunk) or not budget.spend(now)
        ):
            return
        await take_chunk(chunk)
        if fault := _excess(association):
            end(fault)

    async def take_guarded(data: bytes) -> None:
        try:
            await take(data)
        except ConnectionError:  # the caller is gone
            raise
        except Exception as exc:  # noqa: BLE001 (malformed packets come out of aiortc as any exception there is)
            end(f"a packet that cannot be read: {exc!r}")

    association._receive_chunk = take_chunk_within_bounds  # type: ignore[method-assign]  # noqa: SLF001
    association._handle_data = take_guarded  # type: ignore[method-assign]  # noqa: SLF001


def _is_too_early(association: RTCSctpTransport, chunk: DataChunk) -> bool:
    if len(association._sack_misordered) < MOST_EARLY:  # noqa: SLF001
        return False
    last = association._last_received_tsn  # noqa: SLF001
    return last is None or chunk.tsn != tsn_plus_one(last)


def _excess(association: RTCSctpTransport) -> str | None:
    streams = association._inbound_streams  # noqa: SLF001
    if association._advertised_rwnd < 0:  # noqa: SLF001
        return "more unfinished messages than there was room for"
    if len(streams) > MOST_STREAMS:
        return f"more than {MOST_STREAMS} streams"
    fragments = sum(len(stream.reassembly) for stream in streams.values())
    if fragments > MOST_FRAGMENTS:
        return f"more than {MOST_FRAGMENTS} fragments of unfinished messages"
    return None
