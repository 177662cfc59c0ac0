"""Replays a stage of a Dockerfile without a container engine: in a folder that becomes the root, as an ordinary user.

This machine's programs and Python stand in for those of the base image, read-only; the stage's own files are the
folder's. What root does to the base itself, such as installing packages, cannot be replayed and is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.dockerfile import Copy, Ignored, Stage

USER = 10001
HANDED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")
BORROWED = (Path("/usr"), Path("/etc"), Path(sys.base_prefix))  # of this machine
LINKS = ("bin", "lib", "lib64", "sbin")  # into /usr, as distributions have them nowadays

# Arguments: the folder, a folder for /tmp, "ro" or "rw", and those that are borrowed; after "--", the command.
ENTER = """
root=$1 temporary=$2 access=$3; shift 3
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
    mount --bind "$1" "$root$1"
    mount -o remount,bind,ro "$root$1"
    shift
done
shift
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$temporary" "$root/tmp"
[ "$access" = rw ] || mount -o remount,bind,ro "$root"
exec "$@"
"""


@dataclass(slots=True)
class Replay:
    """One stage. ``context`` is what the builder has before it is told what to leave out."""

    stage: Stage
    folder: Path
    context: Path
    ignored: Ignored
    others: Mapping[str, Replay] = field(default_factory=dict)
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True)
        for place in ("dev", "proc", "tmp", *(str(folder)[1:] for folder in BORROWED)):
            (self.root / place).mkdir(parents=True, exist_ok=True)
        for link in LINKS:
            (self.root / link).symlink_to(f"usr/{link}")
        self.temporary.mkdir()
        self.environment["PATH"] = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        self.temporary.chmod(0o1777)

    @property
    def root(self) -> Path:
        return self.folder / self.stage.name / "root"

    @property
    def temporary(self) -> Path:
        return self.folder / self.stage.name / "tmp"

    def run(self, *, builds: bool) -> None:
        """Do all that it says. Where it does not build, what it runs is root's work on the base, and left out."""
        for instruction in self.stage.instructions:
            match instruction.word:
                case "ENV":
                    self.environment |= Stage("", "", (instruction,)).environment()
                case "WORKDIR":
                    self._go_to(instruction.text)
                case "COPY":
                    self._copy(Stage("", "", (instruction,)).copies()[0])
                case "RUN" if builds:
                    self._execute(instruction.text)

    def command(self, words: Sequence[str], *, access: str, **environment: str) -> list[str]:
        """What runs those words inside, as the user and nobody else."""
        kept = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        variables = {**kept, **self.environment, "HOME": "/tmp", **environment}
        enter = [str(self.root), str(self.temporary), access, *map(str, BORROWED), "--"]
        chroot = ["chroot", *(["--userspec", f"{USER}:{USER}"] if is_root() else []), str(self.root)]
        inside = ["env", "--ignore-environment", *(f"{name}={value}" for name, value in variables.items())]
        inside += ["env", f"--chdir={self.workdir}", *words]
        unshare = ["unshare", "--mount", "--propagation", "private", *([] if is_root() else ["--map-root-user"])]
        return [*unshare, "sh", "-euc", ENTER, "sh", *enter, *chroot, *inside]

    def _execute(self, text: str) -> None:
        command = self.command(["/bin/sh", "-c", text], access="rw")
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{text}\n{ended.stdout}\n{ended.stderr}"

    def _go_to(self, workdir: str) -> None:
        self.workdir = workdir
        place = self.root / workdir.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        self._give(place)

    def _copy(self, copy: Copy) -> None:
        target = self.root / PurePosixPath(self.workdir, copy.target).relative_to("/")
        for source in copy.sources:
            place = target / Path(source).name if copy.target.endswith("/") else target
            self._copy_one(source, copy.stage, place)
        self._give(target)

    def _copy_one(self, source: str, stage: str | None, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        origin = self.others[stage].root / source.lstrip("/") if stage else self.context / source
        if origin.is_dir():
            shutil.copytree(origin, place, symlinks=True, ignore=None if stage else self._left_out)
        else:
            shutil.copy2(origin, place)

    def _left_out(self, folder: str, names: list[str]) -> list[str]:
        below = PurePosixPath(Path(folder).relative_to(self.context))
        return [name for name in names if not self.ignored.sends(below / name)]

    def _give(self, place: Path) -> None:
        """To the user, where root copied it: it is root's own in an image, and there root builds."""
        if is_root() and self.stage.texts("RUN") and not self.stage.texts("USER"):
            for path in (place, *place.rglob("*")):
                os.chown(path, USER, USER, follow_symlinks=False)


def is_root() -> bool:
    return os.geteuid() == 0
