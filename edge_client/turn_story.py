"""What happened in a turn, moment by moment, as the edge saw it; and the same as phases.

Moments are written down where they happen, which costs nothing, and become spans when the turn is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_client.caller_report import CallerReport
from routing.telemetry import names
from routing.telemetry.phase import Attribute, Phase

type Moment = float | None  # in event loop time; None before it has come


class Judgement(NamedTuple):
    """A pause was judged by its sound: how complete the turn seemed, from 0 to 1."""

    begin: float
    end: float
    completeness: float


class Interruption(NamedTuple):
    """The user spoke into the reply: when the first sample of it had come, and when the reply had fallen silent."""

    noticed: float
    silent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """How a caller's sound came through so far. ``delay_sec`` is of late, beyond the fastest packet there was."""

    lost_packets: int = 0
    concealed_sec: float = 0.0
    delay_sec: float = 0.0


@dataclass(slots=True, kw_only=True)
class TurnStory:
    """A turn from its first sound, or from the request for a reply, until its reply was heard out, cut or dropped."""

    opened: float  # the first sample of it reached us, or the reply was asked for
    speech_end: Moment = None  # the last sample of speech did
    decided: Moment = None  # end-of-turn decision, or the request for a reply
    has_floor: Moment = None  # no other reply was being spoken any more
    first_sound: Moment = None  # the reply's first sound, or its first words where it has none, could be told
    first_audio: Moment = None  # the first packet of it left
    over: Moment = None
    is_heard_out: bool = False
    is_cut: bool = False  # somebody stopped the reply
    end_reason: str | None = None
    pauses: int = 0
    resumes: int = 0
    judgements: list[Judgement] = field(default_factory=list)
    text_score: float | None = None
    interruption: Interruption | None = None
    starved: int = 0  # samples of silence in the middle of the reply
    reception_before: Reception | None = None
    reception_after: Reception | None = None

    def hear_as(self, other: TurnStory) -> None:
        """What the user said is what was heard in another turn: its reply is asked for anew."""
        self.speech_end, self.end_reason = other.speech_end, other.end_reason
        self.pauses, self.resumes = other.pauses, other.resumes
        self.judgements, self.text_score = other.judgements, other.text_score
        self.reception_before, self.reception_after = other.reception_before, other.reception_after

    def waits_ms(self) -> dict[str, float]:
        """The waits that are over, by their names in the design."""
        waits = {
            "endpoint_wait": _wait_ms(self.speech_end, self.decided),
            "ttfa": _wait_ms(self.decided, self.first_audio),
        }
        return {name: wait for name, wait in waits.items() if wait is not None}

    def first_told(self, now: float) -> None:
        """Something of the reply can be told; the first time counts."""
        self.first_sound = now if self.first_sound is None else self.first_sound


def _wait_ms(start: Moment, end: Moment) -> float | None:
    return None if start is None or end is None else (end - start) * 1000


# -- as phases ---------------------------------------------------------------------------------------------------------


def edge_phases(story: TurnStory) -> Iterator[Phase]:
    """What the edge itself saw, in the order of its beginning. Those that wait for each other leave no hole."""
    if story.speech_end is not None:
        yield from _hearing(story, story.speech_end)
    if story.decided is None:
        return
    free = max(story.decided, story.has_floor or story.decided)
    if free > story.decided:
        yield Phase(name=names.FLOOR_WAIT, begin=story.decided, end=free)
    yield from _answering(story, free)
    if story.interruption:
        noticed, silent = story.interruption
        stop_ms = {names.INTERRUPT_STOP_MS: round((silent - noticed) * 1000)}
        yield Phase(name=names.INTERRUPT, begin=noticed, end=silent, attributes=stop_ms)


def _hearing(story: TurnStory, speech_end: float) -> Iterator[Phase]:
    speech_begin = min(story.opened, speech_end)
    yield Phase(name=names.RECEIVE, begin=speech_begin, end=speech_end, attributes=_received(story))
    speech = {names.SPEECH_SEC: round(speech_end - speech_begin, 3)}
    yield Phase(name=names.VAD_SEGMENT, begin=speech_begin, end=speech_end, attributes=speech)
    if story.decided is not None:
        yield Phase(
            name=names.ENDPOINT_WAIT,
            begin=speech_end,
            end=story.decided,
            attributes=_signals(story),
            children=tuple(_judged(judgement) for judgement in story.judgements if judgement.begin >= speech_end),
        )


