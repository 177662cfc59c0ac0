"""Settings as they are given to an application or to whoever opens a model, and what is said where they are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from routing.errors import SettingsError


def settings_of[S: BaseModel](kind: type[S], given: Mapping[str, Any]) -> S:
    """The settings of that kind.

    Raises:
        SettingsError: one is unknown, and the nearest that there is is named, or wrong.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise SettingsError("; ".join(_worded(kind, fault) for fault in faults)) from None


def _worded(kind: type[BaseModel], fault: ErrorDetails) -> str:
    place = ".".join(map(str, fault["loc"])) or "settings"
    if fault["type"] != "extra_forbidden":
        return f"{place}: {fault['msg'].removeprefix('Value error, ')}"
    *path, name = map(str, fault["loc"])
    known = _names_in(kind, path)
    nearest = get_close_matches(name, known, n=1)
    advice = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(known)}"
    return f"{place}: there is no such setting; {advice}"


def _names_in(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The settings of the part that ``path`` leads to."""
    for name in path:
        kind = next(part for part in _alternatives(kind.model_fields[name].annotation) if issubclass(part, BaseModel))
    return [*kind.model_fields]


def _alternatives(annotation: Any) -> Sequence[type]:
    """A part that may be left out is "the part or None"."""
    return [part for part in get_args(annotation) or (annotation,) if isinstance(part, type)]
