"""Reads Dockerfiles: their stages, what is copied in them, and what the builder is sent.

Only as much of the language as ours use: no heredocs, no ONBUILD, no shell form of COPY.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str
    text: str  # with its lines joined


@dataclass(frozen=True, slots=True)
class Copy:
    sources: tuple[str, ...]
    target: str
    stage: str | None  # where they come from; None: what the builder was sent


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def texts(self, word: str) -> list[str]:
        return [instruction.text for instruction in self.instructions if instruction.word == word]

    def commands(self) -> list[str]:
        return [command for text in self.texts("RUN") for command in text.split(" && ")]

    def copies(self) -> list[Copy]:
        return [copy_of(text) for text in self.texts("COPY")]

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for text in self.texts("ENV") for pair in shlex.split(text))

    def labels(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for text in self.texts("LABEL") for pair in shlex.split(text))

    def exec_form(self, word: str) -> list[str]:
        """The words of the last ENTRYPOINT or CMD; ValueError where a shell would stand in between."""
        texts = self.texts(word)
        words = json.loads(texts[-1]) if texts else []
        assert isinstance(words, list)
        return words


@dataclass(frozen=True, slots=True)
class Dockerfile:
    arguments: Mapping[str, str]  # those before the first stage
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def image(self, stage: Stage, **given: str) -> str:
        """What it is built from, with the arguments' defaults unless they are given."""
        return expanded(stage.base, {**self.arguments, **given})


def read(path: Path) -> Dockerfile:
    found = [*instructions(path.read_text())]
    starts = [place for place, instruction in enumerate(found) if instruction.word == "FROM"]
    ends = [*starts[1:], len(found)]
    arguments = dict(instruction.text.split("=", 1) for instruction in found[: starts[0]])
    return Dockerfile(arguments, tuple(stage_of(found[start:end]) for start, end in zip(starts, ends, strict=True)))


def stage_of(found: Sequence[Instruction]) -> Stage:
    base, _, name = found[0].text.split()
    return Stage(name, base, tuple(found[1:]))


def instructions(text: str) -> Iterator[Instruction]:
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for whole in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, rest = whole.split(maxsplit=1)
        yield Instruction(word.upper(), re.sub(r" {2,}", " ", rest))


def copy_of(text: str) -> Copy:
    words = text.split()
    flags = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
    *sources, target = (word for word in words if not word.startswith("--"))
    return Copy(tuple(sources), target, flags.get("from"))


def expanded(text: str, values: Mapping[str, str]) -> str:
    """With ``${NAME}`` replaced, again while there are any: a default may name another argument."""
    while found := re.search(r"\$\{(\w+)\}", text):
        text = text.replace(found[0], values[found[1]])
    return text


# -- what the builder is sent ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ignored:
    """The patterns of a .dockerignore: the last one that fits decides, and one that fits a folder fits all in it."""

    patterns: tuple[str, ...]

    def sends(self, path: PurePosixPath) -> bool:
        sent = True
        for pattern in self.patterns:
            if any(fits(pattern.removeprefix("!"), place) for place in (path, *path.parents)):
                sent = pattern.startswith("!")
        return sent


def ignored(path: Path) -> Ignored:
    """Of a Dockerfile, from the file beside it that is named after it and goes before any other."""
    lines = path.with_name(f"{path.name}.dockerignore").read_text().splitlines()
    return Ignored(tuple(line for line in lines if line and not line.startswith("#")))


def fits(pattern: str, path: PurePosixPath) -> bool:
    return expression(pattern).fullmatch(str(path)) is not None


@cache
def expression(pattern: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces))
