"""How a session's connection came about, as a trace of its own: short, and linked from every turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_client.webrtc.moments import ConnectMoments
from routing.telemetry import names
from routing.telemetry.phase import Carrier, Phase
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import trace_id_of

type OnConnected = Callable[[float, bool, Carrier, str | None], None]  # seconds, whether it came about, trace, pair


class ConnectTrace:
    """Begun with the offer; `over` writes it, once."""

    def __init__(
        self, telemetry: Telemetry, *, session_id: str, parent: Carrier, now: float, before: Carrier | None = None
    ) -> None:
        self._telemetry = telemetry
        self._session = {names.SESSION_ID: session_id, names.CONVERSATION_ID: session_id}
        self._began_at = now
        self._span = telemetry.spans(names.EDGE).begin(
            names.CONNECT,
            at=now,
            parent=parent,
            kind="server",
            attributes={**self._session, "network.protocol.name": "webrtc", "network.transport": "udp"},
            links=[before] if before else (),
        )
        self._admitted_at: float | None = None
        self._is_over = False

    @property
    def carrier(self) -> Carrier:
        return self._span.carrier

    @property
    def trace_id(self) -> str:
        """Empty where nothing is traced."""
        return trace_id_of(self.carrier)

    def admitted(self, now: float) -> None:
        """There is a place for the session."""
        self._admitted_at = now

    def refused(self, now: float, why: str) -> None:
        """There is no session; ``why`` in an operator's words."""
        if not self._is_over:
            self._is_over = True
            self._write(self._admission())
            self._span.end(at=now, error=why)

    def over(self, moments: ConnectMoments, now: float, *, on_connected: OnConnected) -> None:
        """All is there that will come, or the connection has ended."""
        if self._is_over:
            return
        self._is_over = True
        self._write([*self._admission(), *_steps(moments)])
        is_connected = moments.connected is not None
        last = moments.first_sound or moments.connected or now
        self._span.end(at=last, error=None if is_connected else "never connected")
        on_connected((moments.connected or now) - self._began_at, is_connected, self.carrier, moments.pair_type)

    def _admission(self) -> list[Phase]:
        if self._admitted_at is None:
            return []
        return [Phase(name=names.SESSION_ADMIT, begin=self._began_at, end=self._admitted_at)]

    def _write(self, phases: list[Phase]) -> None:
        self._telemetry.spans(names.EDGE).write(phases, parent=self.carrier, attributes=self._session)


def _steps(moments: ConnectMoments) -> Iterator[Phase]:
    steps = (
        (names.SDP_NEGOTIATE, moments.offered, moments.answered),
        (names.ICE_CONNECT, moments.answered, moments.reached),
        (names.DTLS_HANDSHAKE, moments.reached, moments.connected),
        (names.FIRST_PACKET_IN, moments.connected, moments.first_sound),
    )
    for name, begin, end in steps:
        if begin is not None and end is not None:
            way = {names.SELECTED_PAIR: moments.pair_type} if name == names.ICE_CONNECT else {}
            yield Phase(name=name, begin=begin, end=max(begin, end), attributes=way)
