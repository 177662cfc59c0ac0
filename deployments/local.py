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

from deployments.transport import Transport, environment
from routing.errors import AntiphonError, BackendUnavailable, SettingsError

READY = "Antiphon's cloud is ready at"
NAME = "antiphon"
CONFIG = Path("configs/serve.local.yaml")


def main(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="A Serve configuration with one application.")
    ] = CONFIG,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    transport: Annotated[
        Transport, typer.Option(help="direct: no proxy; haproxy: as on a cluster; ray: Ray's own defaults, to compare.")
    ] = "direct",
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
        with running(application, host=host, port=port, transport=transport):
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
def running(application: dict[str, Any], *, host: str, port: int, transport: Transport = "direct") -> Iterator[None]:
    """Ray, Serve and the application, ready; all of it gone on leaving."""
    os.environ |= environment(transport, port)
    import ray  # reads the environment when it is imported
    from ray import serve

    from deployments.app import app
    from deployments.settings import AppSettings

    typer.echo("starting Ray")
    with tempfile.TemporaryDirectory(prefix="antiphon-ray-") as folder:
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, _temp_dir=folder, log_to_driver=False)
        try:
            typer.echo("starting Serve")
            if transport == "direct":  # the port belongs to the ingress, and would else be kept for a proxy
                serve.start(proxy_location="Disabled", http_options={"host": host})
            else:
                serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
            typer.echo("loading the model")
            try:
                serve.run(app(AppSettings(**application.get("args", {}))), name=NAME)
            except RuntimeError as error:
                raise BackendUnavailable(f"{error} {_why()}") from None
            yield
        finally:
            ray.shutdown()


def _why() -> str:
    """What became of the deployments."""
    from ray import serve

    deployments = serve.status().applications[NAME].deployments
    return " ".join(f"{name}: {deployment.message}" for name, deployment in deployments.items() if deployment.message)


if __name__ == "__main__":
    program = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    program.command()(main)
    program()
