"""The models by their names, and one's own by its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from pydantic import BaseModel

from deployments.model import OpenModel
from deployments.model_settings import settings_of
from routing.errors import SettingsError


class NamedModel(NamedTuple):
    """Functions that import: each model brings libraries of its own."""

    opens: Callable[[], OpenModel]
    settings: Callable[[], type[BaseModel]]


def find_model(name: str) -> OpenModel:
    """How the model of this name is opened: "cascade", "lfm2-audio", or "package.module:function".

    Raises:
        SettingsError: there is none.
    """
    if name in MODELS:
        return MODELS[name].opens()
    module, _, function = name.partition(":")
    if not function:
        raise SettingsError(f"model: expected one of {', '.join(MODELS)} or package.module:function, got {name!r}")
    try:
        found: OpenModel = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"model: {name!r} cannot be found: {error}") from error
    return found


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Look at a model's settings without loading it. One's own model looks at its settings itself, when it is opened.

    Raises:
        SettingsError: there is no such model, or one of its settings is unknown or wrong.
    """
    if name not in MODELS:
        find_model(name)
        return
    try:
        settings_of(MODELS[name].settings(), settings)
    except SettingsError as error:
        raise SettingsError(f"model_settings of {name}: {error}") from None


def _open_cascade() -> OpenModel:
    from deployments.cascade.cascade import open_cascade

    return open_cascade


def _cascade_settings() -> type[BaseModel]:
    from deployments.cascade.settings import CascadeSettings

    return CascadeSettings


def _open_lfm2_audio() -> OpenModel:
    from deployments.lfm2_audio import open_lfm2_audio

    return open_lfm2_audio


def _engine_settings() -> type[BaseModel]:
    from deployments.engine.settings import EngineSettings

    return EngineSettings


MODELS: Mapping[str, NamedModel] = {
    "cascade": NamedModel(_open_cascade, _cascade_settings),
    "lfm2-audio": NamedModel(_open_lfm2_audio, _engine_settings),
}
