"""Whether an edge costs what a plan would say: ``python -m deployments.plan.validate load.json``.

The file is that of ``antiphon load --steps 1,10,30 --json``. What follows from its first and its last step must be
within 15 % of those in between. That the cloud's side behaves as the simulation says is tested against a real cluster
by ``pytest -m hostile tests/test_plan_validation.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.plan.measured import predictions, read_points
from routing.errors import AntiphonError

WITHIN = 0.15


def main(file: Annotated[Path, typer.Argument(help="What `antiphon load --steps … --json` has saved.")]) -> None:
    """Predict each step from the first and the last one, and compare. Exits with 1 beyond 15 %."""
    try:
        comparisons = predictions(read_points(file))
    except AntiphonError as error:
        typer.echo(f"antiphon: {error}", err=True)
        raise typer.Exit(1) from None
    if not comparisons:
        typer.echo(
            f"antiphon: {file}: expected at least three steps that are alike, to predict one by the others", err=True
        )
        raise typer.Exit(1)
    typer.echo(f"{'':20} {'sessions':>8} {'measured':>9} {'planned':>9} {'ratio':>6}")
    for row in comparisons:
        typer.echo(f"{row.name:20} {row.sessions:8.1f} {row.measured:9.3f} {row.planned:9.3f} {row.ratio:6.2f}")
    if any(abs(row.ratio - 1) > WITHIN for row in comparisons):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
