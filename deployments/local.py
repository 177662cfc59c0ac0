"""The cloud tier on one machine: ``python -m deployments.local`` starts Ray, Serve and the application, and minds them.

On a cluster Ray is there already, and ``serve run`` or KubeRay start the application.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deployments.transport import local
from routing.errors import AntiphonError, SettingsError

READY = "Antiphon's cloud is ready at"
CONFIG = Path("configs/serve.local.yaml")


def main(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="A Serve configuration with one application.")
    ] = CONFIG,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Run the cloud tier here, with a Ray of its own, until Ctrl-C.

    Examples:

      python -m deployments.local

      python -m deployments.local --config configs/serve.lfm2-audio.yaml --port 8001
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        application = read_application(config)
        with running(application, host=host, port=port):
            typer.echo(f"{READY} ws://{host}:{port}")
            sys.stdout.flush()
            ended.wait()
    except AntiphonError as error:
        typer.echo(f"antiphon: {error}", err=True)
        raise typer.Exit(1) from None


def read_application(config: Path) -> dict[str, Any]:
    """The one application of a Serve configuration.

    Raises:
        SettingsError: the file cannot be read, or there is not one application in it.
    """
    try:
        content = yaml.safe_load(config.read_text("utf-8"))
        (application,) = content["applications"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise SettingsError(f"{config}: expected a Serve configuration with one application: {error}") from None
    found: dict[str, Any] = application
    return found


@contextmanager
def running(application: dict[str, Any], *, host: str, port: int) -> Iterator[None]:
    """Ray, Serve and the application, ready; all of it gone on leaving."""
    os.environ |= local(port)
    import ray  # reads the environment when it is imported
    from ray import serve

    from deployments.app import app
    from deployments.settings import AppSettings

    typer.echo("starting Ray")
    with tempfile.TemporaryDirectory(prefix="antiphon-ray-") as folder:
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, _temp_dir=folder, log_to_driver=False)
        try:
            typer.echo("starting Serve")
            serve.start(proxy_location="Disabled", http_options={"host": host})
            typer.echo("loading the model")
            serve.run(app(AppSettings(**application.get("args", {}))), name=application.get("name", "antiphon"))
            yield
        finally:
            ray.shutdown()


if __name__ == "__main__":
    typer.run(main)
