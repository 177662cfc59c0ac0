"""Session settings that whoever holds a client secret cannot change.

The operator's server asks for it in the session that it gives a secret: ``"antiphon": {"locked": true}`` locks every
setting that is given beside it, ``"locked": ["instructions", "audio.output.voice"]`` those that it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from routing.errors import InvalidRequest

LOCKS = "antiphon.locked"

type Settings = Mapping[str, Any]


def with_named_locks(settings: Settings) -> Settings:
    """The settings with the names of those that are locked, where only that they are is said."""
    wishes = settings.get("antiphon")
    if not isinstance(wishes, Mapping) or not isinstance(wishes.get("locked"), bool):
        return settings
    named = [name for name in _names(settings) if name != LOCKS] if wishes["locked"] else []
    return {**settings, "antiphon": {**wishes, "locked": named}}


def _names(settings: Settings, prefix: str = "") -> Iterator[str]:
    """Of all settings, those within others with dots between them."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def expect_names(locked: list[str], settings: Settings) -> None:
    """Every name is one of a setting: a lock with a typo would lock nothing.

    Raises:
        InvalidRequest: one of them is not.
    """
    for name in locked:
        if _value(settings, name) is _NOTHING:
            raise InvalidRequest(f"expected names of session settings, got {name!r}", param=f"session.{LOCKS}")


def expect_unlocked(locked: list[str], before: Settings, after: Settings) -> None:
    """Nothing that is locked is different afterwards.

    Raises:
        InvalidRequest: something is.
    """
    for name in [*locked, LOCKS] if locked else []:
        if _value(before, name) != _value(after, name):
            raise InvalidRequest(
                f"expected {name} to stay as the client secret has it, got another value",
                code="setting_locked",
                param=f"session.{name}",
            )


_NOTHING = object()


def _value(settings: Any, name: str) -> Any:
    for part in name.split("."):
        settings = settings.get(part, _NOTHING) if isinstance(settings, Mapping) else _NOTHING
    return settings
