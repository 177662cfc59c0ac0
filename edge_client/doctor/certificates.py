"""Certificates in files: whether they can be read, belong to their keys, and are valid now and for this name."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509

from edge_client.doctor.finding import Finding, fault, ok, warning
from edge_client.settings import EdgeSettings
from edge_client.tls import Identity
from routing.errors import SettingsError

SOON_DAYS = 14
MAKE_NEW = "Have it renewed, and put the new files in place."


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate that somebody is shown, and its key, which may lie in the same file."""

    about: str
    certificate: Path
    key: Path | None


def look_at_certificates(settings: EdgeSettings, *, host: str | None, now: datetime | None = None) -> list[Finding]:
    """Those that the edge shows to callers and to its cloud. ``host`` is what callers call it, where that is known."""
    now = now or datetime.now(UTC)
    return [*_shown_to_callers(settings, host, now), *_shown_to_the_cloud(settings, now)]


def _shown_to_callers(settings: EdgeSettings, host: str | None, now: datetime) -> Iterator[Finding]:
    tls = settings.tls
    if tls.certificate_file is not None:
        yield _judged(Files("certificate", tls.certificate_file, tls.key_file), host, now)


def _shown_to_the_cloud(settings: EdgeSettings, now: datetime) -> Iterator[Finding]:
    cloud = settings.cloud
    if cloud.certificate_file is not None:
        yield _judged(Files("certificate for the cloud", cloud.certificate_file, cloud.key_file), None, now)
    if cloud.ca_file is not None:
        yield _authority(cloud.ca_file)


def _judged(files: Files, host: str | None, now: datetime) -> Finding:
    try:
        Identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files.certificate, files.key)  # takes them as the edge does
        shown = x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
    except (SettingsError, OSError, ValueError) as error:
        return _unusable(files.about, error)
    return _dates(files, shown, now) or _name(files, shown, host) or _fine(files, shown, now)


def _unusable(about: str, error: Exception) -> Finding:
    return fault(
        about,
        str(error),
        expected="files that an edge can use",
        advice="Name the files of one and the same pair, in PEM, and let the edge's user read them.",
    )


def _dates(files: Files, shown: x509.Certificate, now: datetime) -> Finding | None:
    begins, ends = shown.not_valid_before_utc, shown.not_valid_after_utc
    if now >= ends:
        return fault(
            files.about, f"one that ended on {ends:%d %B %Y}", expected="one that is valid now", advice=MAKE_NEW
        )
    if now < begins:
        return fault(
            files.about,
            f"one that begins on {begins:%d %B %Y at %H:%M} UTC",
            expected="one that is valid now",
            advice="Set this machine's clock, or wait.",
        )
    if (ends - now).days < SOON_DAYS:
        return warning(
            files.about,
            f"{(ends - now).days} days",
            expected=f"at least {SOON_DAYS} days until it ends",
            advice=MAKE_NEW,
        )
    return None


def _name(files: Files, shown: x509.Certificate, host: str | None) -> Finding | None:
    names = names_of(shown)
    if host is None or any(_covers(name, host) for name in names):
        return None
    return fault(
        files.about,
        f"one for {', '.join(names) or 'no name at all'}",
        expected=f"one for {host}",
        advice="Call the edge by a name that is in its certificate, or have one made for this name.",
    )


def names_of(shown: x509.Certificate) -> list[str]:
    """The names and addresses that it is valid for."""
    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _covers(name: str, host: str) -> bool:
    """As clients compare: an asterisk stands for one label, the first."""
    try:
        return ip_address(name) == ip_address(host)
    except ValueError:
        pass
    if name.startswith("*."):
        return host.lower().partition(".")[2] == name[2:].lower()
    return host.lower() == name.lower()


def _fine(files: Files, shown: x509.Certificate, now: datetime) -> Finding:
    days = (shown.not_valid_after_utc - now).days
    own = " It is signed by itself: callers must be told to trust it." if shown.issuer == shown.subject else ""
    return ok(files.about, f"for {', '.join(names_of(shown)) or 'no name'}, {days} days left", advice=own.strip())


def _authority(file: Path) -> Finding:
    about = "authority of the cloud"
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # an SSLError is one
        return _unusable(about, error)
    return ok(about, f"certificates in {file}")
