"""A program that counts, for tests: its instruments, and what a scrape of it shows."""

from __future__ import annotations

from typing import NamedTuple

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from routing.telemetry.exposition import Exposition
from routing.telemetry.instruments import Instruments

SAMPLED = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-03"}


class Counted(NamedTuple):
    instruments: Instruments
    exposition: Exposition

    @classmethod
    def new(cls) -> Counted:
        exposition = Exposition()
        provider = MeterProvider([exposition.reader], Resource.get_empty(), shutdown_on_exit=False)
        return cls(Instruments(provider.get_meter("test")), exposition)

    def samples(self) -> dict[str, float]:
        """What each line of a scrape shows."""
        lines = (line.rpartition(" ") for line in self.exposition.scrape().text.splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines}
