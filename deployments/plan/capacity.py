"""The tables of k8s/CAPACITY.md, reckoned anew: ``python -m deployments.plan.capacity`` writes them into the file.

Between ``<!-- begin: NAME -->`` and ``<!-- end -->`` stands what is made here; all else is prose. A test compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from deployments.plan.deployment import Outcome, play
from deployments.plan.needs import Needs, most_slots, needs
from deployments.plan.report import tables
from deployments.plan.settings import PlanSettings
from deployments.plan.traffic import IPV4, RTCP_SHARE, RTP, RTP_EXTENSION, SRTP_TAG, TURN_CHANNEL, UDP, traffic
from routing.report_page import Cell, shown

FILE = Path("k8s/CAPACITY.md")
SEED = 1
PART = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
PLAYED = ("felt", "taken", "paid")  # parts that must be simulated

# Of LFM2.5-Audio-1.5B: six layers of attention with keys and values of 8 heads of 64 in two bytes, and ten of
# convolution with two columns of 2048; its weights in bfloat16, and the detokenizer's in float32.
KV_BYTES_PER_POSITION = 6 * 2 * 8 * 64 * 2
CONV_BYTES = 10 * 2 * 2048 * 2
WEIGHT_BYTES = 2_940_723_992 + 314_137_512
POSITIONS, SESSIONS_KEPT = 4096, 64  # defaults of engine.slot_positions and engine.slots
STEPS = ((0.004, 0.0001), (0.016, 0.0005), (0.030, 0.001))  # examples of a step's cost, in seconds: base and row

type Rows = Sequence[Sequence[Cell]]


def markdown(headings: Sequence[str], rows: Rows) -> str:
    """A table, the first column to the left."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *([shown(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _with_marks(rows: Rows) -> str:
    """Name, figure, how, and whether that was measured."""
    lines = [["", "figure", "how", ""], ["---", "---:", "---", "---"], *([shown(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# -- of one ------------------------------------------------------------------------------------------------------------


def packet(settings: PlanSettings) -> str:
    """The bytes of a packet, and the bits of a call."""
    of_call, bits = traffic(settings), settings.traffic.opus_bits_per_sec
    payload = bits / 400
    sums = f"{payload:.0f} + {RTP} + {RTP_EXTENSION} + {SRTP_TAG} + {UDP} + {IPV4}"
    kilo = {name: getattr(of_call, name) / 1000 for name in ("up", "down", "relayed", "to_cloud", "from_cloud")}
    told = 1 - settings.calls.private_share
    return _with_marks(
        [
            ["Opus in a packet, bytes", payload, f"{bits:.0f} bit/s / 8 / 50 packets a second", "measured"],
            ["packet on the wire, bytes", of_call.packet_bytes, f"{sums}: RTP, extension, SRTP, UDP, IPv4", "derived"],
            ["from a caller, kbit/s", kilo["up"], f"× 8 × 50 × {1 + RTCP_SHARE:g} for RTCP", "derived"],
            ["to a caller, kbit/s", kilo["down"], "the same: silence is sent, too", "derived"],
            [
                "through a relay, kbit/s",
                kilo["relayed"],
                f"both ways, in and out; {TURN_CHANNEL} bytes more",
                "derived",
            ],
            ["edge to replica, kbit/s", kilo["to_cloud"], f"{told:.2f} × share speaking × 16,000 × 16 bit", "derived"],
            [
                "replica to edge, kbit/s",
                kilo["from_cloud"],
                f"{told:.2f} × share replying × 24,000 × 16 bit",
                "derived",
            ],
        ]
    )


def turn(settings: PlanSettings) -> str:
    """The seconds of a turn."""
    calls, first_sec = settings.calls, settings.first_sound_sec
    sums = f"{calls.think.mean:.2f} + {calls.speech.mean:.2f} + {calls.reply.mean:.2f}"
    pause = f"{settings.turn_taking.pause_sec:g} + {max(settings.head_start_sec, first_sec):.2f}"
    ahead = settings.replicas.ahead_sec
    return _with_marks(
        [
            ["from one reply's end to the next, s", settings.cycle_sec, f"{sums} + {pause}", "assumed"],
            ["first sound of a replica, s", first_sec, "prompt + 7 steps, as full as is meant", "assumed"],
            ["slot taken, s", settings.slot_sec, f"first sound + {calls.reply.mean:.2f} − {ahead:g} ahead", "derived"],
            ["turns a second, by session", 1 / settings.cycle_sec, f"1 / {settings.cycle_sec:.2f}", "derived"],
            [
                "slots in use, by session",
                needs(settings, 1).slots,
                f"{1 - calls.private_share:.2f} × {settings.slot_sec:.2f} / {settings.cycle_sec:.2f}",
                "derived",
            ],
        ]
    )


def steps(settings: PlanSettings) -> str:
    """How many slots a step allows, for several costs of a step."""
    by_slot = settings.autoscaling.occupancy / needs(settings, 1).slots
    rows: list[list[Cell]] = []
    for base, row in STEPS:
        slots = most_slots(base, row)
        rows.append([f"{1000 * base:g} and {1000 * row:g}", slots, by_slot * slots])
    planned = settings.replicas
    costs = f"{1000 * planned.step_base_sec:g} and {1000 * planned.step_row_sec:g}, as planned"
    rows.append([costs, planned.slots, by_slot * planned.slots])
    return markdown(["base and by reply, ms", "slots", "sessions by GPU"], rows)


def memory(_: PlanSettings) -> str:
    """Of a GPU."""
    mib, gib = 2**20, 2**30
    kept = POSITIONS * KV_BYTES_PER_POSITION + CONV_BYTES
    return _with_marks(
        [
            ["keys and values, KiB by position", KV_BYTES_PER_POSITION / 1024, "6 × 2 × 8 × 64 × 2 bytes", "derived"],
            ["a session, MiB", kept / mib, f"{POSITIONS} positions and the convolutions' state", "derived"],
            [
                "sessions remembered, GiB",
                SESSIONS_KEPT * kept / gib,
                f"{SESSIONS_KEPT} of them (`engine.slots`)",
                "derived",
            ],
            ["weights, GiB", WEIGHT_BYTES / gib, "the sizes of the published files", "derived"],
            [
                "together, GiB",
                (SESSIONS_KEPT * kept + WEIGHT_BYTES) / gib,
                "and twice the weights while loading",
                "derived",
            ],
        ]
    )


def edge(settings: PlanSettings) -> str:
    """Of one pod."""
    gateways = settings.gateways
    calls = gateways.scaling.target_share * gateways.places
    private, cycle_sec = settings.calls.private_share, settings.cycle_sec
    of_turn = (gateways.turn_core_sec + private * gateways.device_core_sec) / cycle_sec
    sums = f"({gateways.turn_core_sec:g} + private {private:g} × {gateways.device_core_sec:g}) / {cycle_sec:.2f}"
    each = gateways.session_cores + gateways.hearing_cores + of_turn
    pod = needs(settings, calls)
    return _with_marks(
        [
            ["media, cores by call", gateways.session_cores, "README: 1.28 % at 30 calls that talk", "measured"],
            [
                "listening, cores by call",
                gateways.hearing_cores,
                "`antiphon load --steps`, a sixteenth of 16 calls",
                "measured",
            ],
            ["understanding, cores by call", of_turn, sums, "derived"],
            ["together, cores by call", each, "the sum", "derived"],
            ["calls by pod", calls, f"{gateways.scaling.target_share:g} × {gateways.places} places", "assumed"],
            ["cores by pod", pod.pod_cores, f"of the {gateways.cores:g} that it requests", "derived"],
            [
                "memory by pod, MiB",
                1024 * pod.gateway_gib,
                f"{gateways.base_mib:g} + calls × {gateways.session_mib:g}",
                "derived",
            ],
        ]
    )


# -- of many -----------------------------------------------------------------------------------------------------------

NEEDED: Mapping[str, tuple[Callable[[Needs], Cell], str]] = {
    "turns a second": (lambda need: need.turns_per_sec, "sessions / cycle"),
    "slots in use": (lambda need: round(need.slots), "turns to the cloud × slot seconds (Little)"),
    "replicas": (lambda need: need.replicas, "slots in use / (occupancy × slots)"),
    "GPUs": (lambda need: round(need.gpus), "one each"),
    "replicas beside them for chance": (lambda need: need.spare_replicas, "of two deviations, √slots each"),
    "edge pods": (lambda need: need.gateways, "sessions / calls by pod"),
    "cores of edges": (lambda need: round(need.gateway_cores), "sessions × cores by call"),
    "memory of edges, GiB": (lambda need: round(need.gateway_gib), "pods × base + sessions × each"),
    "to callers, Gbit/s": (lambda need: need.egress_bits / 1e9, "sessions × kbit/s"),
    "from callers, Gbit/s": (lambda need: need.ingress_bits / 1e9, "likewise"),
    "edges and replicas, Gbit/s": (lambda need: need.cloud_bits / 1e9, "both ways, within the cluster"),
    "calls through TURN": (lambda need: round(need.relayed_calls), "the share that is assumed"),
    "relayed, Gbit/s": (lambda need: need.relay_bits / 1e9, "calls × kbit/s through a relay"),
    "TURN relays": (lambda need: need.relays, "by ports or by Gbit/s, whichever is more"),
    "spans a second": (lambda need: round(need.spans_per_sec), "turns × spans by turn"),
    "spans a second after sampling": (lambda need: round(need.kept_spans_per_sec), "× share kept"),
    "collectors": (lambda need: need.collectors, "spans before sampling / spans by collector"),
    "cost an hour, GPUs": (lambda need: need.cost.gpus, "GPUs × example price"),
    "cost an hour, all": (lambda need: need.cost.total, "with cores, memory and egress"),
}


def scales(settings: PlanSettings) -> str:
    """Every size, at its busiest time."""
    needed = [needs(settings, scale.sessions) for scale in settings.scales]
    rows = [[name, *(figure(need) for need in needed), how] for name, (figure, how) in NEEDED.items()]
    return markdown(["at the busiest time", *(scale.name for scale in settings.scales), "how"], rows)


def cells(settings: PlanSettings) -> str:
    """How each size is cut."""
    rows: list[list[Cell]] = []
    for scale in settings.scales:
        count = scale.cells(settings.day.hours)
        each = scale.all_cells_sessions(settings.day.hours) / count
        need = needs(settings, each)
        rows.append([scale.name, count, scale.regions, round(each), need.replicas, need.gateways])
    return markdown(["", "cells", "regions", "sessions by cell", "replicas by cell", "edge pods by cell"], rows)


PARTS: Mapping[str, Callable[[PlanSettings], str]] = {
    "packet": packet,
    "turn": turn,
    "steps": steps,
    "memory": memory,
    "edge": edge,
    "scales": scales,
    "cells": cells,
}


def played(settings: PlanSettings, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The parts that are simulated."""
    felt, taken, _, _, paid = tables(settings, outcomes)
    return {
        name: markdown(table.headings, [[row.name, *row.cells] for row in table.rows])
        for name, table in zip(PLAYED, (felt, taken, paid), strict=True)
    }


def filled(text: str, parts: Mapping[str, str]) -> str:
    """The text with these parts in their places; other parts stay as they are."""
    return PART.sub(lambda found: found[1] + parts[found[2]] + found[3] if found[2] in parts else found[0], text)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what must be simulated.")] = False,
) -> None:
    """Write the tables anew."""
    settings = PlanSettings()
    parts = {name: part(settings) for name, part in PARTS.items()}
    if not quick:
        parts |= played(settings, play(settings, seed=SEED))
    FILE.write_text(filled(FILE.read_text("utf-8"), parts), "utf-8")


if __name__ == "__main__":
    typer.run(main)
