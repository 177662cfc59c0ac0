"""What was found, as lines for people and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from edge_client.doctor.finding import VERDICTS, Finding, Verdict

STYLES: dict[Verdict, str] = {"ok": "green", "warning": "yellow", "fault": "bold red", "skipped": "dim"}
VERDICT_WIDTH = max(map(len, VERDICTS)) + 2
ABOUT_WIDTH = 20


def as_line(finding: Finding) -> Text:
    """The verdict in its colour, what it is about, and the rest."""
    verdict = f"{finding.verdict:<{VERDICT_WIDTH}}"
    return Text.assemble(
        (verdict, STYLES[finding.verdict]), f"{finding.about:<{ABOUT_WIDTH}} ", " ".join(finding.line.split())
    )


def show(finding: Finding, console: Console) -> None:
    """One line, however long it is: it may be searched for, or copied into a report."""
    console.print(as_line(finding), soft_wrap=True)


def summary(findings: Sequence[Finding]) -> str:
    """How many of each, in a sentence."""
    counts = Counter(finding.verdict for finding in findings)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    return f"{told}: {_meaning(counts)}"


def _meaning(counts: Counter[Verdict]) -> str:
    if counts["fault"]:
        return "mend the faults first, from the top: later ones often come of earlier ones"
    return "all works, and could be better" if counts["warning"] else "all is well"


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Everything, for programs. ``healthy`` is what the exit code says."""
    counts = Counter(finding.verdict for finding in findings)
    return {
        "healthy": is_healthy(findings),
        "counts": {verdict: counts[verdict] for verdict in VERDICTS},
        "findings": [asdict(finding) for finding in findings],
    }


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether there is no fault."""
    return all(finding.verdict != "fault" for finding in findings)
