"""Everything about one decision: what was asked, what each backend promised, what was chosen and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edge_client.route.explain import ABSENT, ms
from routing.policy import DeviceState, Prospect, Question, worth_sec
from routing.record import PlacementRecord


def report(record: PlacementRecord) -> RenderableType:
    """All that is known of a turn, as tables."""
    return Lines(_title(record), prospects_table(record), _choice(record), hindsight_table(record), *_events(record))


def as_json(record: PlacementRecord) -> dict[str, Any]:
    """The same as plain values: the record, and what can be told from it in hindsight."""
    regrets = {"regret_sec": record.regret_sec, "left_the_device": record.left_the_device}
    known = {name: value for name, value in asdict(record).items() if name != "decided_at"}  # it was not written down
    return {**known, **regrets, "trace_id": record.trace_id or None, "keeps_privacy": record.keeps_privacy}


def _title(record: PlacementRecord) -> str:
    at = datetime.fromtimestamp(record.at, UTC).isoformat(sep=" ", timespec="milliseconds")
    return (
        f"[bold]{escape(record.turn_id)}[/], turn {record.index} of {escape(record.session_id)}, over at {at}\n"
        f"question: {_question(record.question)}\n"
        f"device: {_device(record.device)}; asked {ms(record.committed_after_sec)} ms before the turn's end"
        + (f"\ntrace {record.trace_id}" if record.trace_id else "")
    )


def _question(question: Question) -> str:
    wishes = {
        "[bold]stays on the device[/]": question.stays_here,
        "needs tools": question.needs_tools,
        "a given text": question.is_script,
        "wants knowledge": question.wants_knowledge,
        "wants a long answer": question.wants_long_answer,
        f"in {question.language}": question.language is not None,
    }
    return ", ".join([f"{question.speech_sec:.1f} s of speech", *(wish for wish, has in wishes.items() if has)])


def _device(state: DeviceState) -> str:
    battery = "on mains" if state.battery is None else f"battery at {state.battery:.0%}"
    return f"{state.load:.0%} busy, {battery}"


def prospects_table(record: PlacementRecord) -> Table:
    """What was known of each backend when it was decided."""
    table = Table(title="Before, in ms", title_justify="left")
    table.add_column("")
    headings = "asked ago,p50,p90,p99,network,jitter,queue,failure,worth,turns known,predicted wait".split(",")
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("state")
    for prospect in record.prospects:
        predicted = ms(record.choice.predicted_sec.get(prospect.name))
        table.add_row(escape(prospect.name), *_promises(prospect), predicted, escape(_state(record, prospect)))
    return table


def _promises(prospect: Prospect) -> tuple[str, ...]:
    response = (prospect.response.quantile(level) for level in (0.5, 0.9, 0.99))
    times = (prospect.asked_ago_sec, *response, prospect.rtt_sec, prospect.jitter_sec, prospect.queue_wait_sec)
    worth = ms(worth_sec(prospect.traits))
    return (*map(ms, times), f"{prospect.failure:.1%}", worth, f"{prospect.evidence:.1f}")


def _state(record: PlacementRecord, prospect: Prospect) -> str:
    obstacle = record.choice.passed_over.get(prospect.name) or prospect.why_not
    return obstacle or ("ready" if prospect.is_ready else "may answer")


def _choice(record: PlacementRecord) -> str:
    choice = record.choice
    net = f", then [bold]{escape(choice.second)}[/]" if choice.second else ""
    patience = f" until {ms(choice.patience_sec)} ms after the turn's end" if choice.patience_sec else ""
    return f"policy {record.policy}: [bold]{escape(choice.first)}[/]{patience}{net}: {escape(choice.reason)}"


def hindsight_table(record: PlacementRecord) -> Table:
    """What each backend did, and what choosing it would have cost."""
    table = Table(title="After, in ms", title_justify="left")
    table.add_column("")
    for heading in ("from asking", "wait", "wait less worth", "wasted work", "wasted sound"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for name in dict.fromkeys((*record.outcome.opened, *record.outcome.arrivals)):
        table.add_row(escape(name), *_what_came(record, name), "spoke" if name == record.outcome.backend else "")
    return table


def _what_came(record: PlacementRecord, name: str) -> tuple[str, ...]:
    arrival, abandoned = record.outcome.arrivals.get(name), record.abandoned_after_sec(name)
    shown = f"> {ms(abandoned)}" if abandoned is not None else ms(arrival)
    wait, prospect = record.waited_sec(name), record.prospect(name)
    burden = None if wait is None or prospect is None else wait - worth_sec(prospect.traits)
    waste = record.outcome.waste.get(name)
    wasted = (ms(waste.work_sec), ms(waste.sound_sec)) if waste else (ABSENT, ABSENT)
    return (shown, ms(wait), ms(burden), *wasted)


def _events(record: PlacementRecord) -> Iterator[str]:
    outcome = record.outcome
    for switch in outcome.switches:
        spoke = f"went on after {switch.told_sec:.1f} s for" if switch.told_sec > 0 else "spoke instead of"
        yield f"{escape(switch.backend)} {spoke} {escape(switch.instead_of)}: {escape(switch.why)}"
    first = f"first sound {ms(outcome.first_sound_sec)} ms after the turn's end" if outcome.backend else "no sound"
    yield f"{first}; {outcome.ended}; regret {ms(record.regret_sec)} ms; {_privacy(record)}"


def _privacy(record: PlacementRecord) -> str:
    went = ", ".join(record.left_the_device)
    if not record.keeps_privacy:
        return f"[bold red]private, and LEFT THE DEVICE for {escape(went)}[/]"
    if record.question.stays_here:
        return "private, and nobody but the device was told of it"
    return f"told to {escape(went)}" if went else "never left the device"
