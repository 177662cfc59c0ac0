"""Who comes into the cloud."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.door_keys import DoorKeys
from deployments.settings import IngressSettings, checked
from routing.errors import SettingsError

KEYS = (SecretStr("key-one"), SecretStr("key-two"))


def test_without_keys_everybody_comes_in() -> None:
    keys = DoorKeys(())
    assert keys.let_everybody_in
    assert keys.open(None)
    assert keys.open("Bearer anything")


def test_with_keys_only_who_has_one_comes_in() -> None:
    keys = DoorKeys(KEYS)
    assert not keys.let_everybody_in
    assert all(keys.open(f"{scheme} {key}") for scheme in ("Bearer", "bearer") for key in ("key-one", "key-two"))
    for wrong in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "key-one",
        "Basic key-one",
        "Bearer key-on",
        "Bearer key-one ",
        "Bearer ké",
    ):
        assert not keys.open(wrong), wrong


async def test_the_keys_of_a_file_count_while_it_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys = DoorKeys(KEYS, file)
    async with keys.followed():  # there is no such file yet
        assert keys.open("Bearer key-one")
        assert not keys.open("Bearer key-three")
    await asyncio.to_thread(file.write_text, "key-three\n")
    async with keys.followed():
        assert keys.open("Bearer key-one")
        assert keys.open("Bearer key-three")


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "not a key\n"])
async def test_a_file_without_keys_lets_nobody_in(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        await asyncio.to_thread(file.write_text, content)
    keys = DoorKeys((), file)
    assert not keys.let_everybody_in
    async with keys.followed():
        for given in (None, "", "Bearer", "Bearer ", "Bearer not a key"):
            assert not keys.open(given)


def test_no_key_is_shown() -> None:
    settings = checked({"ingress": {"keys": ["key-one"]}})
    assert "key-one" not in f"{settings} {settings!r} {settings.model_dump_json()} {DoorKeys(KEYS)!r}"
    with pytest.raises(SettingsError) as refused:
        checked({"ingress": {"keys": "key-one"}})
    assert "key-one" not in str(refused.value)
    assert IngressSettings(keys=KEYS).keys == KEYS
