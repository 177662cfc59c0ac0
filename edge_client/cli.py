"""The command line. Heavy packages are imported by the command that needs them, so that help is there at once."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from functools import partial
from importlib.metadata import entry_points
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from edge_client.caller.budget import BUDGETS, read_budget
from edge_client.event_loop import run, run_until_told
from edge_client.network.profile import PROFILES, find_profile
from routing.errors import AntiphonError, SettingsError
from routing.telemetry.logs import log_to_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rich.console import Console

    from edge_client.caller.command import Output
    from edge_client.models.store import ModelStore
    from edge_client.settings import EdgeSettings

LOG_WIDTH = 120  # where nobody says how wide the output may be
LOCAL_EDGE = "http://127.0.0.1:8080"
BROUGHT = "antiphon.commands"  # entry points: each a typer program of one command


class PlainErrors(TyperGroup):
    """What Antiphon raises on purpose becomes one line on stderr and exit code 1; a traceback is for bugs."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's context is click's
        try:
            return super().invoke(ctx)
        except AntiphonError as error:
            typer.echo(f"antiphon: {error}", err=True)
            raise typer.Exit(1) from None


class Commands(PlainErrors):
    """The commands of this file, and those that other rooms bring: found by their names, imported when asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer's context is click's
        return [*super().list_commands(ctx), *sorted(entry_points(group=BROUGHT).names)]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # likewise
        if own := super().get_command(ctx, cmd_name):
            return own
        brought = [entry.load() for entry in entry_points(group=BROUGHT, name=cmd_name)]
        return typer.main.get_command(brought[0]) if brought else None


app = typer.Typer(
    cls=Commands,
    name="antiphon",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Antiphon: a voice that answers within a breath, on this machine and without an account.

Where to begin:

  [bold]antiphon demo[/]     hear it answer, and see how fast; then open the page it prints
  [bold]antiphon edge[/]     run the server for browsers, SDKs and phones
  [bold]antiphon talk[/]     talk to it here, through this machine's microphone and loudspeaker""",
)
models_app = typer.Typer(cls=PlainErrors, no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(models_app, name="models", help="Fetch, list and verify the model files.")
route_app = typer.Typer(cls=PlainErrors, no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    route_app, name="route", help="See why turns were answered where they were, and what else could have been."
)
trace_app = typer.Typer(cls=PlainErrors, no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(trace_app, name="trace", help="See where the time of each turn went, from files of traces.")


def main() -> None:
    """Run the command line."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"antiphon {package_version('antiphon')}")
        raise typer.Exit


@app.callback()
def common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, on stderr.")] = False,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(envvar="ANTIPHON_LOG_FORMAT", help="How: for people, or for programs, with ids."),
    ] = "text",
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options of every command."""
    log_to_stderr(logging.INFO if verbose else logging.WARNING, log_format)


# -- the edge --------------------------------------------------------------------------------------------------------

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings as YAML; ANTIPHON_… variables come on top.")
]


@app.command()
def edge(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Without API keys only this machine's own.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 is any free one.")] = None,
    engine: Annotated[
        Literal["device", "tone"] | None, typer.Option(help="What answers: this machine's models, or a tone at once.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port and the calls.")] = None,
    config: ConfigFile = None,
) -> None:
    """Run the edge: the server that hears, decides and answers.

    It serves the page at /, WebRTC at /v1/realtime/calls and WebSocket at /v1/realtime, until Ctrl-C.

    Examples:

      antiphon edge

      antiphon edge --port 9000 --config configs/edge.yaml

      antiphon edge --engine tone

      antiphon edge --workers 4

      ANTIPHON_API_KEYS=a-long-secret antiphon edge --host 0.0.0.0
    """
    from edge_client.settings import keeping_traces, read_settings

    given = {"host": host, "port": port, "engine": engine, "workers": workers}
    settings = read_settings(config, environment=os.environ, **given)  # faults show at once
    settings = keeping_traces(settings, os.environ)

    from edge_client.terminal import telling

    with ExitStack() as starting:
        tell = starting.enter_context(telling(_console(stderr=True)))

        def welcome(url: str) -> None:
            starting.close()
            _welcome(url, settings)

        run(_server(settings)(settings, progress=tell, ready=welcome))


def _server(settings: EdgeSettings) -> Callable[..., Coroutine[Any, Any, None]]:
    """One process that serves, or one that minds those that do: it loads no models itself."""
    if settings.workers > 1:
        from edge_client.workers.supervisor import supervise

        return supervise
    from edge_client.realtime.program import serve

    return serve


def _welcome(url: str, settings: EdgeSettings) -> None:
    from edge_client.caller.edge_process import READY

    typer.echo(f"{READY} {url}")
    if settings.engine == "tone":
        _explain_tone(settings)
    if settings.development:
        typer.echo(f"Development mode, without API keys: whoever is on this machine may call, at {settings.host} only.")
    typer.echo("Open the address in a browser, or call it: antiphon call " + url)
    sys.stdout.flush()


def _explain_tone(settings: EdgeSettings) -> None:
    taking = settings.turn_taking
    waits = {"semantic": f" after {taking.unsure_hold_ms} ms", "silence": f" after {taking.silence_ms} ms"}
    typer.echo(f"Nothing is understood: a turn is answered with a tone{waits.get(taking.mode, '')}.")
    if taking.mode == "semantic":
        typer.echo("With ANTIPHON_TURN_TAKING__MODE=silence the wait is turn_taking.silence_ms.")


# -- callers ---------------------------------------------------------------------------------------------------------


Relay = Annotated[
    bool, typer.Option("--relay", help="Ask the edge for its TURN servers, and call through one where need be.")
]


@app.command()
def call(
    *,
    url: Annotated[str, typer.Argument(help="The server: an Antiphon edge, or any other OpenAI Realtime server.")] = (
        LOCAL_EDGE
    ),
    wav: Annotated[list[Path] | None, typer.Option(help="A recording to play; may be given several times.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A sentence to speak; may be given several times.")] = None,
    microphone: Annotated[bool, typer.Option("--microphone", "-m", help="Speak yourself, and listen.")] = False,
    turns: Annotated[
        int | None,
        typer.Option(min=1, help="How many turns to ask, from the start again where there are fewer."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for the replies, as WAV files.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the whole report, as JSON.")] = None,
    key: Annotated[str | None, typer.Option(help="API key or client secret, where the server asks for one.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask for, where the server has several.")] = None,
    relay: Relay = False,
) -> None:
    """Call a server over WebRTC, speak, listen, and measure what a caller feels.

    V2V is measured here, from the last sample of speech to the first audible sample of the reply. The server's own
    figures stand beside it where it tells them. Without anything to say, it asks the time.

    Examples:

      antiphon call --text "What time is it?"

      antiphon call http://127.0.0.1:9000 --wav question.wav --save replies

      antiphon call --text "What is twelve times seven?" --turns 20 --json report.json
    """
    from edge_client.caller import command

    if microphone and (wav or text or turns):
        raise typer.BadParameter("--microphone stands alone: leave out --wav, --text and --turns")
    line = command.Line(url=url, key=key, model=model, relayed=relay)
    output = _output(folder=save, json_file=json_file)
    if microphone:
        from edge_client.soundcard import Devices, portaudio

        _finish(run_until_told(command.call_live(line, output, portaudio(Devices()))))
    questions = command.read_questions(wav or [], text or ([] if wav else ["What time is it?"]))
    _finish(run_until_told(command.call_with(line, questions, output, turns=turns)))


@app.command()
def bench(
    *,
    url: Annotated[str | None, typer.Argument(help="The server to measure; without one, an edge is started.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="How many turns to ask.")] = 24,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the whole report, as JSON.")] = None,
    key: Annotated[str | None, typer.Option(help="API key or client secret, where the server asks for one.")] = None,
) -> None:
    """Measure latency at the caller, over real WebRTC and in real time. Leave the machine idle meanwhile.

    Examples:

      antiphon bench

      antiphon bench http://127.0.0.1:8080 --turns 100 --json report.json
    """
    from edge_client.caller import command

    line = command.Line(url, key) if url else None
    questions = command.read_questions((), command.BENCH_QUESTIONS)
    _finish(run_until_told(command.bench(line, questions, _output(json_file=json_file), turns=turns)))


@app.command()
def probe(
    *,
    url: Annotated[str, typer.Argument(help="The server, with or without the path where it takes offers.")] = (
        LOCAL_EDGE
    ),
    dialect: Annotated[
        Literal["openai", "pipecat", "fastrtc"] | None,
        typer.Option(help="How the server is called; else told from the address: /api/offer, /webrtc/offer."),
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="How many calls to make.")] = 1,
    turns: Annotated[int, typer.Option(min=1, help="How many turns to ask in each.")] = 5,
    at_once: Annotated[int, typer.Option(min=1, help="How many calls to hold at the same time.")] = 1,
    network: Annotated[
        str | None, typer.Option(help=f"A bad network to put in between: {', '.join(PROFILES)}.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What is left to chance is the same for the same seed.")] = 1,
    wav: Annotated[list[Path] | None, typer.Option(help="A recording to ask with; may be given several times.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A sentence to ask with; may be given several times.")] = None,
    silence_ms: Annotated[
        int | None, typer.Option(min=1, help="Ask an openai server to end turns after this silence.")
    ] = None,
    patience_sec: Annotated[float, typer.Option(min=0.1, max=600, help="How long a reply may take to begin.")] = 10.0,
    quiet_sec: Annotated[float, typer.Option(min=0.1, max=60, help="After how much silence a reply is over.")] = 1.0,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LIMIT", help=f"What may be measured at most; times in ms. {', '.join(BUDGETS)}."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the whole report, as JSON.")] = None,
    key: Annotated[str | None, typer.Option(help="API key or client secret, where the server asks for one.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask an openai server for.")] = None,
) -> None:
    """Test the latency of any server that is called over WebRTC, with the caller's own ears and clock.

    V2V runs from the last audible sample of the question to the first one of the reply. Nothing that the server says
    about itself counts: Pipecat's SmallWebRTC and FastRTC are measured like any OpenAI Realtime server. A turn without
    an answer is a miss, and so are those that a broken call could not ask any more. Exits with 1 where a budget is
    exceeded.

    Examples:

      antiphon probe --calls 3 --turns 10

      antiphon probe http://127.0.0.1:7860/api/offer --wav question.wav --network wifi

      antiphon probe https://voice.example --key KEY --silence-ms 200 --json report.json

      antiphon probe --network 4g --budget v2v_p50=500 --budget misses=0
    """
    from edge_client.caller import command
    from edge_client.caller.dialect import find_dialect
    from edge_client.caller.probe import ProbePlan

    budgets = [read_budget(part) for part in budget or ()]
    plan = ProbePlan(
        url=url,
        dialect=find_dialect(dialect, url),
        key=key,
        model=model,
        calls=calls,
        turns=turns,
        at_once=at_once,
        network=find_profile(network) if network else None,
        seed=seed,
        silence_ms=silence_ms,
        patience_sec=patience_sec,
        quiet_sec=quiet_sec,
    )
    questions = command.read_questions(wav or [], text or ([] if wav else ["What time is it?"]))
    exceeded = run_until_told(command.probe(plan, questions, _output(json_file=json_file), budgets))
    if exceeded:
        typer.echo(f"antiphon: over budget: {'; '.join(exceeded)}", err=True)
    _finish(not exceeded)


