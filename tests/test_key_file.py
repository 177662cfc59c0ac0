"""Keys in a file: what is taken, what is refused, and what stays when something goes wrong with it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from routing.errors import SettingsError
from routing.key_file import MAXIMUM_BYTES, KeyFile

SECRET = "never-shown"


def nobody(_: tuple[str, ...]) -> None:
    raise AssertionError("nothing is taken by reading")


def test_each_line_is_a_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"one\r\n\n# of the shop\n  two \nek_three=")
    assert KeyFile(file, nobody).read() == ("one", "two", "ek_three=")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected at least one key, got none"),
        (b"# nothing\n\n", "expected at least one key, got none"),
        (f"a-long-key\n{SECRET} and more".encode(), "got something else in line 2"),
        (b"a-long-key\nshort", "expected a key of at least 6 visible characters, got something else in line 2"),
        (f"{SECRET}é".encode(), "ASCII characters"),
        (f"{SECRET}\0".encode(), "got something else in line 1"),
        (b"x" * (MAXIMUM_BYTES + 1), "expected at most"),
        (None, "No such file"),
    ],
)
def test_what_is_no_file_of_keys_is_refused_and_not_shown(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=reason) as refused:
        KeyFile(file, nobody, shortest=6).read()
    assert str(refused.value).startswith(str(file))
    assert SECRET not in str(refused.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="directory"):
        KeyFile(tmp_path, nobody).read()


async def test_what_goes_wrong_leaves_the_keys_before_in_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "routing.key_file")
    path, taken = tmp_path / "keys", list[tuple[str, ...]]()
    file = KeyFile(path, taken.append)
    for content in ("one", "one", "", "", f"{SECRET} {SECRET}", "two\nthree"):
        await asyncio.to_thread(path.write_text, content)
        await file.look()
    await asyncio.to_thread(path.unlink)
    await file.look()
    await file.look()
    assert taken == [("one",), ("two", "three")]
    levels = [record.levelname for record in caplog.records]
    assert levels == ["INFO", "ERROR", "ERROR", "INFO", "ERROR"]  # each once
    assert SECRET not in caplog.text
    assert "three" not in caplog.text


async def test_a_secret_that_kubernetes_swaps_is_followed(tmp_path: Path) -> None:
    """It mounts a link to a link to a folder, and renames the latter link over the old one."""
    taken = list[tuple[str, ...]]()
    file = KeyFile(tmp_path / "keys", taken.append)
    await asyncio.to_thread(_publish, tmp_path, "first")
    await file.look()
    await asyncio.to_thread(_publish, tmp_path, "second")
    await file.look()
    assert taken == [("first",), ("second",)]


def _publish(folder: Path, key: str) -> None:
    (folder / f"..{key}").mkdir()
    (folder / f"..{key}" / "keys").write_text(key)
    (folder / "..new").symlink_to(f"..{key}")
    (folder / "..new").replace(folder / "..data")
    if not (folder / "keys").is_symlink():
        (folder / "keys").symlink_to(Path("..data") / "keys")
