"""The bench tells what it measured, of both sides alike. How long anything takes is nobody's business here."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from deployments.engine.bench.__main__ import app
from deployments.engine.bench.bandwidth import Floor, floor_bytes, floor_sec
from deployments.engine.bench.caller import Listener
from deployments.engine.bench.endurance import measure_endurance
from deployments.engine.bench.load import Crowd, load_table, measure_load
from deployments.engine.bench.material import NO_CONTROLS, speech
from deployments.engine.bench.measure import Rhythm, alternate, count_operations, measure_turn
from deployments.engine.bench.memory_peak import tensor_bytes
from deployments.engine.bench.operations import OperationCounter
from deployments.engine.bench.ours import OurModel, engine_settings, load_ours
from deployments.engine.bench.quantiles import quantiles
from deployments.engine.bench.side import Clock, Side
from deployments.engine.bench.sizes import weight_count
from deployments.engine.bench.stock import StockModel, StockSide, load_stock
from deployments.engine.loading import load_engine
from deployments.engine.random_checkpoint import PRESETS
from routing.turns import AudioChunk, TextDelta
from tests.tiny_checkpoint import cached_checkpoint

pytestmark = pytest.mark.engine

CPU = torch.device("cpu")
RHYTHM = Rhythm(text_run=6, audio_run=12)
SPEECH = speech(0.5)


@pytest.fixture(scope="module")
def folder() -> Path:
    return cached_checkpoint("tiny", seed=0, boost=NO_CONTROLS)


@pytest.fixture(scope="module")
def stock(folder: Path) -> StockModel:
    return load_stock(folder, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def ours(folder: Path) -> OurModel:
    return load_ours(folder, 3, device=CPU, dtype=torch.float32)


# -- what is counted -------------------------------------------------------------------------------------------------


def test_work_is_counted_and_views_are_not() -> None:
    matrix = torch.ones(4, 4)
    with OperationCounter() as counter:
        (matrix.T.reshape(16) + 1).sum()
    assert (counter.launched, counter.host_syncs) == (3, 0)  # a copy, the addition, the sum


@pytest.mark.parametrize(
    "look",
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: bool(tensor.any()),
        lambda tensor: tensor.tolist(),
        lambda tensor: tensor.numpy(),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: tensor.nonzero(),
    ],
)
def test_whatever_the_host_waits_for_is_counted_once(look: Callable[[torch.Tensor], object]) -> None:
    tensor = torch.ones(3)
    with OperationCounter() as counter:
        look(tensor)
    assert counter.host_syncs == 1


def test_the_count_is_the_same_in_every_mode_of_autograd() -> None:
    layer, value = torch.nn.Linear(4, 4), torch.ones(2, 3, 4)
    counts = set()
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode(), OperationCounter() as counter:
            layer(value)
        counts.add(counter.launched)
    assert len(counts) == 1


def test_memory_of_tensors_is_counted_once_whatever_looks_at_it() -> None:
    before = tensor_bytes()
    weights = torch.zeros(1000, 1000)
    views = [weights[row] for row in range(10)]
    assert tensor_bytes() - before == 4_000_000
    assert len(views) == 10


# -- the two sides ---------------------------------------------------------------------------------------------------


def test_both_sides_get_the_same_turn(stock: StockModel, ours: OurModel) -> None:
    sides = StockSide(stock, SPEECH, dtype=torch.float32), ours.side(2, SPEECH)
    turns = [measure_turn(side, RHYTHM, cycles=2) for side in sides]
    assert len({(turn.first_position, turn.last_position) for turn in turns}) == 1
    assert turns[0].last_position - turns[0].first_position == 2 * sum(RHYTHM) - 1
    for turn in turns:
        assert len(turn.text_sec) == 2 * RHYTHM.text_run - 1  # the first token came with the prompt
        assert len(turn.audio_sec) == 2 * RHYTHM.audio_run
        assert all(step.codes > 0 and step.sound > 0 for step in turn.audio_sec)
        assert 0 < turn.first_text_sec < turn.first_audio_sec
        assert 0 < turn.cycle_sec(RHYTHM, sound=False) < turn.cycle_sec(RHYTHM, sound=True)


def test_more_callers_take_no_more_operations(stock: StockModel, ours: OurModel) -> None:
    theirs = count_operations(StockSide(stock, SPEECH, dtype=torch.float32), RHYTHM)
    one, three = (count_operations(ours.side(batch, SPEECH), RHYTHM) for batch in (1, 3))
    assert one.text == three.text
    assert one.audio.codes == three.audio.codes < theirs.audio.codes
    assert (one.text_syncs, one.audio_syncs) == (1, 1)
    assert theirs.text_syncs == 2


class Recorded:
    """A side that does nothing but remember that it had its turn."""

    batch = 1
    positions = 0

    def __init__(self, name: str, diary: list[str]) -> None:
        self.clock: Clock = lambda: 0.0
        self.name = name
        self._diary = diary

    def begin(self) -> None:
        self._diary.append(self.name)

    def text_step(self) -> None: ...

    def audio_step(self) -> float:
        return 0.0

    def end(self) -> None: ...


@pytest.mark.parametrize(("seconds", "rounds"), [(60.0, 3), (0.0, 2)])
def test_sides_take_turns_until_the_time_is_over(seconds: float, rounds: int) -> None:
    diary: list[str] = []
    sides: list[Side] = [Recorded("a", diary), Recorded("b", diary)]
    turns = list(alternate(sides, RHYTHM, rounds=3, least_rounds=2, seconds=seconds, cycles=1))
    assert diary == ["a", "b"] * rounds
    assert len(turns) == len(diary)


# -- sizes and floors ------------------------------------------------------------------------------------------------


def test_the_floor_counts_the_depthformer_once_for_each_codebook() -> None:
    weights = {
        "lfm.layers.0.feed_forward.w1.weight": 100,
        "lfm.embed_tokens.weight": 10,
        "depthformer.layers.0.operator.out_proj.weight": 3,
        "depth_linear.weight": 7,
        "depth_embeddings.1.to_logits.weight": 5,
        "depth_embeddings.1.embedding.weight": 1000,  # only looked up
        "conformer.layers.0.weight": 1000,  # of the prompt
    }
    assert floor_bytes(weights, codebooks=8, itemsize=2) == Floor(text=220, audio=272)
    assert floor_sec(Floor(text=3e9, audio=6e9), 3.0) == Floor(text=1.0, audio=2.0)


def test_the_size_of_a_model_is_known_before_it_is_built(stock: StockModel) -> None:
    assert weight_count(PRESETS["tiny"]) == pytest.approx(sum(stock.weights().values()), rel=0.4)
    assert weight_count(PRESETS["full"]) == pytest.approx(1.47e9, rel=0.03)


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantiles(range(1, 101)) == (50, 95, 99)
    assert quantiles([3.0]) == (3.0, 3.0, 3.0)


# -- the report ------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("bench")
    options = "-p tiny --dtype bfloat16 -b 2 --rounds 1 --speech 0.5".split()
    return run(*options, "--json", str(folder / "bench.json"), "--plots", str(folder / "plots")), folder


def test_the_report_has_a_cell_for_each_side(outcome: tuple[Result, Path]) -> None:
    result, folder = outcome
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "bench.json").read_text())
    stock, engine = report["cells"]
    assert (stock["side"], stock["batch"], stock["gain"]) == ("stock", 1, 1.0)
    assert (engine["side"], engine["batch"]) == ("engine", 2)
    assert engine["frames_per_sec"] == pytest.approx(2 * engine["frames_per_sec_per_session"])
    assert engine["codes_operations_per_session"] == engine["codes_operations"] / 2
    assert stock["codes_operations"] > engine["codes_operations"] > engine["text_operations"] > 0
    for cell in report["cells"]:
        assert cell["text_ms"]["p50"] <= cell["text_ms"]["p95"] <= cell["text_ms"]["p99"]
        assert cell["real_time_factor"] * cell["frames_per_sec_per_session"] == pytest.approx(12.5)
        assert 0 < cell["text_floor_ms"] < cell["codes_floor_ms"]
    assert report["conditions"]["cores"] >= 1


def test_tables_and_pictures_are_for_people(outcome: tuple[Result, Path]) -> None:
    result, folder = outcome
    assert re.search(r"stock +│ 1 │", result.output)
    assert re.search(r"engine +│ 2 │", result.output)
    pictures = sorted((folder / "plots").iterdir())
    assert [picture.name for picture in pictures] == ["step-time-tiny.png", "throughput-tiny.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_the_help_names_every_size() -> None:
    text = run("--help").output
    assert all(preset in text for preset in PRESETS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-p", "huge"], "expects one of tiny, deep, mid"),
        (["--dtype", "float16"], "expects float32 or bfloat16; got float16"),
        (["--json", "nowhere/bench.json"], "in a folder that exists"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_measured(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert complaint in " ".join(result.output.split())


def test_what_memory_does_not_suffice_for_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.engine.bench.sizes.available_bytes", lambda: 2_000_000_000)
    result = run("-p", "full", "--dtype", "bfloat16", "-b", "1")
    assert result.exit_code == 0
    assert "full: skipped, because it needs about 12.6 GB of memory, 2.0 GB are free" in " ".join(result.output.split())


# -- the whole engine ------------------------------------------------------------------------------------------------


def test_a_listener_hears_gaps_where_sound_comes_late() -> None:
    listener = Listener(asked_at=1.0)
    frame = AudioChunk(speech(0.12)[:1920], 24_000)  # 80 ms
    for event, now in ((TextDelta("a"), 1.1), (frame, 1.2), (frame, 1.25), (TextDelta("b"), 1.3), (frame, 1.5)):
        listener.take(event, now)
    assert listener.first_audio_sec == pytest.approx(0.2)
    assert listener.gaps_sec == [pytest.approx(0.14)]
    assert (listener.text, listener.frames) == ("ab", 3)


def test_newcomers_are_timed_beside_those_who_are_spoken_to(folder: Path) -> None:
    engine = load_engine(engine_settings(folder, device=CPU, dtype=torch.float32, slots=6, running=5))
    crowd = Crowd(speaking=2, newcomers=2, mean_gap_sec=0.01, idle_turns=2, speech_sec=0.3)
    told: list[None] = []
    report = asyncio.run(measure_load(engine, crowd, lambda: told.append(None)))
    assert len(told) == 4
    assert report.idle_first_audio_ms is not None
    assert report.refused == 2 or report.ratio is not None
    assert load_table(report).row_count == 2


def test_memory_is_taken_after_each_turn(folder: Path) -> None:
    engine = load_engine(engine_settings(folder, device=CPU, dtype=torch.float32, slots=8, running=4))
    told: list[int] = []
    report = asyncio.run(measure_endurance(engine, 10, lambda number, mebibytes: told.append(number)))
    assert told == list(range(1, 11))
    assert report.turns == 10
    assert len(report.mebibytes) == 1
    assert report.mebibytes[0] > 0