@app.command()
def load(
    *,
    url: Annotated[str, typer.Argument(help="The server: an Antiphon edge, or any other of OpenAI Realtime.")] = (
        LOCAL_EDGE
    ),
    edge: Annotated[
        Literal["device", "tone"] | None, typer.Option(help="Start an edge and call that; what it answers with.")
    ] = None,
    transport: Annotated[Literal["webrtc", "websocket"], typer.Option(help="How to call.")] = "webrtc",
    relay: Relay = False,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Calls that come in a minute, by chance; 30 where nothing is said.")
    ] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Hold so many calls all the time instead.")] = None,
    calls: Annotated[int | None, typer.Option(min=1, help="How many in all; 20 without --duration.")] = None,
    duration: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which nothing begins any more; of each step: 30.")
    ] = None,
    turns: Annotated[float, typer.Option(min=1, help="Questions in a call, on average.")] = 3.0,
    think: Annotated[float, typer.Option(min=0, help="Seconds from an answer to the next question, on average.")] = 2.0,
    listening: Annotated[float, typer.Option(min=0, max=1, help="Share of calls in which nothing is said.")] = 0.0,
    steps: Annotated[str | None, typer.Option(help="Hold each of these numbers of calls in turn: 1,10,30.")] = None,
    soak: Annotated[bool, typer.Option("--soak", help="Judge whether the server leaks.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="What is left to chance is the same for the same seed.")] = 1,
    processes: Annotated[int | None, typer.Option(min=1, help="That call; as many as there are cores at most.")] = None,
    wav: Annotated[list[Path] | None, typer.Option(help="A recording to ask with; may be given several times.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A sentence to ask with; may be given several times.")] = None,
    session: Annotated[str | None, typer.Option(help="Session settings to ask for, as JSON.")] = None,
    key: Annotated[str | None, typer.Option(help="API key or client secret, where the server asks for one.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask for, where the server has several.")] = None,
    server_pid: Annotated[
        int | None, typer.Option(help="The server's process on this machine: what it takes is read from /proc.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for everything that was measured.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="File for a page with plots.")] = None,
) -> None:
    """Load a server with real calls: who waits how long, is any sound late, and what does a session cost?

    Calls come by chance (--rate), are held in a constant number (--concurrent), or in several one after the other
    (--steps). Each asks questions aloud, hears the answers out and thinks in between; or stays silent (--listening).
    All of them are measured with their own ears: V2V runs from the last sample of speech to the first audible one of
    the reply. What the server takes is read from /proc, or asked of it where it is an Antiphon edge. A broken call ends
    no other. Ctrl-C hangs up and reports what there is. Exits with 1 where a turn was missed or a call failed.

    With --soak the server is watched for leaks as well: memory may grow by 2 % at most from the second tenth of the
    time to the last one, at the same number of calls, and when everybody has left there must be no more tasks, sockets,
    files and peer connections than before. Exits with 1 where it leaks.

    Examples:

      antiphon load --edge tone --calls 10

      antiphon load http://127.0.0.1:8080 --rate 60 --calls 100 --html load.html

      antiphon load wss://voice.example/v1/realtime --transport websocket --key KEY --concurrent 10 --duration 60

      antiphon load --edge device --steps 1,10,30 --duration 60 --json steps.json

      antiphon load --edge device --soak --rate 33 --calls 1000 --turns 2.5 --html soak.html
    """
    from edge_client.load import program

    program.check_output(json_file, html_file)
    wanted = program.read_plan(
        url=url,
        transport=transport,
        relayed=relay,
        rate=rate,
        concurrent=concurrent,
        calls=calls,
        duration_sec=duration,
        turns=turns,
        think_sec=think,
        listening=listening,
        steps=steps,
        seed=seed,
        session=session,
        model=model,
    )
    server = program.Server(key=key, pid=server_pid, engine=edge)
    output = program.Output(console=_console(), json_file=json_file, html_file=html_file)
    work = program.loaded(wanted, server, output, wav=wav, text=text, is_soak=soak, processes=processes)
    _finish(run_until_told(work))


@app.command()
def talk(
    *,
    config: ConfigFile = None,
    input_device: Annotated[str | None, typer.Option(help="Microphone, by number or a part of its name.")] = None,
    output_device: Annotated[str | None, typer.Option(help="Loudspeaker, likewise.")] = None,
    devices: Annotated[bool, typer.Option("--devices", help="List this machine's devices and exit.")] = False,
    headphones: Annotated[bool, typer.Option(help="Leave the echo canceller out: nothing echoes.")] = False,
) -> None:
    """Talk with Antiphon here, through this machine's microphone and loudspeaker; no server, no network.

    Needs the extra antiphon\\[talk], which `make setup` installs. Ctrl-C ends the conversation.

    Examples:

      antiphon talk

      antiphon talk --devices

      antiphon talk --input-device "USB" --headphones
    """
    from edge_client.soundcard import Devices, device_list, portaudio

    if devices:
        typer.echo(device_list())
        return
    # First, so that whoever has no sound is told at once, and not after the models have loaded.
    open_stream = portaudio(Devices(microphone=input_device, loudspeaker=output_device))

    from edge_client import talk as conversation
    from edge_client.settings import keeping_traces, read_settings

    settings = keeping_traces(read_settings(config, environment=os.environ), os.environ)
    run_until_told(conversation.talk(settings, open_stream, _console(), echo=not headphones))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the conversation.")] = False,
    port: Annotated[int, typer.Option(help="Port of the edge that is started; 0 is any free one.")] = 0,
    with_cloud: Annotated[
        bool, typer.Option("--cloud/--no-cloud", help="Start a cloud on this machine too, and get it into trouble.")
    ] = True,
) -> None:
    """Hear and see Antiphon at work: starts an edge and a cloud, asks questions aloud, shows who answered and how soon.

    The cloud is Ray Serve on this machine. It is slowed, and killed in the middle of an answer, and the conversation
    goes on. The replies are saved as WAV files in artifacts/demo, and the page is left running for you until Ctrl-C.
    Exits with 1 where fewer than five questions were answered, a synthesised one was not understood word for word, or
    the conversation stood still for longer than it may.

    Examples:

      antiphon demo

      antiphon demo --once

      antiphon demo --no-cloud
    """
    from edge_client.demo import demonstration
    from edge_client.demo.cloud_process import check_for_ray, local_command
    from edge_client.demo.programme import prepare
    from edge_client.terminal import telling

    if with_cloud:
        check_for_ray()  # to be told before anything is fetched or spoken

    console = _console()
    store = _pull()
    with telling(console) as tell:
        programme = prepare(store, tell)
    traces = (demonstration.FOLDER / demonstration.TRACES).absolute()
    cloud = partial(local_command, traces=traces) if with_cloud else None
    _finish(run_until_told(demonstration.demo(programme, console, once=once, port=port, cloud=cloud)))


@app.command()
def doctor(
    *,
    config: ConfigFile = None,
    url: Annotated[str | None, typer.Option(help="An edge to look at from here, as its callers find it.")] = None,
    key: Annotated[
        str | None,
        typer.Option(help="API key for that edge; one on this machine is shown the settings' own."),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--call", help="Also ask that edge a question aloud, and hear its answer.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes longer than a few seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines, for programs.")] = False,
) -> None:
    """Look for what keeps an edge from working, or from working well, and say what to do about it.

    Each line is one thing: ok, a warning, a fault, or skipped where it does not apply. Looked at are the settings, keys
    and certificates, packages, memory and cores, the port, UDP, TURN, clocks, the models, GPUs, the collector, the
    cloud, and with --url an edge as its callers find it: its probes, its page, and a call over WebRTC. Nothing is
    changed, and no key is shown. Exits with 1 where there is a fault.

    Examples:

      antiphon doctor

      antiphon doctor --config configs/edge.yaml --quick

      antiphon doctor --url https://voice.example --key KEY --call

      antiphon doctor --json | jq '.findings[] | select(.verdict == "fault")'
    """
    from edge_client.doctor import command
    from edge_client.doctor.examination import Visit

    if ask and not url:
        raise typer.BadParameter("--call asks the edge that --url names: give both")
    visit = Visit(config=config, environment=os.environ, url=url, key=key, spoken=ask, quick=quick)
    _finish(run_until_told(command.doctor(visit, _console(), as_json_only=as_json)))


def _output(*, folder: Path | None = None, json_file: Path | None = None) -> Output:
    from edge_client.caller.command import Output

    if json_file and not json_file.parent.is_dir():  # to be told before anything is measured
        raise SettingsError(f"cannot write {json_file}: there is no folder {json_file.parent}")
    if json_file and json_file.is_dir():
        raise SettingsError(f"cannot write {json_file}: it is a folder")
    return Output(_console(), folder=folder, json_file=json_file)


# -- models ----------------------------------------------------------------------------------------------------------


@models_app.command()
def pull() -> None:
    """Fetch the model files that are missing or damaged: pinned wheels, checked against their SHA-256.

    Needs no network where all is there. The folder is named by ANTIPHON_MODELS.
    """
    store = _pull()
    typer.echo(f"{len(store.files)} model files in {store.folder}, all as they should be")


@models_app.command("list")
def list_models() -> None:
    """List the model files, where they come from, and which of them are here."""
    from rich.table import Table

    store = _store()
    missing = {file.name for file in store.missing()}
    table = Table(title=str(store.folder), title_justify="left")
    for heading in ("model", "wheel", "MB", "here"):
        table.add_column(heading, justify="right" if heading == "MB" else "left")
    for file in store.files:
        table.add_row(file.name, file.wheel, f"{file.size / 1e6:.1f}", "no" if file.name in missing else "yes")
    _console().print(table)


@models_app.command()
def verify() -> None:
    """Check every model file against its SHA-256. Exits with 1 where one is missing or damaged."""
    store = _store()
    faults = [("missing", file) for file in store.missing()] + [("damaged", file) for file in store.damaged()]
    for fault, file in faults:
        typer.echo(f"{fault}: {file.path}")
    if faults:
        typer.echo("run: antiphon models pull")
        raise typer.Exit(1)
    typer.echo(f"{len(store.files)} model files in {store.folder}, all as they should be")


def _pull() -> ModelStore:
    from edge_client.terminal import pull_models

    store = _store()
    pull_models(store, _console(stderr=True))
    return store


def _store() -> ModelStore:
    from edge_client.models.store import ModelStore, default_folder

    return ModelStore(default_folder(os.environ))


# -- placements ------------------------------------------------------------------------------------------------------

PlacementFile = Annotated[Path, typer.Argument(help="Placements as JSON lines, as the edge writes them.")]
LastTurns = Annotated[int, typer.Option(min=0, help="How many turns to list; 0 lists all. The sums are over all.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="File for the whole, as JSON; - prints only that.")]


@route_app.command("explain")
def explain_route(
    file: PlacementFile,
    turn: Annotated[str | None, typer.Option(help="Everything about this turn, by its id or how that begins.")] = None,
    last: LastTurns = 40,
    json_file: JsonFile = None,
) -> None:
    """Explain where turns were answered: predicted, actual, the reason, and what the best would have saved.

    Below the turns: the sums by backend and by reason, whether predictions hold, and a plot of predicted against
    actual waits. Regret is what the best backend in hindsight would have saved, a better answer counted as the
    seconds it is worth. Private turns that left the device, if there are any, are shown in red.

    Examples:

      antiphon route explain placements.jsonl

      antiphon route explain placements.jsonl --turn turn_42

      antiphon route explain placements.jsonl --json - | jq .summary.backends
    """
    from edge_client.route import command

    command.explain_file(file, _console(), turn=turn, last=last, json_file=json_file)


@route_app.command("replay")
def replay_route(
    file: PlacementFile,
    policy: Annotated[
        Literal["device", "cloud", "latency", "hedged"], typer.Option(help="The policy to decide by instead.")
    ] = "hedged",
    last: LastTurns = 40,
    json_file: JsonFile = None,
) -> None:
    """Decide recorded turns again by another policy, and set what would have come beside what came.

    Each decision is made from the inputs that were recorded. An answer that was seen comes as it came; one that
    nobody waited for is drawn from its prediction, and marked as estimated.

    Examples:

      antiphon route replay placements.jsonl --policy cloud

      antiphon route replay placements.jsonl --policy device --last 0 --json replayed.json
    """
    from edge_client.route import command

    command.replay_file(file, _console(), policy=policy, last=last, json_file=json_file)


# -- traces ----------------------------------------------------------------------------------------------------------

TraceFiles = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Traces of all programs that took part; folders and patterns too. Without any: those of the edges here.",
    ),
]
Lenient = Annotated[bool, typer.Option("--lenient", help="Skip and count lines that are no spans.")]


@trace_app.command("show")
def show_trace(
    *,
    files: TraceFiles = None,
    turn: Annotated[
        str, typer.Option(help="Which turn: its id or how that begins, its number in time from 1, or `last`.")
    ] = "last",
    trace: Annotated[
        str | None, typer.Option(help="Everything in this trace instead, by its id or how that begins.")
    ] = None,
    every_turn: Annotated[bool, typer.Option("--all", help="Every turn, one after the other.")] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Let the axis run over all of it, not only around the wait for the answer.")
    ] = False,
    lenient: Lenient = False,
) -> None:
    """Show a turn as a waterfall: every wait with its name, from the user's last sample to the first sound.

    Times are in milliseconds from the user's last sample of speech. Bars that somebody waited for are drawn full; work
    beside them, attempts that were rolled back or cancelled, and failures look different, also without colours. A turn
    whose spans lie in several files is put together: name the files of the edge and of the cloud, or their folder.

    Examples:

      antiphon trace show

      antiphon trace show traces.jsonl --turn 3 --whole

      antiphon trace show edge.jsonl cloud.jsonl --turn turn_42

      antiphon trace show traces/ --trace 4bf92f35
    """
    from edge_client.trace import command

    command.show(
        _traces(files), _console(), turn=turn, trace=trace, every_turn=every_turn, whole=whole, lenient=lenient
    )


@trace_app.command("summary")
def sum_up_traces(
    *,
    files: TraceFiles = None,
    expect: Annotated[
        float | None,
        typer.Option(min=0, max=100, metavar="PERCENT", help="How much of V2V must be explained in every turn."),
    ] = None,
    json_file: JsonFile = None,
    lenient: Lenient = False,
) -> None:
    """Sum up where the time went: p50, p95, p99 of each phase, its share of V2V, and who was waited for.

    V2V runs from the user's last sample of speech to the first sound heard, by the caller's own clock and ears where
    the caller told. The phases are the parts of a turn that follow each other in between; what none of them accounts
    for is unattributed. Below them, for every moment, the deepest span that was waited for; and the work at the answer
    that was done before the turn's end was decided. Turns without V2V are counted apart. Exits with 1 where --expect is
    missed.

    Examples:

      antiphon trace summary

      antiphon trace summary traces/ --expect 95

      antiphon trace summary edge.jsonl cloud.jsonl --json - | jq .least_explained
    """
    from edge_client.trace import command

    shortfall = command.sum_up(_traces(files), _console(), expect=expect, json_file=json_file, lenient=lenient)
    if shortfall:
        typer.echo(f"antiphon: {shortfall}", err=True)
    _finish(not shortfall)


@trace_app.command("export")
def export_traces(
    *,
    files: TraceFiles = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - for standard output.")],
    _jaeger: Annotated[
        bool, typer.Option("--jaeger", help="The JSON of Jaeger's own page, which is the format there is.")
    ] = True,
    turn: Annotated[str | None, typer.Option(help="Only the trace of this turn: id, number or `last`.")] = None,
    lenient: Lenient = False,
) -> None:
    """Write traces as JSON that Jaeger's page opens with Upload, without any server behind it.

    Examples:

      antiphon trace export --jaeger traces.jsonl -o traces.json

      antiphon trace export --jaeger edge.jsonl cloud.jsonl --turn last -o turn.json
    """
    from edge_client.trace import command

    command.export(_traces(files), _console(stderr=True), output=output, turn=turn, lenient=lenient)


@trace_app.command("diff")
def compare_traces(
    *,
    before: Annotated[Path, typer.Argument(help="File, folder or pattern of the one run.")],
    after: Annotated[Path, typer.Argument(help="And of the other.")],
    json_file: JsonFile = None,
    lenient: Lenient = False,
) -> None:
    """Compare two runs: p50 and p95 of V2V and of each phase, before and after, and what of it is beyond noise.

    A row is marked as faster or slower where the 95 % bootstrap interval of the difference does not hold 0. That takes
    8 turns on each side for p50, and 20 for p95; with fewer it is marked with ?.

    Examples:

      antiphon trace diff before.jsonl after.jsonl

      antiphon trace diff monday/ tuesday/ --json difference.json
    """
    from edge_client.trace import command

    command.compare(before, after, _console(), json_file=json_file, lenient=lenient)


def _traces(files: list[Path] | None) -> list[Path]:
    from edge_client.trace_file import default_file

    return files or [default_file(os.environ)]


# -- running ---------------------------------------------------------------------------------------------------------


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG_WIDTH
    return console


def _finish(succeeded: bool) -> None:
    raise typer.Exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
