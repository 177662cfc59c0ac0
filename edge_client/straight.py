"""WebSockets that go where they were sent, and nowhere else."""

from __future__ import annotations

from websockets.asyncio.client import connect


class connect_straight(connect):  # noqa: N801 it is called like the function that it stands for
    """`websockets.connect`, but a server that wants to send us elsewhere is a server that refuses.

    What callers say goes to the host that the operator named.
    """

    def process_redirect(self, exc: Exception) -> Exception:
        """Called with what went wrong while connecting; an address in its place would be followed."""
        return exc
