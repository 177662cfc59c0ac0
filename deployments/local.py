"""The cloud tier on one machine: ``python -m deployments.local`` starts Ray, Serve and the application, and minds them.

On a cluster Ray is there already, and ``serve run`` or KubeRay start the application.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deployments.offspring import Offspring
from deployments.transport import Transport, environment, proxy_folder
from routing.errors import AntiphonError, BackendUnavailable, SettingsError

READY = "Antiphon's cloud is ready at"
NAME = "antiphon"
CONFIG = Path("configs/serve.local.yaml")
TELL_EVERY_SEC = 10.0  # while a step of the start takes its time
SHORT_FOLDER = "/tmp" if sys.platform == "darwin" else None  # paths of sockets have a limit
LEAVE_SEC = 6.0  # how long Ray may take to end its processes; then they are ended without it


def main(  # noqa: PLR0917  typer gives them by name
    config: Annotated[
        Path, typer.Option("--config", "-c", help="A Serve configuration with one application.")
    ] = CONFIG,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_000, help="Port to listen on.")] = 8000,
    transport: Annotated[
        Transport, typer.Option(help="direct: no proxy; haproxy: as on a cluster; ray: Ray's own defaults, to compare.")
    ] = "direct",
    traces: Annotated[Path | None, typer.Option(help="Write traces to this file, as lines of OTLP in JSON.")] = None,
    otlp: Annotated[str, typer.Option(help="Send traces to this collector, as in http://127.0.0.1:4318.")] = "",
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the metrics for Prometheus; 0: any that is free.")
    ] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what Ray and the replicas log.")] = False,
) -> None:
    """Run the cloud tier here, with a Ray of its own, until Ctrl-C.

    It takes the application from a Serve configuration: which model answers, what that model is told, how many turns a
    replica keeps open, where traces go. Host and port are those of the command line. Callers connect to the address
    that is printed at the end; set it as the edge's cloud URL.

    Examples:

      python -m deployments.local

      python -m deployments.local --config configs/serve.lfm2-audio.yaml --port 8001

      python -m deployments.local --traces cloud.jsonl --metrics-port 9464

      curl http://127.0.0.1:8000/v1/replicas      (who answers, and how many turns each has open)
    """
    _heed_signals()
    try:
        args = with_telemetry(read_args(config), traces=traces, otlp=otlp)
        with running(
            args, host=host, port=port, transport=transport, metrics_port=metrics_port, verbose=verbose
        ) as metrics:
            _tell(f"its metrics are at {metrics}")
            _tell(f"{READY} ws://{host}:{port}")
            threading.Event().wait()
    except KeyboardInterrupt:
        return
    except AntiphonError as error:
        typer.echo(f"antiphon: {error}", err=True)
        raise typer.Exit(1) from None


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def read_args(config: Path) -> dict[str, Any]:
    """What the one application of a Serve configuration is told, checked.

    Raises:
        SettingsError: the file cannot be read, there is not one application in it, or it is told what it does not know.
    """
    from deployments.settings import checked

    try:
        content = yaml.safe_load(config.read_text("utf-8"))
        (application,) = content["applications"]
        args = dict(application.get("args") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise SettingsError(f"{config}: expected a Serve configuration with one application: {error}") from None
    try:
        checked(args)
    except SettingsError as error:
        raise SettingsError(f"{config}: {error}") from None
    return args


def with_telemetry(args: dict[str, Any], *, traces: Path | None, otlp: str) -> dict[str, Any]:
    """The same, with traces going where the command line says, in place of where the configuration does.

    Raises:
        SettingsError: ``otlp`` is no address.
    """
    from deployments.model_settings import settings_of
    from routing.telemetry.settings import TelemetrySettings

    told = {**(args.get("telemetry") or {})}
    told |= {"file": str(traces.absolute())} if traces else {}
    told |= {"endpoint": otlp} if otlp else {}
    try:
        settings_of(TelemetrySettings, told)
    except SettingsError as error:
        raise SettingsError(f"--otlp{str(error).removeprefix('endpoint')}") from None
    return {**args, "telemetry": told}


@contextmanager
def running(
    args: dict[str, Any],
    *,
    host: str,
    port: int,
    transport: Transport = "direct",
    metrics_port: int = 0,
    verbose: bool = False,
) -> Iterator[str]:
    """Ray, Serve and the application, ready; all of it gone on leaving. Yields where Prometheus finds the metrics.

    Raises:
        SettingsError: nothing can listen there.
        BackendUnavailable: it did not start; says why, and where the logs are.
    """
    _check_port(host, port)
    folder = Path(tempfile.mkdtemp(prefix="antiphon-ray-", dir=SHORT_FOLDER))
    offspring = Offspring()
    os.environ |= {**environment(transport, port), **offspring.mark}
    if not verbose:
        os.environ["RAY_SERVE_LOG_TO_STDERR"] = "0"
    try:
        with _logs_kept(folder):
            _start_ray(folder, metrics_port, verbose=verbose)
            _start_serve(transport, host, port, verbose=verbose)
            _start_application(args)
        yield _metrics_address()
    finally:
        _leave(folder, offspring, port)


def _check_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"expected a free port, {port} is in use: choose another one with --port") from None
        raise SettingsError(f"expected an address to listen on, got {host}:{port}: {error.strerror}") from None


# -- the start, step by step -------------------------------------------------------------------------------------------


def _start_ray(folder: Path, metrics_port: int, *, verbose: bool) -> None:
    with _step("starting Ray"):
        import ray  # reads the environment when it is imported

        ray.init(
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            _temp_dir=str(folder),
            _metrics_export_port=metrics_port,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.ERROR,
        )
        _heed_signals()  # Ray would die of SIGTERM at once


def _start_serve(transport: Transport, host: str, port: int, *, verbose: bool) -> None:
    with _step("starting Serve"):
        from ray import serve

        if not verbose:
            logging.getLogger("ray.serve").setLevel(logging.WARNING)
        if transport == "direct":  # the port belongs to the ingress, and would else be kept for a proxy
            serve.start(proxy_location="Disabled", http_options={"host": host})
        else:
            serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})


def _start_application(args: dict[str, Any]) -> None:
    with _step("loading the model"):
        from ray import serve

        from deployments.app import app

        try:
            serve.run(app(args), name=NAME)
        except RuntimeError:
            raise BackendUnavailable(f"the cloud did not start: {_why()}") from None


def _metrics_address() -> str:
    """Of the one node that there is; Ray listens there on all of the machine's addresses."""
    import ray

    (node,) = ray.nodes()
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def _why() -> str:
    """What became of the deployments: the last line of each message, which is where a traceback says what was wrong."""
    from ray import serve

    deployments = serve.status().applications[NAME].deployments
    messages = {name: deployment.message.strip().splitlines() for name, deployment in deployments.items()}
    return "; ".join(f"{name}: {lines[-1]}" for name, lines in messages.items() if lines)


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Say what is done, and now and then that it still is."""
    _tell(what)
    done = threading.Event()
    threading.Thread(target=_tell_again, args=(what, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _tell_again(what: str, done: threading.Event) -> None:
    began = time.monotonic()
    while not done.wait(TELL_EVERY_SEC):
        _tell(f"still {what}, for {time.monotonic() - began:.0f} s")


def _tell(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


# -- the end -----------------------------------------------------------------------------------------------------------


@contextmanager
def _logs_kept(folder: Path) -> Iterator[None]:
    """Where the start fails, the logs outlive Ray's folder."""
    try:
        yield
    except Exception as error:
        kept = Path(tempfile.mkdtemp(prefix="antiphon-cloud-logs-"))
        shutil.copytree(folder / "session_latest" / "logs", kept, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        raise BackendUnavailable(f"{error} (Ray's logs are in {kept})") from error


def _leave(folder: Path, offspring: Offspring, port: int) -> None:
    """End all processes, however far they have come."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it is being done already
    impatience = threading.Timer(LEAVE_SEC, offspring.kill)
    impatience.daemon = True
    impatience.start()
    try:
        _end_ray()
    finally:
        impatience.cancel()
        offspring.kill()  # Ray leaves its proxy running
        for left in (folder, proxy_folder(port)):
            shutil.rmtree(left, ignore_errors=True)


def _end_ray() -> None:
    if ray := sys.modules.get("ray"):
        ray.shutdown()


if __name__ == "__main__":
    program = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    program.command()(main)
    program()