def _received(story: TurnStory) -> Mapping[str, Attribute]:
    before, after = story.reception_before, story.reception_after
    if before is None or after is None or after.lost_packets < before.lost_packets:  # another connection, counted anew
        return {}
    return {
        names.JITTER_DELAY_MS: round(after.delay_sec * 1000, 1),
        names.CONCEALED_MS: round((after.concealed_sec - before.concealed_sec) * 1000),
        names.PACKETS_LOST: after.lost_packets - before.lost_packets,
    }


def _signals(story: TurnStory) -> Mapping[str, Attribute]:
    return {
        names.ENDPOINT_REASON: story.end_reason,
        names.ENDPOINT_PAUSES: story.pauses,
        names.ENDPOINT_RESUMES: story.resumes,
        names.ENDPOINT_SOUND_SCORE: story.judgements[-1].completeness if story.judgements else None,
        names.ENDPOINT_TEXT_SCORE: story.text_score,
    }


def _judged(judgement: Judgement) -> Phase:
    score = {names.ENDPOINT_SOUND_SCORE: round(judgement.completeness, 3)}
    return Phase(name=names.ENDPOINT_JUDGE, begin=judgement.begin, end=judgement.end, attributes=score)


def _answering(story: TurnStory, free: float) -> Iterator[Phase]:
    if story.first_sound is None:
        return
    begins = max(free, story.first_sound)
    yield Phase(name=names.ANSWER_WAIT, begin=free, end=begins)
    if story.first_audio is None:
        return
    yield Phase(name=names.FIRST_PACKET, begin=begins, end=max(begins, story.first_audio))
    if story.over is not None:
        yield Phase(name=names.PLAYOUT, begin=story.first_audio, end=max(story.over, story.first_audio))


def caller_phases(story: TurnStory, report: CallerReport) -> Iterator[Phase]:
    """What the caller's program measured, between the moments that the edge knows; ``report`` is in event loop time.

    Clocks of two machines agree only so well: a moment of the caller's never comes before its cause at the edge.
    """
    if report.speech_end is not None:
        yield from _falling_silent(story, report, report.speech_end)
    if report.heard is None or story.first_audio is None:
        return
    heard = max(report.heard, story.first_audio)
    arrived = _arrival(report, earliest=story.first_audio, latest=heard)
    way = {names.ROUND_TRIP_MS: _ms(report.round_trip_sec), names.PACKETS_LOST: report.packets_lost}
    yield Phase(name=names.NETWORK_DOWNLINK, begin=story.first_audio, end=arrived, attributes=way)
    yield Phase(
        name=names.FIRST_PLAYOUT,
        begin=arrived,
        end=heard,
        attributes={
            names.JITTER_DELAY_MS: _ms(report.jitter_buffer_sec),
            names.OUTPUT_MS: _ms(report.output_sec),
            names.CONCEALED_MS: _ms(report.concealed_sec),
            **_clock(report),
        },
        children=_buffered(report, arrived, heard),
    )


def _falling_silent(story: TurnStory, report: CallerReport, speech_end: float) -> Iterator[Phase]:
    """Where the caller says when a turn is over, only they know how long before that the speech was."""
    if story.speech_end is not None:
        name, end = names.NETWORK_UPLINK, story.speech_end
    elif story.decided is not None:
        name, end = names.ENDPOINT_WAIT, story.decided
    else:
        return
    yield Phase(name=name, begin=min(speech_end, end), end=end, attributes=_clock(report))


def _arrival(report: CallerReport, *, earliest: float, latest: float) -> float:
    """When the first packet came; where that is not known, as long before it was heard as sound is kept back."""
    arrived = latest - (report.jitter_buffer_sec or 0.0) if report.arrived is None else report.arrived
    return min(max(arrived, earliest), latest)


def _buffered(report: CallerReport, arrived: float, heard: float) -> tuple[Phase, ...]:
    if not report.jitter_buffer_sec:
        return ()
    end = min(arrived + report.jitter_buffer_sec, heard)
    return (Phase(name=names.JITTER_BUFFER, begin=arrived, end=end),)


def _clock(report: CallerReport) -> dict[str, Attribute]:
    return {
        names.CLOCK_OFFSET_MS: _ms(report.clock_offset_sec),
        names.CLOCK_UNCERTAINTY_MS: _ms(report.clock_uncertainty_sec),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def voice_to_voice_sec(story: TurnStory, report: CallerReport | None) -> float | None:
    """As the caller measured it, or from arrival to departure where it did not; None where nothing was heard."""
    if report and report.speech_end is not None and report.heard is not None:
        return report.heard - report.speech_end
    if story.speech_end is None or story.first_audio is None:
        return None
    return story.first_audio - story.speech_end
