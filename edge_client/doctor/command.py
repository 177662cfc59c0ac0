"""What `antiphon doctor` does: look at everything, tell each finding as it comes, and sum up."""

from __future__ import annotations

import json
from collections.abc import Callable

from rich.console import Console

from edge_client.doctor.check import examine
from edge_client.doctor.examination import Visit, plan
from edge_client.doctor.finding import Finding
from edge_client.doctor.report import as_json, is_healthy, show, summary
from edge_client.terminal import telling

type Tell = Callable[[Finding], None]


async def doctor(visit: Visit, console: Console, *, as_json_only: bool = False) -> bool:
    """Whether there is no fault. With ``as_json_only`` nothing is printed but JSON, at the end."""
    if as_json_only:
        findings = await findings_of(visit, tell=lambda finding: None, progress=lambda line: None)
        console.print_json(json.dumps(as_json(findings)))
    else:
        findings = await _told(visit, console)
    return is_healthy(findings)


async def _told(visit: Visit, console: Console) -> list[Finding]:
    if not console.is_terminal:  # progress is for people; a log holds the findings
        findings = await findings_of(visit, tell=lambda each: show(each, console), progress=lambda line: None)
    else:
        with telling(console) as progress:
            findings = await findings_of(visit, tell=lambda each: show(each, console), progress=progress)
    console.print(f"\n{summary(findings)}", markup=False)
    return findings


async def findings_of(visit: Visit, *, tell: Tell, progress: Callable[[str], None]) -> list[Finding]:
    """Everything there is to say, without any secret. ``tell`` hears of each as it comes."""
    planned = await plan(visit)

    def tell_safely(finding: Finding) -> None:
        tell(finding.without(planned.secrets))

    for finding in planned.findings:
        tell_safely(finding)
    found = await examine(planned.groups, tell=tell_safely, progress=progress)
    return [finding.without(planned.secrets) for finding in (*planned.findings, *found)]
