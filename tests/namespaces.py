"""Two machines on this one, with a bad network between them: programs, browsers and TCP go through it too.

Each machine is a network namespace with a loopback and one TUN device. It takes root and Linux; where they are missing,
`needs_namespaces` skips the test.

::

    async with namespaces(find_profile("wifi")) as network:
        server = network.command(network.near, "antiphon", "edge", "--host", network.near.address)
        browser = network.program(network.far, "chromium")  # to be started by whoever wants one executable
        await network.cut()
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_client.network.emulated import EmulationStatistics
from edge_client.network.link import LinkStatistics
from edge_client.network.profile import NetworkProfile

ROOT = Path(__file__).parents[1]
TUN = Path("/dev/net/tun")
NAMED = Path("/run/netns")
NO_IPV6 = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")  # of whoever opens it: each namespace has its own
RESOLVER = Path("/etc/resolv.conf")
MTU = 1500
START_SEC = 30.0  # for the process between the devices, on a busy machine

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


@dataclass(frozen=True, slots=True)
class Machine:
    """One end of the network."""

    name: str  # of its namespace, as `ip netns` knows it
    address: str


class Network:
    """The two machines and the way between them. `namespaces` makes it."""

    def __init__(self, near: Machine, far: Machine, forwarder: asyncio.subprocess.Process, folder: Path) -> None:
        self.near = near
        self.far = far
        self._forwarder = forwarder
        self._folder = folder

    def command(self, machine: Machine, *arguments: str) -> list[str]:
        """What to run so that the program finds itself on this machine."""
        return [ip_program(), "netns", "exec", machine.name, *arguments]

    def program(self, machine: Machine, program: str) -> Path:
        """An executable that runs ``program`` on this machine, with the arguments and the pipes it is given."""
        path = self._folder / f"{machine.name}-{Path(program).name}"
        path.write_text(f'#!/bin/sh\nexec {ip_program()} netns exec {machine.name} {program} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        return path

    def inside(self, machine: Machine) -> AbstractContextManager[None]:
        """Sockets that this thread opens in the block are this machine's, and stay so. Do not wait in the block."""
        return entered(machine)

    async def cut(self) -> None:
        """Let nothing through either way from now on; what is under way arrives."""
        await self._ask("cut")

    async def restore(self) -> None:
        """Undo `cut`. A cut that the profile has planned is not undone."""
        await self._ask("restore")

    async def statistics(self) -> EmulationStatistics:
        """What became of the packets so far. Outgoing is from near to far."""
        outgoing, incoming = json.loads(await self._ask("statistics"))
        return EmulationStatistics(LinkStatistics(**outgoing), LinkStatistics(**incoming))

    async def _ask(self, command: str) -> bytes:
        assert self._forwarder.stdin is not None
        assert self._forwarder.stdout is not None
        self._forwarder.stdin.write(f"{command}\n".encode())
        return await self._forwarder.stdout.readline()


@asynccontextmanager
async def namespaces(profile: NetworkProfile, *, seed: int = 1) -> AsyncIterator[Network]:
    """Two machines with ``profile`` in both directions between them. Leaving takes everything down again.

    Stop the programs on them before. Cuts that the profile plans are counted from the first packet of each direction.
    """
    with ExitStack() as stack:
        name = f"antiphon-{os.getpid()}-{secrets.token_hex(4)}"
        near, far = Machine(f"{name}-near", "10.9.0.1"), Machine(f"{name}-far", "10.9.0.2")
        built = asyncio.get_running_loop().run_in_executor(None, _build, stack, near, far)
        try:
            near_tun, far_tun, folder = await asyncio.shield(built)
            async with _forwarding(near_tun, far_tun, profile, seed) as forwarder:
                yield Network(near, far, forwarder, folder)
        finally:  # also where it was cancelled while the namespaces were being made
            await asyncio.wait([built])
            await asyncio.to_thread(stack.close)


class Built(NamedTuple):
    near_tun: int
    far_tun: int
    folder: Path


def _build(stack: ExitStack, near: Machine, far: Machine) -> Built:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return Built(_build_machine(stack, near), _build_machine(stack, far), folder)


def _build_machine(stack: ExitStack, machine: Machine) -> int:
    """Make the namespace and its device; returns the other end of the device."""
    ip("netns", "add", machine.name)
    stack.callback(ip, "netns", "del", machine.name)
    device = f"tun{secrets.token_hex(4)}"  # born outside, where its name must not be taken
    descriptor = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN | _IFF_NO_PI))
    ip("link", "set", device, "netns", machine.name, "name", "tun0", "mtu", str(MTU))
    with entered(machine):
        _silence_ipv6()
        ip("link", "set", "lo", "up")
        ip("address", "add", f"{machine.address}/24", "dev", "tun0")
        ip("link", "set", "tun0", "up")
        ip("route", "add", "default", "dev", "tun0")
        for address in name_servers():
            ip("route", "add", "unreachable", address)
    return descriptor


def name_servers() -> Iterator[str]:
    """Those of this machine cannot be reached from within. Whoever asks them shall not wait for an answer."""
    text = RESOLVER.read_text(encoding="utf-8") if RESOLVER.exists() else ""
    for address in re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)", text, re.MULTILINE):
        if not ip_address(address).is_loopback:
            yield address


def _silence_ipv6() -> None:
    """It would look for neighbours and routers, and so begin the count of a profile's cuts."""
    if NO_IPV6.exists():
        NO_IPV6.write_text("1", encoding="ascii")


@contextmanager
def entered(machine: Machine) -> Iterator[None]:
    """This thread is in the machine's namespace."""
    with Path("/proc/thread-self/ns/net").open("rb") as outside, (NAMED / machine.name).open("rb") as namespace:
        os.setns(namespace.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(outside.fileno(), os.CLONE_NEWNET)


@asynccontextmanager
async def _forwarding(
    near_tun: int, far_tun: int, profile: NetworkProfile, seed: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    forwarder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.forwarder", str(near_tun), str(far_tun), json.dumps(asdict(profile)), str(seed)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(near_tun, far_tun),
        cwd=ROOT,
    )
    assert forwarder.stdin is not None
    assert forwarder.stdout is not None
    try:
        async with asyncio.timeout(START_SEC):
            assert await forwarder.stdout.readline(), "the process between the devices could not start"
        yield forwarder
    finally:
        forwarder.stdin.close()
        await forwarder.wait()


# -- what it takes ---------------------------------------------------------------------------------------------------


def ip(*arguments: str) -> None:
    subprocess.run([ip_program(), *arguments], check=True, capture_output=True)


@cache
def ip_program() -> str:
    found = shutil.which("ip", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError("expected the program `ip`, found none; on Debian: apt-get install iproute2")
    return found


@cache
def lack_of_namespaces() -> str | None:
    """Why there can be none here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if not TUN.exists():
        return f"no {TUN}"
    try:
        with ExitStack() as stack:
            _build_machine(stack, Machine(f"antiphon-{secrets.token_hex(4)}-try", "10.9.0.1"))
    except FileNotFoundError as exc:
        return str(exc)
    except (OSError, subprocess.CalledProcessError) as exc:  # root in a container may not be allowed to
        return f"no network namespaces here: {exc}"
    return None


needs_namespaces = pytest.mark.skipif(lack_of_namespaces() is not None, reason=str(lack_of_namespaces()))
