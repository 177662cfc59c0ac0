"""The operator's keys: whether they can be read, by too many, and guessed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from edge_client.doctor.finding import Finding, fault, ok, warning
from edge_client.settings import EdgeSettings

SHORTEST_KEY = 16  # characters; `openssl rand -hex 32` gives 64


def look_at_keys(settings: EdgeSettings) -> list[Finding]:
    """The keys of callers and those that client secrets are signed with. Reads files; tells no key."""
    return [*_in_settings(settings), *_in_files(settings)]


def _in_settings(settings: EdgeSettings) -> Iterator[Finding]:
    keys = [key.get_secret_value() for key in settings.api_keys]
    if keys:
        yield _judged("API keys", keys, "in the settings")


def _in_files(settings: EdgeSettings) -> Iterator[Finding]:
    files = {"API keys' file": settings.api_keys_file, "signing keys' file": settings.signing_keys_file}
    for about, file in files.items():
        if file is not None:
            yield _file(about, file)


def _file(about: str, file: Path) -> Finding:
    try:
        mode, keys = file.stat().st_mode, read_keys(file)
    except (OSError, UnicodeDecodeError) as error:
        return _unreadable(about, file, error)
    if not keys:
        return fault(about, f"none in {file}", expected="a key in a line", advice="Write one: openssl rand -hex 32")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return _open_to_all(about, file, mode)
    return _judged(about, keys, f"in {file}")


def read_keys(file: Path) -> list[str]:
    """One in a line.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """
    return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]


def _unreadable(about: str, file: Path, error: OSError | UnicodeDecodeError) -> Finding:
    reason = error.strerror if isinstance(error, OSError) else "it is no text"
    return fault(
        about,
        f"{file}: {reason}",
        expected="a file that the edge's user can read",
        advice="Correct the path, or give the user that runs the edge the right to read it.",
    )


def _open_to_all(about: str, file: Path, mode: int) -> Finding:
    return warning(
        about,
        f"{file} with the rights {stat.filemode(mode)}",
        expected="a file that only the edge's user reads",
        advice=f"Take the rights of others away: chmod o-rwx {file}",
    )


def _judged(about: str, keys: list[str], where: str) -> Finding:
    short = sum(len(key) < SHORTEST_KEY for key in keys)
    if short:
        return warning(
            about,
            f"{short} of {len(keys)} {where} shorter than that",
            expected=f"keys of at least {SHORTEST_KEY} characters",
            advice="Short keys can be guessed; make better ones: openssl rand -hex 32",
        )
    return ok(about, f"{len(keys)} {where}")
