"""The operator's keys: whether they can be read, by too many, and guessed."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_client.doctor.finding import Finding, fault, ok, warning
from edge_client.realtime.key_files import SHORTEST_SIGNING_KEY
from edge_client.settings import EdgeSettings
from routing.errors import SettingsError
from routing.key_file import KeyFile

SHORTEST_KEY = 16  # characters; `openssl rand -hex 32` gives 64


def look_at_keys(settings: EdgeSettings) -> list[Finding]:
    """The keys of callers and those that client secrets are signed with. Reads files; tells no key."""
    return [*_in_settings(settings), *_in_files(settings)]


def _in_settings(settings: EdgeSettings) -> Iterator[Finding]:
    keys = [key.get_secret_value() for key in settings.api_keys]
    if keys:
        yield _judged("API keys", keys, "in the settings")


def _in_files(settings: EdgeSettings) -> Iterator[Finding]:
    if settings.api_keys_file:
        yield _file("API keys' file", settings.api_keys_file, 1)
    if settings.signing_keys_file:
        yield _file("signing keys' file", settings.signing_keys_file, SHORTEST_SIGNING_KEY)


def _file(about: str, file: Path, shortest: int) -> Finding:
    try:
        keys, mode = read_keys(file, shortest=shortest), file.stat().st_mode
    except SettingsError as error:
        return _unreadable(about, error)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return _open_to_all(about, file, mode)
    return _judged(about, keys, f"in {file}")


def read_keys(file: Path, *, shortest: int = 1) -> tuple[str, ...]:
    """As the edge reads them.

    Raises:
        SettingsError: it cannot be read, or is not as it should be.
    """
    return KeyFile(file, lambda keys: None, shortest=shortest).read()


def _unreadable(about: str, error: SettingsError) -> Finding:
    return fault(
        about,
        str(error),
        expected="a file with a key in a line, which the edge's user can read",
        advice="Correct the path or the file's rights; a key is made by: openssl rand -hex 32",
    )


def _open_to_all(about: str, file: Path, mode: int) -> Finding:
    return warning(
        about,
        f"{file} with the rights {stat.filemode(mode)}",
        expected="a file that only the edge's user reads",
        advice=f"Take the rights of others away: chmod o-rwx {file}",
    )


def _judged(about: str, keys: Sequence[str], where: str) -> Finding:
    short = sum(len(key) < SHORTEST_KEY for key in keys)
    if short:
        return warning(
            about,
            f"{short} of {len(keys)} {where} shorter than that",
            expected=f"keys of at least {SHORTEST_KEY} characters",
            advice="Short keys can be guessed; make better ones: openssl rand -hex 32",
        )
    return ok(about, f"{len(keys)} {where}")
