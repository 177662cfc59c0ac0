"""What uvicorn says of WebSockets that were refused.

It answers as it is told to, and then complains, as of a bug, that the connection was not accepted. Whoever knocks
without a key could fill the log with that.
"""

from __future__ import annotations

import logging

SERVER_LOG = "uvicorn.error"
COMPLAINT = "ASGI callable returned without completing handshake."


class _Refusals(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg != COMPLAINT


_REFUSALS = _Refusals()


def refuse_quietly() -> None:
    """From now on; may be called again."""
    logging.getLogger(SERVER_LOG).addFilter(_REFUSALS)
