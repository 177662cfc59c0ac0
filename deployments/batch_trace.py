"""The trace of a batch, linked both ways with the attempts whose waiting it ended."""

from __future__ import annotations

from deployments.batch import Batch
from routing.telemetry import names
from routing.telemetry.phase import Attribute
from routing.telemetry.spans import Spans
from routing.telemetry.traced_backend import TracedBackend


class BatchTrace:
    """Writes batches of the model behind ``backend``. Each is a trace of its own, since it belongs to many turns."""

    def __init__(self, spans: Spans, backend: TracedBackend) -> None:
        self._spans = spans
        self._backend = backend

    def write(self, batch: Batch) -> None:
        """Write it, unless all that it admitted are turns that nobody traces."""
        found = {turn_id: self._backend.attempt_carrier(turn_id) for turn_id in batch.admitted}
        links = {turn_id: carrier for turn_id, carrier in found.items() if carrier}
        if batch.admitted and not links:
            return
        span = self._spans.begin(
            names.STEP_WINDOW, at=batch.began, kind="consumer", attributes=_attributes(batch), links=links.values()
        )
        span.end(at=batch.ended)
        for turn_id in links:
            self._backend.link_admission(turn_id, span.carrier)


def _attributes(batch: Batch) -> dict[str, Attribute]:
    return {
        names.BATCH_SIZE: batch.size,
        names.BATCH_MESSAGES: batch.size if batch.size > 1 else None,
        names.BATCH_ADMITTED: len(batch.admitted),
        names.BATCH_PREFILL_TOKENS: batch.prefill_tokens,
        names.STEP_MS: round((batch.ended - batch.began) * 1000),
    }
