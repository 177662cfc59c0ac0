"""Python and its packages: whether they are those that Antiphon was tested with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from edge_client.doctor.finding import Finding, fault, ok, skipped, warning

OURS = "antiphon"
LEAST_PYTHON = (3, 12)
ABOUT = "packages"
EXTRAS: Mapping[str, str] = {
    "talk": "to talk with `antiphon talk`",
    "serve": "to run a cloud here",
    "reports": "for plots in reports",
    "lfm2": "to run the speech model on a GPU",
}

type VersionOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What Antiphon asks for, by extra; the base under an empty name."""

    by_extra: Mapping[str, tuple[Requirement, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Iterable[str]) -> Wanted:
        """From requirements as a distribution names them."""
        by_extra: dict[str, list[Requirement]] = {}
        for line in lines:
            requirement = _parsed(line)
            if requirement is None:
                continue
            for extra in ("", *EXTRAS):
                if _belongs(requirement, extra):
                    by_extra.setdefault(extra, []).append(requirement)
                    break
        return cls({extra: tuple(found) for extra, found in by_extra.items()})


def _parsed(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _belongs(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def look_at_packages() -> list[Finding]:
    """Those of this environment. Reads files."""
    try:
        lines = metadata.requires(OURS) or []
    except metadata.PackageNotFoundError:
        return [_python(), skipped(ABOUT, "antiphon itself is not installed here, so nothing says what it wants")]
    wanted = Wanted.of(lines)
    return [_python(), base(wanted, _version), *extras(wanted, _version)]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= LEAST_PYTHON:
        return ok("Python", found)
    least = ".".join(map(str, LEAST_PYTHON))
    return fault("Python", found, expected=f"at least {least}", advice=f"Install Python {least}, then: make setup")


def base(wanted: Wanted, version_of: VersionOf) -> Finding:
    """Whether all is here that an edge needs."""
    requirements = wanted.by_extra.get("", ())
    complaints = list(_complaints(requirements, version_of))
    if not complaints:
        return ok(ABOUT, f"all {len(requirements)} that the edge needs, in the versions that it wants")
    return fault(
        ABOUT,
        "; ".join(complaints),
        expected="those that the edge was tested with",
        advice="Install them as they are pinned: make setup, or uv pip sync --require-hashes requirements.txt",
    )


def extras(wanted: Wanted, version_of: VersionOf) -> Iterator[Finding]:
    """What may be here, and then has to fit."""
    for extra, purpose in EXTRAS.items():
        requirements = wanted.by_extra.get(extra, ())
        absent = [each.name for each in requirements if version_of(each.name) is None]
        if absent:
            advice = f"It is needed {purpose}: pip install 'antiphon[{extra}]'"
            yield skipped(f"extra {extra}", f"not installed ({', '.join(absent)})", advice=advice)
        else:
            yield _fitting(extra, list(_complaints(requirements, version_of)))


def _fitting(extra: str, complaints: list[str]) -> Finding:
    if not complaints:
        return ok(f"extra {extra}", "installed")
    return warning(
        f"extra {extra}",
        "; ".join(complaints),
        expected="the versions that it was tested with",
        advice=f"Install them as they are pinned: pip install 'antiphon[{extra}]'",
    )


def _complaints(requirements: Iterable[Requirement], version_of: VersionOf) -> Iterator[str]:
    for requirement in requirements:
        version = version_of(requirement.name)
        if version is None:
            yield f"no {requirement.name}"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} where {requirement.specifier} is wanted"
