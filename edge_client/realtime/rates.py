"""How often each of many strangers asks, in bounded memory. Sans-I/O."""

from __future__ import annotations

from collections import OrderedDict

from edge_client.webrtc.budget import Budget

MOST_KNOWN = 10_000  # strangers at a time, a few hundred bytes each; whoever has asked least lately is forgotten


class Rates:
    """A budget for each name. Time is passed in, in seconds.

    Whoever is forgotten begins anew with a full budget. To be forgotten on purpose, one needs so many other names that
    asking under these would have been the easier way.
    """

    def __init__(self, *, per_sec: float, saved: float, most_known: int = MOST_KNOWN) -> None:
        self._per_sec = per_sec
        self._saved = saved
        self._most_known = most_known
        self._budgets: OrderedDict[str, Budget] = OrderedDict()

    def spend(self, name: str, now: float, units: float = 1.0) -> float:
        """Take so many units; returns in how many seconds they will be there, 0 where they were."""
        if not self._per_sec:
            return 0.0
        budget = self._budgets.setdefault(name, Budget(per_sec=self._per_sec, saved=self._saved))
        self._budgets.move_to_end(name)
        if len(self._budgets) > self._most_known:
            self._budgets.popitem(last=False)
        return 0.0 if budget.spend(now, units) else budget.wait_sec(now, units)

    def charge(self, name: str, now: float, units: float) -> None:
        """Take so many units; where fewer are left they are owed."""
        if name in self._budgets:
            self._budgets[name].charge(now, units)

    def __len__(self) -> int:
        return len(self._budgets)
