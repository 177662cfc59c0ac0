"""What became of each decision: regret in hindsight, privacy that can be audited, and lines that come back whole."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from routing.errors import SettingsError
from routing.policy import Question
from routing.record import RecordError, RecordFile, RecordFileStatistics, as_json_line, from_json_line, recording
from tests.placements import record

# -- hindsight -------------------------------------------------------------------------------------------------------


def test_regret_counts_what_the_better_model_is_worth() -> None:
    # The cloud came 0.3 s after the turn's end and is worth 0.25 s; the device, after 0.1 s, is worth nothing.
    assert record().regret_sec == pytest.approx(0.05)


def test_there_is_no_regret_where_the_best_one_spoke() -> None:
    assert record(backend="cloud", first_sound_sec=0.3).regret_sec == 0.0


def test_who_waited_longer_than_its_backend_needed_regrets_the_difference() -> None:
    assert record(backend="cloud", first_sound_sec=0.5).regret_sec == pytest.approx(0.2)


def test_what_never_came_is_not_regretted() -> None:
    assert record(arrivals={"device": 0.2, "cloud": None}).regret_sec == 0.0


def test_where_nobody_spoke_there_is_nothing_to_compare() -> None:
    assert record(backend=None, first_sound_sec=None).regret_sec is None


def test_sound_that_was_held_was_there_at_once() -> None:
    assert record(arrivals={"device": 0.05}).waited_sec("device") == 0.0


# -- privacy ---------------------------------------------------------------------------------------------------------


def test_a_turn_that_stayed_on_the_device_shows_it() -> None:
    private = record(question=Question(speech_sec=1, stays_here=True), opened=("device",), arrivals={"device": 0.2})
    assert private.keeps_privacy
    assert private.left_the_device == ()


@pytest.mark.parametrize("opened", [("device", "cloud"), ("device", "stranger")])
def test_a_turn_that_should_have_stayed_accuses(opened: tuple[str, ...]) -> None:
    leaked = record(question=Question(speech_sec=1, stays_here=True), opened=opened, arrivals={})
    assert not leaked.keeps_privacy
    assert leaked.left_the_device == opened[1:]


def test_other_turns_may_leave() -> None:
    assert record().keeps_privacy
    assert record().left_the_device == ("cloud",)


# -- lines -----------------------------------------------------------------------------------------------------------


def test_a_line_comes_back_as_the_same_record() -> None:
    assert from_json_line(as_json_line(record())) == record()


def test_a_line_of_before_there_were_traces_is_read_as_well() -> None:
    document = json.loads(as_json_line(record()))
    for later in ("traceparent", "decided_sec", "decided_after_sec"):
        del document["placement"][later]
    assert from_json_line(json.dumps(document)) == replace(record(), traceparent="", decided_sec=0.0)


def test_a_moment_of_one_programs_clock_is_not_written() -> None:
    assert as_json_line(replace(record(), decided_at=5.0)) == as_json_line(record())


@pytest.mark.parametrize("traceparent", ["", "00-1-2-01", f"00-{'g' * 32}-{'0' * 16}-01"])
def test_what_names_no_trace_has_no_trace_id(traceparent: str) -> None:
    assert replace(record(), traceparent=traceparent).trace_id == ""


def test_a_line_is_one_line_of_plain_json() -> None:
    line = as_json_line(record())
    assert "\n" not in line
    assert json.loads(line)["placement"]["outcome"]["waste"]["cloud"] == {"work_sec": 0.3, "sound_sec": 1.2}


def test_a_line_formatted_by_others_is_read_as_well() -> None:
    assert from_json_line(json.dumps(json.loads(as_json_line(record())), indent=1)) == record()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", "line 7: expected a JSON object, got ''"),
        (b"\xff\x00", r"line 7: expected a JSON object, got b'\\xff\\x00'"),
        ("[1]", r"line 7: expected a JSON object, got \[1\]"),
        ("[" * 100_000, "line 7: expected a JSON object, got "),
        ('{"name": "span"}', "line 7: expected a record of the format antiphon.placement.1, got None"),
    ],
)
def test_a_foreign_line_is_told_apart(line: str | bytes, fault: str) -> None:
    with pytest.raises(RecordError, match=fault):
        from_json_line(line, number=7)


def damaged(path: str, value: object) -> str:
    document = json.loads(as_json_line(record()))
    *parents, last = path.split(".")
    place = document["placement"]
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("outcome.first_sound_sec", "soon", "'soon'"),
        ("outcome.ended", "well", "'well'"),
        ("prospects.1.traits.is_remote", "yes", "'yes'"),
        ("policy", "random", "'random'"),
        ("colour", "red", "'red'"),
        ("question.words", "something said", "'something said'"),
        ("index", None, "None"),
    ],
)
def test_a_fault_names_its_field(path: str, value: object, shown: str) -> None:
    with pytest.raises(RecordError) as fault:
        from_json_line(damaged(path, value), number=2)
    assert str(fault.value).startswith(f"line 2: {path}: ")
    assert str(fault.value).endswith(f"got {shown}")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("at", 1e300, "expected at to be seconds since 1970 up to the year 9999, got 1e.300"),
        ("prospects.0.response.values", [0.1], "expected 8 quantiles of the response of .*, got 1"),
    ],
)
def test_what_no_turn_can_have_had_is_refused(path: str, value: object, expected: str) -> None:
    with pytest.raises(RecordError, match=expected):
        from_json_line(damaged(path, value))


def test_a_missing_field_is_named() -> None:
    document = json.loads(as_json_line(record()))
    del document["placement"]["outcome"]["ended"]
    with pytest.raises(RecordError, match=r"line 1: outcome\.ended: Field required"):
        from_json_line(json.dumps(document))


# -- the file --------------------------------------------------------------------------------------------------------


async def test_what_was_added_is_in_the_file_when_it_is_closed(tmp_path: Path, nothing_left_behind: None) -> None:
    path = tmp_path / "placements.jsonl"
    records = [replace(record(), index=index) for index in range(50)]
    async with recording(path) as file:
        for each in records:
            file.add(each)
    assert file.statistics().written == 50
    lines = (await asyncio.to_thread(path.read_text)).splitlines()
    assert [from_json_line(line) for line in lines] == records


def test_a_file_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "placements.jsonl"
    for index in range(2):
        file = RecordFile(path)
        file.add(replace(record(), index=index))
        file.close()
    assert [from_json_line(line).index for line in path.read_text().splitlines()] == [0, 1]


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow")
    reader = os.open(tmp_path / "slow", os.O_RDONLY | os.O_NONBLOCK)  # a disk that takes nothing more at some point
    file = RecordFile(tmp_path / "slow", capacity=3)
    added = 200
    for _ in range(added):
        file.add(record())
    assert file.statistics().dropped > 0
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as lines:
        file._closed = True
        file._queue.put(None)
        read = lines.read().splitlines()
    file.close()
    counts = file.statistics()
    assert counts.written == len(read) == added - counts.dropped
    assert counts.waiting == 0


def test_after_the_end_records_are_dropped(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "placements.jsonl")
    file.close()
    file.add(record())
    file.close()
    assert file.statistics().dropped == 1


async def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path, nothing_left_behind: None) -> None:
    with pytest.raises(SettingsError, match=r"cannot write placements to .*: No such file or directory"):
        async with recording(tmp_path / "nowhere" / "placements.jsonl"):
            pass


def test_a_full_disk_costs_records_and_no_turn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = RecordFile(Path("/dev/full"))
    file.add(record())
    file.add(record())
    file.close()
    assert file.statistics().failed == 2
    assert len([logged for logged in caplog.records if logged.name == "routing.record"]) == 1


def test_a_disk_that_takes_half_a_line_leaves_the_lines_whole(tmp_path: Path) -> None:
    path, line = tmp_path / "placements.jsonl", as_json_line(record()) + "\n"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(line) * 3 // 2, limits[1]))
    try:
        file = RecordFile(path)
        file.add(record())
        file.add(record())
        file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.statistics() == RecordFileStatistics(written=1, waiting=0, dropped=0, failed=1)
    assert path.read_text() == line
