"""Which shared libraries the compiled parts of an environment ask the system for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
DYNAMIC = 6  # the type of a section
NEEDED = 1  # the tag of an entry
SECTION_AT, SECTION_COUNT_AT = 0x28, 0x3A
SECTION = struct.Struct("<IIQQQQIIQQ")
ENTRY = struct.Struct("<qQ")


def foreign_libraries(folder: Path) -> set[str]:
    """Names such as ``libgomp.so.1`` that nothing below ``folder`` brings along."""
    found = [path for path in folder.rglob("*.so*") if path.is_file() and not path.is_symlink()]
    brought = {path.name for path in folder.rglob("*.so*")}
    return {name for path in found for name in needed(path.read_bytes())} - brought


def needed(content: bytes) -> Iterator[str]:
    """The names in the dynamic section, as the specification of ELF lays it out; none where it is no such file."""
    if not content.startswith(MAGIC):
        return
    sections = list(sections_of(content))
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind == DYNAMIC:
            strings = sections[link][4]
            for tag, value in ENTRY.iter_unpack(content[offset : offset + size]):
                if tag == NEEDED:
                    yield text_at(content, strings + value)


def sections_of(content: bytes) -> Iterator[tuple[int, ...]]:
    (start,) = struct.unpack_from("<Q", content, SECTION_AT)
    size, count = struct.unpack_from("<HH", content, SECTION_COUNT_AT)
    for place in range(count):
        yield SECTION.unpack_from(content, start + place * size)


def text_at(content: bytes, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode()
