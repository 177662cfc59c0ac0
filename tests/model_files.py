"""The model folder, for tests marked `models`."""

from __future__ import annotations

import os

from edge_client.models.store import ModelStore, default_folder


def model_store() -> ModelStore:
    return ModelStore(default_folder(os.environ))
