"""Which files hold the traces that somebody asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from edge_client.trace.otlp import TraceFileError

ROTATED = ".1"  # what a full file is called when it is begun anew


@dataclass(frozen=True, slots=True)
class TraceFile:
    """``named`` where somebody asked for this very file, and not for the folder that it lies in."""

    path: Path
    named: bool = True


def find_files(paths: Iterable[str | Path]) -> tuple[TraceFile, ...]:
    """Files, each with the one that it was moved to when it was full, all of a folder, and all that a pattern fits.

    Raises:
        TraceFileError: there is nothing.
    """
    found: dict[Path, TraceFile] = {}
    for path in paths:
        for file in _found(Path(path)):
            found.setdefault(file.path, file)
    return tuple(found.values())


def _found(path: Path) -> Iterator[TraceFile]:
    if path.is_dir():
        files = [TraceFile(file, named=False) for file in sorted(path.rglob("*.jsonl")) if file.is_file()]
    elif has_magic(str(path)) and not path.exists():
        fitting = sorted(glob(str(path)))  # noqa: PTH207 its pattern may begin at the root
        files = [TraceFile(Path(file), named=False) for file in fitting if Path(file).is_file()]
    else:
        files = [TraceFile(path)]
    some = [each for file in files for each in _with_rotated(file) if each.path.exists()]
    if not some:
        raise TraceFileError(f"expected a file of traces, or a folder with *.jsonl, got {path}, where there is none")
    yield from some


def _with_rotated(file: TraceFile) -> tuple[TraceFile, TraceFile]:
    """The older one first."""
    return TraceFile(_rotated(file.path), named=file.named), file


def _rotated(path: Path) -> Path:
    """It lies beside the file itself, also where that is called by a link."""
    itself = path.resolve() if path.is_symlink() else path
    return itself.with_name(itself.name + ROTATED)
