"""The command line of the bench. What takes long to import is imported once it is known that it is needed."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from routing.errors import AntiphonError, SettingsError

if TYPE_CHECKING:
    import torch

PRESETS, QUICK_PRESETS = ("tiny", "deep", "mid"), ("tiny",)
BATCHES, QUICK_BATCHES = (1, 4, 8, 16), (1, 4)
DTYPES = ("float32", "bfloat16")
ROUNDS, QUICK_ROUNDS, LEAST_ROUNDS = 8, 3, 2
IDLE_TURNS, QUICK_NEWCOMERS, NEWCOMER_GAP_SEC = 30, 8, 0.5
QUICK_TURNS = 100
FILE_COLUMNS = 120  # where the output goes to no terminal
INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended

app = typer.Typer(rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False)


HELP = """
Measure the engine beside the model's own generator, with random weights: no download, no account.

Both sides get the same turns: a caller's speech, then a reply of 6 tokens, 12 frames of sound, and so on. \
[bold]stock[/] is liquid_audio's generator, which serves one caller after another; [bold]engine[/] serves B callers in \
one batch. They take turns, so that whatever else the machine does meets both. An option that takes several values is \
repeated: -p mid -p half.

[bold]Sizes.[/] [bold]tiny[/] is for tests; [bold]deep[/] has the released number of layers and hardly any width: it \
shows what it costs to launch operations; [bold]mid[/] has 74 million weights, [bold]half[/] 0.4 billion, \
[bold]large[/] 0.9; [bold]full[/] is the released shape with 1.5. One that memory does not suffice for is skipped.

[bold]Words.[/] TTFT and TTFA run from the request to the first token and to the samples of the first frame. The gain \
is per session, over a whole cycle of tokens and frames: 8× means that a reply takes an eighth of stock's time. It is \
given for tokens and codes alone, and with the making of sound. A real-time factor below 1 keeps up with the playing. \
The floor of a step is the time in which this device reads the step's weights once. On a GPU the engine's sound is a \
part of a recorded step, and not told apart.

[bold]The whole engine[/], of the first size and dtype that is given, else tiny in float32, is measured by \
[bold]--load[/] and by [bold]--memory[/]. For the first choose a size whose steps keep up with the speaking.

Leave the machine alone meanwhile. Ctrl-C ends it and shows the models that are done with.
"""


@app.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main(
    *,
    presets: Annotated[
        list[str] | None, typer.Option("--preset", "-p", help="Size of the model.", show_default=", ".join(PRESETS))
    ] = None,
    dtypes: Annotated[
        list[str] | None, typer.Option("--dtype", help="What it computes in.", show_default=", ".join(DTYPES))
    ] = None,
    batches: Annotated[
        list[int] | None,
        typer.Option("--batch", "-b", min=1, help="Callers at once.", show_default=", ".join(map(str, BATCHES))),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Turns of each side.", show_default=str(ROUNDS))] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="For each model and dtype; no further round begins after that.")
    ] = 90,
    cycles: Annotated[
        int, typer.Option(min=1, help="Length of each reply: a cycle is 6 tokens and 12 frames, 0.96 s of sound.")
    ] = 1,
    speech: Annotated[float, typer.Option(min=0.1, help="Seconds that each caller has spoken.")] = 4.0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1; auto takes a GPU where there is one.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Of torch on a CPU; 0 leaves it to torch.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A look at everything in less than a minute.")] = False,
    load: Annotated[bool, typer.Option("--load", help="Instead: how long newcomers wait while others speak.")] = False,
    speaking: Annotated[int, typer.Option(min=0, help="With --load: callers who are spoken to all the time.")] = 12,
    newcomers: Annotated[int, typer.Option(min=1, help="With --load: turns that come at random moments.")] = 100,
    memory: Annotated[
        bool, typer.Option("--memory", help="Instead: whether the memory in use stays what it is.")
    ] = False,
    turns: Annotated[int, typer.Option(min=1, help="With --memory: turns that the engine gets.")] = 1000,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="Write all figures into this file.")] = None,
    plots: Annotated[Path | None, typer.Option(file_okay=False, help="Draw pictures (PNG) into this folder.")] = None,
) -> None:
    """Measure what the options say."""
    if load and memory:
        raise typer.BadParameter("--load and --memory are two measurements; ask for one of them")
    with plain_errors(), quiet():
        from deployments.engine.bench import terminal
        from deployments.engine.bench.compare import Scope
        from deployments.engine.bench.load import Crowd

        console = Console(width=None if sys.stdout.isatty() else FILE_COLUMNS)
        files = terminal.Files(json=json, plots=plots)
        files.check()
        place = choose_device(device, threads)
        sizes, numbers = known_presets(presets or ()), known_dtypes(dtypes or DTYPES)
        target = terminal.Target((sizes or QUICK_PRESETS)[0], numbers[0], place)
        if memory:
            terminal.show_endurance(target, QUICK_TURNS if quick else turns, files, console)
        elif load:
            crowd = Crowd(
                speaking=speaking,
                newcomers=QUICK_NEWCOMERS if quick else newcomers,
                mean_gap_sec=NEWCOMER_GAP_SEC,
                idle_turns=QUICK_NEWCOMERS if quick else IDLE_TURNS,
                speech_sec=speech,
            )
            terminal.show_load(target, crowd, files, console)
        else:
            scope = Scope(
                presets=sizes or (QUICK_PRESETS if quick else PRESETS),
                dtypes=numbers,
                batches=sorted(set(batches or (QUICK_BATCHES if quick else BATCHES))),
                device=place,
                rounds=rounds or (QUICK_ROUNDS if quick else ROUNDS),
                least_rounds=LEAST_ROUNDS,
                seconds=seconds,
                cycles=cycles,
                speech_sec=speech,
            )
            terminal.show_comparison(scope, files, console)


@contextmanager
def plain_errors() -> Iterator[None]:
    """What is raised on purpose becomes one line; a traceback is for bugs."""
    try:
        yield
    except AntiphonError as error:
        typer.echo(f"bench: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


def choose_device(name: str, threads: int) -> torch.device:
    import torch

    from deployments.engine.loading import find_device

    if threads:
        torch.set_num_threads(threads)
    return find_device(name)


def known_presets(names: Sequence[str]) -> list[str]:
    from deployments.engine.random_checkpoint import PRESETS as KNOWN

    if unknown := [name for name in names if name not in KNOWN]:
        raise SettingsError(f"--preset expects one of {', '.join(KNOWN)}; got {', '.join(unknown)}")
    return list(dict.fromkeys(names))


def known_dtypes(names: Sequence[str]) -> list[torch.dtype]:
    import torch

    if unknown := [name for name in names if name not in DTYPES]:
        raise SettingsError(f"--dtype expects {' or '.join(DTYPES)}; got {', '.join(unknown)}")
    return [getattr(torch, name) for name in dict.fromkeys(names)]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what other packages say about themselves: kernels they lack, classes they will rename."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


if __name__ == "__main__":
    app(prog_name="python -m deployments.engine.bench")
