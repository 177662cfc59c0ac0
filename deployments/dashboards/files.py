"""What is written, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deployments.dashboards.burn_rules import rules
from deployments.dashboards.hops import HOPS
from deployments.dashboards.machines import MACHINES
from deployments.dashboards.operator_rules import operator_rules, read_rules
from deployments.dashboards.overview import OVERVIEW
from deployments.dashboards.router import ROUTER
from deployments.dashboards.turn import TURN

ROOT: Final = Path(__file__).parent.parent.parent
FOLDER: Final = Path("configs/telemetry")  # in the repository
OPERATOR: Final = Path("k8s/components/monitoring/rules.yaml")
BOARDS: Final = (OVERVIEW, TURN, HOPS, MACHINES, ROUTER)


def files() -> Mapping[Path, str]:
    """Each file's content, by its path in the repository."""
    boards = {FOLDER / "grafana" / "dashboards" / f"{board.name}.json": board.json() for board in BOARDS}
    written = {FOLDER / "rules" / "objectives.yaml": rules(), **boards}
    contents = read_rules(ROOT / FOLDER / "rules") | {"objectives": rules()}
    return {**written, OPERATOR: operator_rules(contents)}
