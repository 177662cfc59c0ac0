"""Packages that are missing, or of other versions than those that were tested."""

from __future__ import annotations

from collections.abc import Mapping

from edge_client.doctor.packages import Wanted, base, extras, look_at_packages

REQUIRES = (
    "aiortc==1.16.0",
    "uvloop>=0.22; sys_platform != 'nowhere'",
    "winloop>=1; sys_platform == 'nowhere'",
    "sounddevice>=0.5; extra == 'talk'",
    "ray[serve]==2.60.0; extra == 'serve'",
    "not a requirement!",
)
ALL: Mapping[str, str] = {"aiortc": "1.16.0", "uvloop": "0.30", "sounddevice": "0.5.1", "ray": "2.60.0"}


def test_what_fits_is_well() -> None:
    wanted = Wanted.of(REQUIRES)
    found = base(wanted, ALL.get)
    assert (found.verdict, found.found) == ("ok", "all 2 that the edge needs, in the versions that it wants")
    talk, serve, *_ = extras(wanted, ALL.get)
    assert (talk.verdict, serve.verdict) == ("ok", "ok")


def test_another_version_and_a_missing_package_are_faults_by_name() -> None:
    found = base(Wanted.of(REQUIRES), {"aiortc": "1.15.0"}.get)
    assert found.verdict == "fault"
    assert found.found == "aiortc 1.15.0 where ==1.16.0 is wanted; no uvloop"


def test_an_extra_may_be_missing_but_must_fit_where_it_is_here() -> None:
    talk, serve, *_ = extras(Wanted.of(REQUIRES), {"ray": "2.59.0"}.get)
    assert (talk.verdict, talk.found) == ("skipped", "not installed (sounddevice)")
    assert "pip install 'antiphon[talk]'" in talk.advice
    assert (serve.verdict, serve.found) == ("warning", "ray 2.59.0 where ==2.60.0 is wanted")


def test_this_environment_is_as_it_should_be() -> None:
    python, packages, *_ = look_at_packages()
    assert (python.verdict, packages.verdict) == ("ok", "ok"), packages.line
