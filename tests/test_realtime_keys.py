"""Who is let in, and to what."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from edge_client.realtime.client_secrets import ClientSecret
from edge_client.realtime.keys import Grant, KeyRing, Unauthorized
from edge_client.realtime.used_ids import DATING_SEC, UsedIds, UsedInFolder, UsedInMemory
from routing.errors import AtCapacity

KEYS = (SecretStr("key-one"), SecretStr("key-two"))
SIGNING = b"signing-key-of-thirty-two-letters"


def ring(*, signing: tuple[bytes, ...] = (SIGNING,), is_open: bool = False, used: UsedIds | None = None) -> KeyRing:
    return KeyRing(() if is_open else KEYS, signing_keys=signing, is_open=is_open, used=used)


# -- API keys ----------------------------------------------------------------------------------------------------------


def test_every_key_of_the_operator_opens_and_others_do_not() -> None:
    keys = ring()
    one, two = keys.admit("key-one", now=0), keys.admit("key-two", now=0)
    assert one.is_operator
    assert one == Grant("key-9b346041")  # of its SHA-256
    assert one != two
    for credential in (None, "", "key-three", "key-on", "ek_forged.signature", "ek_", "ek_a.b.c", "ék"):
        with pytest.raises(Unauthorized):
            keys.admit(credential, now=0)


def test_without_keys_everybody_is_let_in_but_only_where_that_is_meant() -> None:
    assert ring(is_open=True).admit(None, now=0) == Grant("")
    without = KeyRing((), signing_keys=(SIGNING,))
    for credential in (None, "", "key-one"):
        with pytest.raises(Unauthorized):
            without.admit(credential, now=0)
        assert not without.is_api_key(credential)


def test_new_keys_replace_those_before() -> None:
    keys = ring()
    keys.renew(api_keys=[SecretStr("key-three")])
    assert keys.admit("key-three", now=0).is_operator
    with pytest.raises(Unauthorized):
        keys.admit("key-one", now=0)


# -- client secrets ----------------------------------------------------------------------------------------------------


def test_a_client_secret_brings_its_session_until_it_expires() -> None:
    keys = ring()
    secret = keys.issue({"instructions": "Be brief."}, now=100.0, lifetime_sec=60, issuer="key-1")
    assert secret.value.startswith("ek_")
    grant = keys.admit(secret.value, now=159)
    assert grant == Grant(
        f"secret-{grant.secret_id}",
        {"instructions": "Be brief."},
        is_operator=False,
        issuer="key-1",
        secret_id=grant.secret_id,
        expires_at=secret.expires_at,
    )
    with pytest.raises(Unauthorized):
        keys.admit(secret.value, now=160)


def test_a_client_secret_begins_one_call() -> None:
    keys = ring()
    grant = keys.admit(keys.issue({}, now=0, lifetime_sec=60).value, now=1)
    keys.redeem(grant, now=1)
    with pytest.raises(Unauthorized, match="ask for a new one"):
        keys.redeem(grant, now=2)
    keys.release(grant)  # it had not begun after all
    keys.redeem(grant, now=3)


def test_a_client_secret_may_expire_while_its_offer_is_read() -> None:
    keys = ring()
    grant = keys.admit(keys.issue({}, now=0, lifetime_sec=60).value, now=59.9)
    with pytest.raises(Unauthorized):
        keys.redeem(grant, now=60)


def test_an_operator_calls_as_often_as_he_likes() -> None:
    keys = ring()
    grant = keys.admit("key-one", now=0)
    for now in range(3):
        keys.redeem(grant, now=now)


def test_a_client_secret_cannot_be_changed_or_used_elsewhere() -> None:
    keys, elsewhere = ring(), ring(signing=(b"another",))
    secret = keys.issue({}, now=0, lifetime_sec=60).value
    longer = elsewhere.issue({}, now=0, lifetime_sec=7200).value
    mixed = longer.partition(".")[0] + "." + secret.partition(".")[2]
    for forged in (longer, mixed, secret[:-1], secret + "A", secret + "=", secret.replace(".", "..")):
        with pytest.raises(Unauthorized):
            keys.admit(forged, now=1)


@given(st.integers(0, 10_000), st.characters(codec="utf-8"))
@settings(max_examples=30)
def test_no_changed_letter_goes_unnoticed(place: int, letter: str) -> None:
    keys = ring()
    secret = keys.issue({}, now=0, lifetime_sec=60).value
    place %= len(secret)
    if secret[place] != letter:
        with pytest.raises(Unauthorized):
            keys.admit(secret[:place] + letter + secret[place + 1 :], now=1)


def test_signing_keys_are_changed_without_ending_what_they_have_signed() -> None:
    old, new = b"the old one", b"the new one"
    secrets = [ring(signing=(key,)).issue({}, now=0, lifetime_sec=60).value for key in (old, new)]
    while_both_hold = ring(signing=(new, old))
    assert all(while_both_hold.admit(secret, now=1).secret_id for secret in secrets)
    later = ring(signing=(new,))
    assert later.admit(while_both_hold.issue({}, now=0, lifetime_sec=60).value, now=1).secret_id
    with pytest.raises(Unauthorized):
        later.admit(secrets[0], now=1)


@pytest.mark.parametrize("content", ["{}", '{"expires_at": 9e9, "session": {}}', "[]", '"text"', "7"])
def test_a_secret_of_another_version_is_refused(content: str) -> None:
    from edge_client.realtime.client_secrets import _signature
    from edge_client.realtime.sealing import encoded

    value = f"ek_{encoded(content.encode())}.{encoded(_signature(content.encode(), SIGNING))}"
    with pytest.raises(Unauthorized):
        ring().admit(value, now=1)


def test_who_may_hang_up_whose_call() -> None:
    operator, other = Grant("key-1"), Grant("key-2")
    secret, another = (Grant(f"secret-{number}", is_operator=False) for number in range(2))
    assert operator.rules(other)
    assert operator.rules(secret)
    assert secret.rules(secret)
    assert not secret.rules(another)
    assert not secret.rules(operator)


# -- sealed texts ------------------------------------------------------------------------------------------------------


def test_what_was_sealed_opens_for_its_purpose_until_it_expires() -> None:
    keys = ring()
    text = keys.seal(b"what was said", purpose="ticket", now=100, lifetime_sec=60)
    assert keys.unseal(text, purpose="ticket", now=159.9) == b"what was said"
    assert ring(signing=(b"newer", SIGNING)).unseal(text, purpose="ticket", now=159.9) == b"what was said"
    for stranger, purpose, now in [
        (keys, "ticket", 160.0),
        (keys, "another", 101.0),
        (ring(signing=(b"another",)), "ticket", 101.0),
    ]:
        with pytest.raises(Unauthorized):
            stranger.unseal(text, purpose=purpose, now=now)


def test_nobody_can_read_what_was_sealed_or_tell_two_apart() -> None:
    texts = [ring().seal(b"what was said", purpose="ticket", now=0, lifetime_sec=60) for _ in range(20)]
    assert all(one != other for one, other in pairwise(texts))
    assert not any("what" in text for text in texts)


@given(st.integers(0, 10_000), st.characters(codec="utf-8"))
@settings(max_examples=30)
def test_no_changed_letter_of_a_sealed_text_goes_unnoticed(place: int, letter: str) -> None:
    text = ring().seal(b"what was said", purpose="ticket", now=0, lifetime_sec=60)
    place %= len(text)
    if text[place] != letter:
        with pytest.raises(Unauthorized):
            ring().unseal(text[:place] + letter + text[place + 1 :], purpose="ticket", now=1)


@given(st.text())
@settings(max_examples=30)
def test_anything_else_does_not_open(text: str) -> None:
    with pytest.raises(Unauthorized):
        ring().unseal(text, purpose="ticket", now=0)
    with pytest.raises(Unauthorized):
        ring().admit("ek_" + text, now=0)


def test_a_secret_is_no_ticket_and_a_ticket_is_no_secret() -> None:
    keys = ring()
    secret = keys.issue({}, now=0, lifetime_sec=60).value
    ticket = keys.seal(b"{}", purpose="ticket", now=0, lifetime_sec=60)
    for text in (secret, secret.removeprefix("ek_"), secret.removeprefix("ek_").replace(".", "")):
        with pytest.raises(Unauthorized):
            keys.unseal(text, purpose="ticket", now=1)
    for text in (ticket, "ek_" + ticket, f"ek_{ticket[: len(ticket) // 2]}.{ticket[len(ticket) // 2 :]}"):
        with pytest.raises(Unauthorized):
            keys.admit(text, now=1)


# -- what is good once -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "folder"])
def used(request: pytest.FixtureRequest, tmp_path: Path) -> UsedIds:
    return UsedInMemory(maximum=3) if request.param == "memory" else UsedInFolder(tmp_path, maximum=3)


def test_an_id_is_new_once(used: UsedIds) -> None:
    keys = ring(used=used)
    assert keys.once("../one", until=100, now=0)
    assert not keys.once("../one", until=100, now=1)
    assert keys.once("another", until=100, now=1)
    assert not keys.once("expired", until=100, now=100)


def test_an_id_is_remembered_until_it_expires_and_no_longer(used: UsedIds) -> None:
    assert used.once("one", until=100)
    used.sweep(now=99)
    assert not used.once("one", until=100)
    used.sweep(now=100 + DATING_SEC)
    assert used.once("one", until=300)


def test_no_more_ids_are_remembered_than_there_is_room_for(used: UsedIds) -> None:
    assert all(used.once(str(number), until=100) for number in range(3))
    with pytest.raises(AtCapacity):
        used.once("one too many", until=100)
    used.sweep(now=100 + DATING_SEC)
    assert used.once("one too many", until=300)


def test_workers_share_what_was_used(tmp_path: Path) -> None:
    workers = [ring(used=UsedInFolder(tmp_path)) for _ in range(3)]
    assert [worker.once("one", until=100, now=0) for worker in workers] == [True, False, False]
    secret = workers[0].issue({}, now=0, lifetime_sec=60).value
    grant = workers[1].admit(secret, now=1)
    workers[1].redeem(grant, now=1)
    with pytest.raises(Unauthorized):
        workers[2].redeem(workers[2].admit(secret, now=1), now=1)


# -- nothing is shown --------------------------------------------------------------------------------------------------


def test_a_secret_is_not_shown_by_accident() -> None:
    keys = ring()
    secret = keys.issue({"instructions": "Never tell."}, now=0, lifetime_sec=60)
    shown = [repr(each) for each in (secret, keys, keys.admit(secret.value, now=1), keys.admit("key-one", now=1))]
    assert "ek_1" not in repr(ClientSecret("ek_1", 0, {}))
    assert not any(hidden in text for text in shown for hidden in ("ek_", "key-one", "Never", SIGNING.decode()))
