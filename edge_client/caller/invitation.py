"""What a server that is about to end has offered its caller: a ticket, good for as long as nothing is said."""

from __future__ import annotations

# What begins a turn: from then on the ticket is for a session that is no more, and another one will come.
_OUTDATING = {"input_audio_buffer.speech_started", "input_audio_buffer.committed", "response.created"}
GOOD_SEC = 110.0  # what a ticket is good for at least, by the caller's own clock


class Invitation:
    """Follows what the server says; ``now`` is the caller's clock in seconds."""

    def __init__(self) -> None:
        self.is_draining = False  # the server has said that it will end
        self._ticket: str | None = None
        self._came_at = 0.0

    def take(self, event: object, now: float) -> bool:
        """Look at an event; returns whether it was about this, and about nothing that is said."""
        match event:
            case {"type": "antiphon.server.draining"}:
                self.is_draining = True
            case {"type": "antiphon.session.ticket", "ticket": str(ticket)}:
                self._ticket, self._came_at = ticket, now
            case {"type": str(kind)} if kind in _OUTDATING:
                self._ticket = None
                return False
            case _:
                return False
        return True

    def decline(self, ticket: str) -> None:
        """It is no good; another one may come."""
        if self._ticket == ticket:
            self._ticket = None

    def ticket(self, now: float) -> str | None:
        """One that can be used, if there is any."""
        return self._ticket if now - self._came_at < GOOD_SEC else None

    def waited_sec(self, now: float) -> float:
        """Since the ticket came."""
        return now - self._came_at
