"""This machine's microphone and loudspeaker, which only `antiphon talk` needs."""

from __future__ import annotations

from edge_client.doctor.aside import aside
from edge_client.doctor.finding import Finding, ok, skipped
from edge_client.soundcard import Devices, portaudio
from routing.errors import SettingsError

ABOUT = "microphone"


async def look_at_sound() -> list[Finding]:
    """Try the devices that `antiphon talk` would take."""
    try:
        await aside(lambda: portaudio(Devices()))
    except SettingsError as error:
        return [skipped(ABOUT, str(error), advice="Only `antiphon talk` needs it: browsers bring their own.")]
    return [ok(ABOUT, "there is one, and a loudspeaker: antiphon talk")]
