"""Places on the disk, into some of which this user may not even look."""

from __future__ import annotations

from pathlib import Path


def nearest(place: Path) -> Path:
    """What there is of it, as far as one can see."""
    return next(part for part in (place.absolute(), *place.absolute().parents) if is_there(part))


def is_there(place: Path) -> bool:
    """Whether one can see it."""
    try:
        return place.exists()
    except OSError:  # a folder on the way is closed to us
        return False
