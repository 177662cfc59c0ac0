"""What became of turns, counted by who answered them."""

from __future__ import annotations

from edge_client.realtime.placements import Placements
from edge_client.realtime.statistics import added
from routing.contender import HERE, Contender
from routing.outlook import Outlook
from routing.policy import Choice, DeviceState, Question, Traits
from routing.record import Ending, Outcome, PlacementRecord, Switch
from tests.scripted import ScriptedBackend


def contender(name: str, traits: Traits) -> Contender:
    backend = ScriptedBackend()
    backend.name = name
    return Contender(backend, Outlook(name, traits))


def record(backend: str | None, *switches: Switch, ended: Ending = "told") -> PlacementRecord:
    return PlacementRecord(
        turn_id="turn",
        session_id="session",
        index=0,
        at=0.0,
        policy="hedged",
        question=Question(speech_sec=1.0),
        prospects=(),
        device=DeviceState(),
        choice=Choice(first="cloud", reason="better"),
        committed_after_sec=0.0,
        outcome=Outcome(backend=backend, first_sound_sec=0.1, ended=ended, switches=switches),
    )


def test_who_answered_and_whom_another_relieved() -> None:
    placements = Placements([contender("device", HERE), contender("cloud", Traits(is_remote=True))])
    placements.add(record("device"))
    placements.add(record("cloud", Switch(backend="device", instead_of="cloud", told_sec=1.0, why="stalled")))
    placements.add(record(None, ended="failed"))
    placements.add(record(None, ended="dropped"))
    told = placements.statistics(now=1.0)
    counts = {name: (each["answered"], each["relieved"]) for name, each in told["backends"].items()}
    assert counts == {"device": (1, 0), "cloud": (1, 1)}
    assert told["unanswered"] == 1


def test_how_a_backend_is_now() -> None:
    cloud = contender("cloud", Traits(is_remote=True))
    placements = Placements([cloud])
    cloud.outlook.note_round_trip(0.04, now=1.0)
    well = placements.statistics(now=1.0)["backends"]["cloud"]
    assert (well["why_not"], well["circuit"], well["round_trip_ms"]) == (None, None, 40.0)
    assert 0 < well["predicted_ms"]["p50"] < well["predicted_ms"]["p90"]
    cloud.outlook.note_silence(now=2.0)
    ill = placements.statistics(now=2.0)["backends"]["cloud"]
    assert (ill["why_not"], ill["circuit"]) == ("not connected", "open")


def test_two_workers_add_up_and_tell_of_trouble_in_either() -> None:
    well, ill = (contender("cloud", Traits(is_remote=True)) for _ in range(2))
    ill.outlook.note_silence(now=1.0)
    workers = [Placements([well]), Placements([ill])]
    for worker in workers:
        worker.add(record("cloud"))
    cloud = added(*(worker.statistics(now=1.0) for worker in workers))["backends"]["cloud"]
    assert (cloud["answered"], cloud["why_not"]) == (2, "not connected")
