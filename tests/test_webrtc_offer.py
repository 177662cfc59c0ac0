"""Which offers are let in, and what is changed in them."""

from __future__ import annotations

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from edge_client.webrtc.offer import KNOWN_CANDIDATES, guard_offer, offered_kinds, with_opus_parameters
from routing.errors import InvalidRequest

SECURITY = """\
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F
a=setup:actpass
"""

# What a browser sends, shortened; the candidates would come by trickle, or like this where it has waited for them.
OFFER = f"""\
v=0
o=- 4648475892259889561 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS 2b1c
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8
c=IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 198.51.100.7 49203 typ host
a=candidate:2 1 udp 2113937151 0b0eb3f0.local 49203 typ host
a=end-of-candidates
{SECURITY}a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 198.51.100.7 49203 typ host
{SECURITY}a=mid:1
a=sctp-port:5000
a=max-message-size:262144
"""


def test_only_the_candidates_are_taken_out() -> None:
    lines = [line for line in OFFER.splitlines() if "candidate" not in line]
    assert guard_offer(OFFER) == "\r\n".join(lines) + "\r\n"
    assert guard_offer(OFFER.replace("\n", "\r\n")) == guard_offer(OFFER)


def test_what_kinds_of_addresses_a_caller_has_is_known_though_they_are_taken_out() -> None:
    relay = "a=candidate:3 1 udp 33562367 203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 0\n"
    assert offered_kinds(OFFER.replace("a=end-of", f"{relay}a=end-of")) == {
        ("198.51.100.7", 49203): "host",
        ("0b0eb3f0.local", 49203): "host",
        ("203.0.113.9", 50000): "relay",
    }


def test_a_caller_of_many_addresses_is_known_by_a_few() -> None:
    lines = [f"a=candidate:1 1 udp 1 198.51.100.7 {port} typ host" for port in range(1000)]
    assert len(offered_kinds("\n".join([*lines, "a=candidate:nonsense"]))) == KNOWN_CANDIDATES


def test_what_the_session_says_goes_for_every_section() -> None:
    shared = OFFER.replace(SECURITY, "").replace("m=audio", f"{SECURITY}m=audio", 1)
    assert guard_offer(shared).count("a=setup:actpass") == 1


def test_sound_alone_is_enough() -> None:
    assert "m=application" not in guard_offer(OFFER[: OFFER.index("m=application")].replace("BUNDLE 0 1", "BUNDLE 0"))


