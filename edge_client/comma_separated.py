"""Lists in settings: from a file as lists, from an environment variable as words with commas between them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


type CommaSeparated[T] = Annotated[tuple[T, ...], BeforeValidator(_split)]
