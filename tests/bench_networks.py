"""How long a caller waits for an answer over networks that lose and delay: the whole of Antiphon, with its models.

Run ``python -m tests.bench_networks`` on an idle machine; it needs the model files and takes about six minutes. One
edge is started, and called in turns over each network, so that all see the same machine. Loss and delay are the same
in both directions and are made around the caller's own sockets; the caller is a probe in this process. Over the network
of 1 % loss the median should be at most 1.1 times that of the clean one; the others have delays of their own, twice
of which is in every V2V.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from edge_client import event_loop
from edge_client.caller.command import BENCH_QUESTIONS, read_questions, started_edge
from edge_client.caller.dialect import OPENAI
from edge_client.caller.probe import Probe, ProbePlan
from edge_client.caller.probe_report import ProbedTurn
from edge_client.caller.question import Question
from edge_client.caller.report import conditions
from edge_client.network.profile import CLEAN, LTE, WIFI, NetworkProfile
from edge_client.quantiles import quantiles

LOSSY = NetworkProfile(name="1 % lost", loss=0.01)
NETWORKS = (CLEAN, LOSSY, WIFI, LTE)

type Turns = dict[str, list[ProbedTurn]]


async def measure(networks: Sequence[NetworkProfile], questions: Sequence[Question], *, rounds: int) -> Turns:
    """All questions over each network, ``rounds`` times."""
    console = Console()
    turns: Turns = {network.name: [] for network in networks}
    async with started_edge(console) as edge:
        for seed in range(rounds):
            for network in networks:
                plan = ProbePlan(url=edge.url, dialect=OPENAI, turns=len(questions), network=network, seed=seed)
                probe = Probe(plan, questions, tell=console.print)
                await probe.run()
                turns[network.name] += probe.report(conditions()).turns
    return turns


def table(turns: Turns) -> Table:
    shown = Table(
        "network", "turns", "missed", "early", "V2V p50 ms", "p95", "max", "÷ clean", "starved ms", "concealed"
    )
    clean = quantiles(_waits(turns[CLEAN.name]))
    for name, asked in turns.items():
        shown.add_row(name, *_counts(asked), *_figures(_waits(asked), clean.median if clean else 1.0), *_heard(asked))
    return shown


def _waits(turns: Sequence[ProbedTurn]) -> list[float]:
    return [turn.v2v_ms for turn in turns if turn.v2v_ms is not None]


def _counts(turns: Sequence[ProbedTurn]) -> list[str]:
    return [str(len(turns)), str(sum(turn.missed for turn in turns)), str(sum(turn.early for turn in turns))]


def _figures(waits: Sequence[float], clean: float) -> list[str]:
    found = quantiles(waits)
    if found is None:
        return ["-"] * 4
    return [f"{found.median:.0f}", f"{found.p95:.0f}", f"{max(waits):.0f}", f"{found.median / clean:.2f}"]


def _heard(turns: Sequence[ProbedTurn]) -> list[str]:
    """Of the replies, in all; concealed are packets of 20 ms."""
    starved = sum(turn.starved_ms for turn in turns)
    concealed = sum(turn.packets.concealed for turn in turns)
    return [f"{starved:.0f}", f"{concealed}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="how often all questions are asked (default: 2)")
    arguments = parser.parse_args()
    beside = conditions()
    questions = read_questions((), BENCH_QUESTIONS)
    turns = event_loop.run(measure(NETWORKS, questions, rounds=arguments.rounds))
    Console(width=120).print(table(turns), f"{beside} at the start")


if __name__ == "__main__":
    main()