AUDIO = OFFER[OFFER.index("m=audio") : OFFER.index("m=application")]
APPLICATION = OFFER[OFFER.index("m=application") :]


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        ("", "with lines like a=value of at most 1024 characters, got ''"),
        ("v=0\n", "with exactly one audio section, got 0"),
        (OFFER + "a=x:" + "y" * 1021, "with lines like a=value of at most 1024 characters, got 'a=x:yy"),
        (OFFER + "a=cname:\x0b\n", "with lines like a=value"),
        (OFFER + "a=cname:é\n", "with ASCII text, got something else"),
        (OFFER + "a=x:y\n" * 6000, "with at most 32768 bytes, got 36"),
        (OFFER[OFFER.index("o=") :], "with v=0 in its first line, got 'o=-"),
        (AUDIO + APPLICATION, "with v=0 in its first line, got 'a media section'"),
        (
            OFFER.replace("t=0 0", "a=ice-lite"),
            "with a caller that sends connectivity checks, got a=ice-lite",
        ),
        (OFFER + AUDIO, "with exactly one audio section, got 2"),
        (OFFER + APPLICATION, "with at most one application section, got 2"),
        (OFFER + AUDIO.replace("audio", "video"), "with audio and application sections only, got 'video'"),
        (OFFER.replace("a=ice-ufrag:EsAw\n", "", 1), "with a=ice-ufrag for the audio section, got none"),
        (OFFER.replace("EsAw", "E"), "with a valid a=ice-ufrag, got one of 1 characters"),
        (OFFER.replace("P2uY", "$$$$"), "with a valid a=ice-pwd, got one of 24 characters"),
        (OFFER.replace("sha-256", "md5"), "with a valid a=fingerprint"),
        (OFFER.replace("actpass", "holdconn"), "with a valid a=setup"),
        (OFFER.replace("a=mid:1", "a=mid:0"), "with one a=mid for each section, all different"),
        (
            OFFER.replace("BUNDLE 0 1", "BUNDLE 2 0"),
            "with a BUNDLE group of its own sections, got 'BUNDLE 2 0'",
        ),
    ],
)
def test_refusals_say_what_was_expected_and_what_came(offer: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        guard_offer(offer)
    assert str(refused.value).startswith("expected an SDP offer " + message)
    assert (refused.value.code, refused.value.param) == ("invalid_offer", "sdp")


def test_a_refusal_does_not_repeat_the_password() -> None:
    with pytest.raises(InvalidRequest) as refused:
        guard_offer(OFFER.replace("P2uYro", "secret!"))
    assert "secret" not in str(refused.value)


@given(st.lists(st.tuples(st.integers(0, len(OFFER)), st.integers(0, 40), st.text(max_size=12)), max_size=5))
def test_whatever_is_done_to_an_offer_it_is_refused_or_taken(edits: list[tuple[int, int, str]]) -> None:
    offer = OFFER
    for start, length, text in edits:
        offer = offer[:start] + text + offer[start + length :]
    try:
        guarded = guard_offer(offer)
    except InvalidRequest:
        return
    assert "candidate:" not in guarded
    assert guard_offer(guarded) == guarded


def test_the_answer_welcomes_error_correction() -> None:
    answer = "v=0\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=rtpmap:9 G722/8000\r\n"
    corrected = with_opus_parameters(answer)
    assert corrected == answer.replace("opus/48000/2\r\n", "opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n")


def test_a_corrected_answer_can_be_read() -> None:
    (audio, _) = SessionDescription.parse(with_opus_parameters(guard_offer(OFFER).replace("a=fmtp", "a=x"))).media
    assert audio.rtp.codecs[0].parameters == {"minptime": 10, "useinbandfec": 1}


# -- an edge behind a relay ------------------------------------------------------------------------------------------

CANDIDATES = (
    "a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0 network-id 1",
    "a=candidate:2 1 UDP 1686052607 203.0.113.7 50001 typ srflx raddr 192.0.2.7 rport 50000",
    "a=candidate:3 1 udp 41885439 2001:db8::7 50002 typ relay raddr 0.0.0.0 rport 0",
)
USELESS = (
    "a=candidate:4 1 udp 2122260223 5f0c8a6e-0000-4000-8000-000000000000.local 50000 typ host",
    "a=candidate:5 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active",
    "a=candidate:6 1 udp 2122260223 224.0.0.251 5353 typ host",
    "a=candidate:7 1 udp 2122260223 0.0.0.0 50000 typ host",
    "a=candidate:8 2 udp 2122260222 192.0.2.7 50003 typ host",
    "a=end-of-candidates",
)


def offer_with(*lines: str) -> str:
    return guard_offer(OFFER).replace("a=ice-ufrag", "\r\n".join((*lines, "a=ice-ufrag")), 1)


def test_candidates_are_kept_only_where_they_are_asked_for() -> None:
    offer = offer_with(*USELESS, *CANDIDATES)
    assert "candidate" not in guard_offer(offer)
    kept = [line for line in guard_offer(offer, candidates=8).splitlines() if "candidate" in line]
    assert kept == list(CANDIDATES)


def test_no_more_candidates_are_kept_than_may_be_checked() -> None:
    many = [f"a=candidate:{n} 1 udp 1 192.0.2.{n} 9 typ host" for n in range(1, 100)]
    guarded = guard_offer(offer_with(*many), candidates=8)
    assert [line for line in guarded.splitlines() if "candidate" in line] == many[:8]
