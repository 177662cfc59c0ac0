"""What every test lives under: no blocking in the event loop, nothing left behind, quick tests first."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import hypothesis
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from edge_client.event_loop import lasting_memory
from edge_client.models.store import ModelStore, default_folder

if TYPE_CHECKING:
    from tests.edge import EdgeProcess

IN_CI = bool(os.environ.get("CI"))
hypothesis.settings.register_profile(
    "house",
    deadline=None,  # no test asserts how long anything takes
    derandomize=IN_CI,  # what a change has not broken shall not fail on it; elsewhere there are new examples each time
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("house")
ORDER = (
    "models",
    "engine",
    "gpu",
    "weights",
    "slow",
    "turn",
    "node",
    "browser",
)  # from quick to slow; tests without a marker come before them all
ENGINE_MARK = re.compile(r"^pytestmark = .*pytest\.mark\.engine", re.MULTILINE)  # of a whole module
ENGINE_SEC = 90.0  # a test's limit where it may be the first to import PyTorch and all that comes with it
CLEAN_UP_SEC = 15.0  # how long threads and sockets may take to go after the test that used them


@pytest.fixture(scope="session", autouse=True)
def state_of_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs note of their own running stays out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A blocking call inside the event loop is an error, whoever makes it."""
    with blockbuster_ctx() as buster:
        for function in buster.functions.values():  # /proc is memory, not a disk
            function.can_block_in("tests/conftest.py", "open_descriptors")
        yield buster


@pytest.fixture(autouse=True)
def one_thread_for_torch(request: pytest.FixtureRequest) -> None:
    """The models of these tests are too small to share among cores, and tests run beside each other."""
    if request.node.get_closest_marker("engine"):
        import torch

        torch.set_num_threads(1)


# -- nothing left behind ---------------------------------------------------------------------------------------------


class Resources(NamedTuple):
    """What a test can leak. Each is a set, so that the message names the ones that stayed."""

    tasks: frozenset[str]
    threads: frozenset[str]
    descriptors: frozenset[str]

    def beyond(self, base: Resources) -> Resources:
        return Resources(*(now - before for now, before in zip(self, base, strict=True)))


@pytest.fixture
async def nothing_left_behind() -> AsyncIterator[None]:
    """Tasks, threads and file descriptors are back to the base line when the test is over.

    Ask for it before the fixtures it shall watch: those are then torn down first.
    """
    base = resources()
    yield
    left = await settled(lambda: resources().beyond(base))
    assert not any(left), f"left behind: {left}"


@pytest.fixture
def collector_of_the_edge() -> Iterator[None]:
    """The garbage collector leaves out what is loaded, as in the edge: beside all tests it hardly ever begins."""
    with lasting_memory():
        yield


async def settled(measure: Callable[[], Resources]) -> Resources:
    """What is still left after a little while, or nothing as soon as nothing is left."""
    deadline = asyncio.get_running_loop().time() + CLEAN_UP_SEC
    while any(left := measure()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
        gc.collect()
    return left


def resources() -> Resources:
    return Resources(
        tasks=frozenset(f"{task.get_name()} {task.get_coro()}" for task in other_tasks()),
        threads=frozenset(f"{thread.name} {thread.ident}" for thread in own_threads()),
        descriptors=frozenset(open_descriptors()),
    )


def other_tasks() -> set[asyncio.Task[object]]:
    """Every task but the one that asks: the test, or the fixture that closes it."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


def own_threads() -> Iterable[threading.Thread]:
    """Every thread but those of the loop's default executor, which lives as long as the loop."""
    return (thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_"))


def open_descriptors() -> Iterator[str]:
    """Each open file descriptor and what it leads to. Empty where the system has no /proc."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            yield f"{entry.name} -> {entry.readlink()}"
        except FileNotFoundError:  # the descriptor that listed the folder is gone by now
            continue


# -- the program itself ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def edge_process() -> Iterator[EdgeProcess]:
    """`antiphon edge` with the real models. Imported here, because most tests do without an edge."""
    from tests.edge import edge_program

    with edge_program() as process:
        yield process


# -- what runs, and in which order -----------------------------------------------------------------------------------


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where tests of the engine are not wanted, do not even import them: PyTorch takes seconds."""
    if "not engine" not in config.option.markexpr or collection_path.suffix != ".py":
        return None
    return True if ENGINE_MARK.search(collection_path.read_text()) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=slowness)
    give_time_to_import(items)
    if not IN_CI:  # there everything is installed, and what is missing shall fail
        skip_where_missing(items, LACKS)
    skip_where_missing(items, LACKS_IN_CI_TOO)


def slowness(item: pytest.Item) -> int:
    return max((ORDER.index(name) + 1 for name in ORDER if item.get_closest_marker(name)), default=0)


def give_time_to_import(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("engine") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(ENGINE_SEC))


def skip_where_missing(items: list[pytest.Item], lacks: Mapping[str, Callable[[], str | None]]) -> None:
    for marker, lack in lacks.items():
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (reason := lack()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def lack_of_models() -> str | None:
    store = ModelStore(default_folder(os.environ))
    return f"no model files in {store.folder}; run: antiphon models pull" if store.missing() else None


def lack_of_chromium() -> str | None:
    return None if shutil.which("chromium") else "no chromium on the PATH; on Debian: apt-get install chromium"


def lack_of_node() -> str | None:
    if not shutil.which("node"):
        return "no node on the PATH; on Debian: apt-get install nodejs npm"
    packages = Path(__file__).parent / "javascript" / "node_modules"
    return None if packages.is_dir() else "no packages for Node.js; run: npm ci --prefix tests/javascript"


def lack_of_turn_server() -> str | None:
    return None if shutil.which("turnserver") else "no turnserver on the PATH; on Debian: apt-get install coturn"


def lack_of_promtool() -> str | None:
    return None if shutil.which("promtool") else "no promtool on the PATH; on Debian: apt-get install prometheus"


def lack_of_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no CUDA device"


def lack_of_weights() -> str | None:
    return None if os.environ.get("ANTIPHON_LFM2_CHECKPOINT") else "ANTIPHON_LFM2_CHECKPOINT is not set"


LACKS = {
    "models": lack_of_models,
    "browser": lack_of_chromium,
    "node": lack_of_node,
    "turn": lack_of_turn_server,
    "promtool": lack_of_promtool,
}
LACKS_IN_CI_TOO = {
    "gpu": lack_of_gpu,
    "weights": lack_of_weights,
}
