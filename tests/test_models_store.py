"""The model folder is filled once, verified byte for byte, mended when damaged, and silent ever after."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

import pytest

from edge_client.models.catalog import MODEL_FILES, WHEELS, ModelFile, requirements_by_wheel
from edge_client.models.folder_lock import folder_lock
from edge_client.models.installer import find_uv, install_with_uv
from edge_client.models.store import ModelStore, PullProgress, default_folder
from routing.errors import ModelError

CONTENTS = {"ears/hear.onnx": b"hearing", "ears/words.bin": b"words", "mouth/speak.onnx": b"speaking"}


def model_file(name: str, wheel: str, path: str) -> ModelFile:
    content = CONTENTS[path]
    return ModelFile(name, wheel, path, len(content), hashlib.sha256(content).hexdigest())


FILES = (
    model_file("hearing", "ears", "ears/hear.onnx"),
    model_file("words", "ears", "ears/words.bin"),
    model_file("speaking", "mouth", "mouth/speak.onnx"),
)
MOUTH = FILES[2]


class ScriptedIndex:
    """An installer that, like the real one, goes by what it installed and not by what lies there."""

    def __init__(self, contents: dict[str, bytes] = CONTENTS) -> None:
        self.calls: list[tuple[str, bool]] = []
        self._contents = contents
        self._installed: set[str] = set()

    def __call__(self, requirement: str, folder: Path, *, reinstall: bool) -> None:
        wheel = requirement.partition("==")[0]
        self.calls.append((wheel, reinstall))
        if reinstall or wheel not in self._installed:
            self._unpack(wheel, folder)

    def _unpack(self, wheel: str, folder: Path) -> None:
        self._installed.add(wheel)
        for path, content in self._contents.items():
            if path.startswith(wheel):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)


def unreachable(requirement: str, folder: Path, *, reinstall: bool) -> None:
    raise ModelError(f"no network to fetch {requirement}")


type StoreMaker = Callable[..., ModelStore]


@pytest.fixture
def store(tmp_path: Path) -> StoreMaker:
    def make(install: object) -> ModelStore:
        wheels = {"ears": "ears==1.0", "mouth": "mouth==2.0"}
        return ModelStore(tmp_path / "models", files=FILES, wheels=wheels, install=install)  # type: ignore[arg-type]

    return make


def test_an_empty_folder_is_filled_wheel_by_wheel_and_then_sound(store: StoreMaker) -> None:
    index, events = ScriptedIndex(), list[PullProgress]()
    models = store(index)
    assert models.missing() == FILES
    models.pull(events.append)
    assert (models.missing(), models.damaged()) == ((), ())
    assert index.calls == [("ears", False), ("mouth", False)]
    assert events == [PullProgress("ears", 0, 20), PullProgress("mouth", 12, 20), PullProgress(None, 20, 20)]
    assert models.path("words").read_bytes() == b"words"


def test_a_filled_folder_needs_no_network_and_says_nothing(store: StoreMaker) -> None:
    store(ScriptedIndex()).pull()
    events = list[PullProgress]()
    store(unreachable).pull(events.append)
    assert events == []


def test_only_what_is_missing_is_fetched(store: StoreMaker) -> None:
    index = ScriptedIndex()
    models = store(index)
    models.pull()
    shutil.rmtree(models.folder / "mouth")
    assert models.missing() == (MOUTH,)
    models.pull()
    assert models.path("speaking").read_bytes() == b"speaking"
    assert index.calls[2:] == [("mouth", False), ("mouth", True)]


@pytest.mark.parametrize("damage", [b"speakinG", b"", b"speaking twice"])
def test_a_damaged_file_is_found_and_mended(store: StoreMaker, damage: bytes) -> None:
    index = ScriptedIndex()
    models = store(index)
    models.pull()
    (models.folder / MOUTH.path).write_bytes(damage)
    assert models.damaged() == (MOUTH,)
    with pytest.raises(ModelError, match=r"speak\.onnx is damaged; run: antiphon models pull"):
        models.path("speaking")
    models.pull()
    assert models.damaged() == ()
    assert index.calls[2:] == [("mouth", False), ("mouth", True)]


def test_a_wheel_that_holds_something_else_is_refused(store: StoreMaker) -> None:
    models = store(ScriptedIndex({**CONTENTS, "mouth/speak.onnx": b"malice!!"}))
    with pytest.raises(ModelError, match=f"mouth brought .* expected 8 bytes, SHA-256 {MOUTH.sha256}"):
        models.pull()
    assert models.damaged() == (MOUTH,)


def test_a_wheel_without_the_file_is_refused(store: StoreMaker) -> None:
    with pytest.raises(ModelError, match=r"ears brought ears/hear\.onnx with nothing"):
        store(ScriptedIndex({})).pull()


def test_a_missing_file_is_named_with_what_to_do(store: StoreMaker) -> None:
    with pytest.raises(ModelError, match=r"ears/hear\.onnx is not in .*; run: antiphon models pull"):
        store(unreachable).path("hearing")


def test_without_network_the_reason_is_told(store: StoreMaker) -> None:
    with pytest.raises(ModelError, match=r"no network to fetch ears==1\.0"):
        store(unreachable).pull()


def test_each_file_is_hashed_once_and_again_when_touched(store: StoreMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    models = store(ScriptedIndex())
    models.pull()
    hashed: list[str] = []

    def hash_file(file: BufferedReader, algorithm: str) -> object:
        hashed.append(file.name)
        return hashlib.new(algorithm, file.read())

    monkeypatch.setattr(hashlib, "file_digest", hash_file)
    models.path("speaking")
    assert hashed == []
    place = models.folder / MOUTH.path
    os.utime(place, (1, 1))
    models.path("speaking")
    models.path("speaking")
    assert hashed == [str(place)]


@pytest.mark.parametrize("stamps", ["", "[]", "not json", '{"mouth/speak.onnx": [8]}', '{"mouth/speak.onnx": 8}'])
def test_a_damaged_stamp_file_only_costs_the_hashing(store: StoreMaker, stamps: str) -> None:
    models = store(ScriptedIndex())
    models.pull()
    (models.folder / "verified.json").write_text(stamps)
    assert models.damaged() == ()


def test_two_pulls_at_once_fetch_once(store: StoreMaker) -> None:
    index = ScriptedIndex()
    first_is_busy, second_waits = threading.Event(), threading.Event()

    def slow(requirement: str, folder: Path, *, reinstall: bool) -> None:
        first_is_busy.set()
        second_waits.wait(10)
        index(requirement, folder, reinstall=reinstall)

    first = threading.Thread(target=store(slow).pull)
    first.start()
    assert first_is_busy.wait(10)
    second = threading.Thread(target=store(unreachable).pull)
    second.start()
    second_waits.set()
    first.join()
    second.join()
    assert index.calls == [("ears", False), ("mouth", False)]


def test_the_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    inside: list[str] = []

    def enter() -> None:
        with folder_lock(tmp_path):
            inside.append("second")

    with folder_lock(tmp_path):
        other = threading.Thread(target=enter)
        other.start()
        inside.append("first")
    other.join(10)
    assert inside == ["first", "second"]


def test_the_folder_can_be_chosen(tmp_path: Path) -> None:
    assert default_folder({"ANTIPHON_MODELS": str(tmp_path)}) == tmp_path
    if sys.platform == "linux":
        assert default_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "antiphon" / "models"
        assert default_folder({}) == Path.home() / ".cache" / "antiphon" / "models"


def test_every_file_of_the_catalogue_has_a_pinned_and_hashed_wheel() -> None:
    assert {file.wheel for file in MODEL_FILES} == set(WHEELS)
    for wheel, requirement in WHEELS.items():
        assert requirement.startswith(f"{wheel}==")
        assert "--hash=sha256:" in requirement
    assert len({file.name for file in MODEL_FILES}) == len(MODEL_FILES)


def test_a_requirement_is_taken_with_all_its_hashes_and_no_more() -> None:
    text = "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\ntwo-three==2 \\\n    --hash=sha256:cc\n"
    assert dict(requirements_by_wheel(text)) == {
        "one": "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb",
        "two-three": "two-three==2 \\\n    --hash=sha256:cc",
    }


def test_uv_is_found_on_the_path_or_beside_python_or_its_lack_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / ("uv.exe" if sys.platform == "win32" else "uv")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs uv"):
        find_uv()
    uv.touch(mode=0o755)
    assert find_uv() == [str(uv)]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_uv() == [str(uv)]


def test_what_uv_complains_of_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys; sys.exit('no such wheel on any index')"
    monkeypatch.setattr("edge_client.models.installer.find_uv", lambda: [sys.executable, "-c", script])
    with pytest.raises(ModelError, match=r"could not install ears==1\.0 .*\n.*no such wheel"):
        install_with_uv("ears==1.0 --hash=sha256:aa", tmp_path, reinstall=False)


@pytest.mark.models
def test_the_real_folder_is_whole() -> None:
    models = ModelStore(default_folder(os.environ))
    assert (models.missing(), models.damaged()) == ((), ())
