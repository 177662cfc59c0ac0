"""Which offers are let in, and the small corrections to offer and answer.

An offer is text from a stranger that makes the server open sockets and send packets, so only what a voice call needs
is allowed. Addresses in it are dropped: the caller is learned from the checks it sends to us, and nobody can
make the server send checks elsewhere. An edge behind a relay has to check its callers first, and keeps a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice, pairwise

from routing.errors import InvalidRequest

LONGEST_OFFER = 32 * 1024  # bytes; a browser's is about 4 KiB
LONGEST_LINE = 1024
RELAYED_CANDIDATES = 8  # each is sent up to seven checks
KNOWN_CANDIDATES = 16  # a browser with several networks has about as many
OPUS_PARAMETERS = "minptime=10;useinbandfec=1"

_LINE = re.compile(r"[a-z]=[\x20-\x7e]*")
_CANDIDATES = re.compile(r"a=(candidate|remote-candidates|end-of-candidates)\b")
_CANDIDATE = re.compile(
    r"a=candidate:\S{1,64} 1 udp \d{1,10} (\S{1,64}) (\d{1,5}) typ (host|srflx|relay)\b.*", re.IGNORECASE
)
_OPUS = re.compile(r"a=rtpmap:(\d{1,3}) opus/48000\b.*", re.IGNORECASE)

# What every section must say, itself or through the session, and how it must look.
_REQUIRED = {
    "ice-ufrag": re.compile(r"[A-Za-z0-9+/]{4,256}"),
    "ice-pwd": re.compile(r"[A-Za-z0-9+/]{22,256}"),
    "fingerprint": re.compile(r"sha-(256|384|512) [0-9A-F]{2}(:[0-9A-F]{2}){31,63}", re.IGNORECASE),
    "setup": re.compile(r"actpass|active|passive"),
}


def guard_offer(sdp: str, *, candidates: int = 0) -> str:
    """Return the offer without its candidates, but for the first few that could be those of a caller.

    Raises:
        InvalidRequest: it is not an offer of one voice stream and at most one data channel.
    """
    if not sdp.isascii():
        raise _refused("ASCII text", "something else")
    if len(sdp) > LONGEST_OFFER:
        raise _refused(f"at most {LONGEST_OFFER} bytes", f"{len(sdp)}")
    lines = list(_without_candidates(_checked_lines(sdp), but=candidates))
    _check(_parsed(lines))
    return "\r\n".join(lines) + "\r\n"


def offered_kinds(sdp: str) -> dict[tuple[str, int], str]:
    """What kind of address a caller calls each of its own: "host", "srflx" or "relay", by address and port.

    Nothing is ever sent to one because it is here: a caller who comes from one is known by it. At most the first few.
    """
    found = (_CANDIDATE.fullmatch(line) for line in sdp.splitlines() if line.startswith("a=candidate:"))
    return {(each[1], int(each[2])): each[3].lower() for each in islice(filter(None, found), KNOWN_CANDIDATES)}


def _without_candidates(lines: Iterable[str], *, but: int) -> Iterator[str]:
    for line in lines:
        if not _CANDIDATES.match(line):
            yield line
        elif but and _is_usable(line):
            but -= 1
            yield line


def _is_usable(line: str) -> bool:
    """A name would have to be resolved, which takes a second and asks the whole local network."""
    candidate = _CANDIDATE.fullmatch(line)
    if candidate is None:
        return False
    try:
        address = ip_address(candidate[1])
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified or address.is_reserved)


def with_opus_parameters(answer: str) -> str:
    """Tell the caller that in-band error correction is welcome; without it a browser sends none."""
    return "\r\n".join(_explained(answer.splitlines())) + "\r\n"


def _explained(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if opus := _OPUS.fullmatch(line):
            yield f"a=fmtp:{opus[1]} {OPUS_PARAMETERS}"


# -- what an offer says ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    """The lines from one ``m=`` to the next; those before the first belong to the session, whose kind is empty."""

    kind: str
    lines: tuple[str, ...]

    def values(self, attribute: str) -> list[str]:
        prefix = f"a={attribute}:"
        return [line.removeprefix(prefix) for line in self.lines if line.startswith(prefix)]


@dataclass(frozen=True, slots=True)
class _Offer:
    session: _Section
    media: tuple[_Section, ...]

    def count(self, kind: str) -> int:
        return sum(section.kind == kind for section in self.media)


def _checked_lines(sdp: str) -> list[str]:
    lines = sdp.replace("\r\n", "\n").rstrip("\n").split("\n")
    for line in lines:
        if len(line) > LONGEST_LINE or not _LINE.fullmatch(line):
            raise _refused(f"lines like a=value of at most {LONGEST_LINE} characters", repr(line[:40]))
    return lines


def _parsed(lines: list[str]) -> _Offer:
    bounds = [index for index, line in enumerate(lines) if line.startswith("m=")] + [len(lines)]
    media = tuple(_Section(lines[start][2:].split(" ")[0], tuple(lines[start:end])) for start, end in pairwise(bounds))
    return _Offer(_Section("", tuple(lines[: bounds[0]])), media)


# -- what it must say ------------------------------------------------------------------------------------------------


def _check(offer: _Offer) -> None:
    _check_session(offer.session)
    _check_kinds(offer)
    for section in offer.media:
        for attribute, pattern in _REQUIRED.items():
            _check_attribute(offer.session, section, attribute, pattern)
    _check_bundle(offer)


def _check_session(session: _Section) -> None:
    first = session.lines[0] if session.lines else "a media section"
    if first != "v=0":
        raise _refused("v=0 in its first line", repr(first[:40]))
    if "a=ice-lite" in session.lines:
        raise _refused("a caller that sends connectivity checks", "a=ice-lite")


def _check_kinds(offer: _Offer) -> None:
    audio, application = offer.count("audio"), offer.count("application")
    if audio != 1:
        raise _refused("exactly one audio section", f"{audio}")
    if application > 1:
        raise _refused("at most one application section", f"{application}")
    for section in offer.media:
        if section.kind not in ("audio", "application"):
            raise _refused("audio and application sections only", repr(section.kind[:40]))


def _check_attribute(session: _Section, section: _Section, attribute: str, pattern: re.Pattern[str]) -> None:
    values = section.values(attribute) or session.values(attribute)
    if not values:
        raise _refused(f"a={attribute} for the {section.kind} section", "none")
    for value in values:
        if not pattern.fullmatch(value):
            raise _refused(f"a valid a={attribute}", f"one of {len(value)} characters that is not")


def _check_bundle(offer: _Offer) -> None:
    names = [tuple(section.values("mid")) for section in offer.media]
    if any(len(name) > 1 for name in names) or len(set(names)) < len(names):
        raise _refused("one a=mid for each section, all different", f"{names}"[:80])
    known = {mid for name in names for mid in name}
    for group in offer.session.values("group"):
        words = group.split()
        if words[:1] == ["BUNDLE"] and not known.issuperset(words[1:]):
            raise _refused("a BUNDLE group of its own sections", repr(group[:40]))


def _refused(expected: str, got: str) -> InvalidRequest:
    return InvalidRequest(f"expected an SDP offer with {expected}, got {got}", code="invalid_offer", param="sdp")
