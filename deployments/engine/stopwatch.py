"""Times a part of the work where it is done: on a GPU that is not where it is asked for."""

from __future__ import annotations

from time import perf_counter

import torch


class Stopwatch:
    """Runs from its making to `stop`. On a GPU it is the device that notes both moments, and nobody waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._moments = [self._note(device)]
        self._device = device

    def stop(self) -> None:
        self._moments.append(self._note(self._device))

    def seconds(self) -> float:
        """To be read when the step is over: on a GPU it waits until the device has come so far."""
        match self._moments:
            case [float(began), float(ended)]:
                return ended - began
            case [torch.cuda.Event() as began, torch.cuda.Event() as ended]:
                ended.synchronize()
                return float(began.elapsed_time(ended)) / 1000
        raise ValueError("the watch still runs")

    def _note(self, device: torch.device) -> float | torch.cuda.Event:
        if device.type != "cuda":
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        return event
