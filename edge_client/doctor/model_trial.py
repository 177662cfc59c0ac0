"""A process that loads every model of the device and uses each once; exits with 1 and the reason where one fails."""

from __future__ import annotations

import os
import sys

from edge_client.event_loop import run
from edge_client.models.library import load_library
from edge_client.models.store import ModelStore, default_folder
from routing.errors import ModelError


def main() -> int:
    """The exit code."""
    try:
        run(_try_all())
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _try_all() -> None:
    store = ModelStore(default_folder(os.environ))
    library = await load_library(store, progress=lambda line: None)
    library.close()


if __name__ == "__main__":
    sys.exit(main())
