"""The models by their names, and one's own by its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from deployments.model import OpenModel
from routing.errors import SettingsError


def find_model(name: str) -> OpenModel:
    """How the model of this name is opened: "cascade", "lfm2-audio", or "package.module:function".

    Raises:
        SettingsError: there is none.
    """
    if name in MODELS:
        return MODELS[name]()
    module, _, function = name.partition(":")
    if not function:
        raise SettingsError(f"expected one of {', '.join(MODELS)} or package.module:function, got {name!r}")
    try:
        found: OpenModel = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"the model {name!r} cannot be found: {error}") from error
    return found


def _cascade() -> OpenModel:
    from deployments.cascade.cascade import open_cascade  # each model brings libraries of its own

    return open_cascade


def _lfm2_audio() -> OpenModel:
    from deployments.lfm2_audio import open_lfm2_audio

    return open_lfm2_audio


MODELS: Mapping[str, Callable[[], OpenModel]] = {"cascade": _cascade, "lfm2-audio": _lfm2_audio}
