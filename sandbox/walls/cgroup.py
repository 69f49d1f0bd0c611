"""Memory and process counts of one worker by cgroups, v2 or v1, where this process may write them."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "rayzero-sandbox-"
_leftover: set[Path] = set()


def join(files: list[str]) -> None:
    """Move this process into groups made by `Group`. Raises OSError."""
    for name in files:
        Path(name).write_text("0")


class Group:
    """The groups of one worker. Absent, not failed, where the machine gives none: rlimits hold without them."""

    def __init__(self, number: int, memory_bytes: int, processes: int) -> None:
        """`number` tells the groups of this process apart; the limits hold for the worker and its run together."""
        self._folders: list[Path] = []
        self._num_killed = 0
        name = f"{_PREFIX}{os.getpid()}-{number}"
        for parent, limits in _parents(memory_bytes, processes):
            _sweep(parent)
            folder = parent / name
            try:
                folder.mkdir()
                self._folders.append(folder)
                for file, value in limits.items():
                    (folder / file).write_text(value)
            except OSError:
                self.remove()
                return

    @property
    def join_files(self) -> list[str]:
        """Files that a process joins by writing 0 to them; empty when there are no groups."""
        return [str(folder / "cgroup.procs") for folder in self._folders]

    def killed_again(self) -> bool:
        """Whether the kernel killed a process in it for its memory since this was last asked."""
        before, self._num_killed = self._num_killed, max(self._num_killed, self._kills())
        return self._num_killed > before

    def _kills(self) -> int:
        for folder in self._folders:
            for name in ("memory.events", "memory.oom_control"):  # v2, v1
                with contextlib.suppress(FileNotFoundError):
                    for line in (folder / name).read_text().splitlines():
                        word, _, number = line.partition(" ")
                        if word == "oom_kill":
                            return int(number)
        return 0

    def remove(self) -> None:
        """After the last process in it has died."""
        for folder in self._folders:
            try:
                folder.rmdir()
            except OSError:  # something in it is still dying, after the zygote was killed by somebody else
                _leftover.add(folder)
        self._folders = []


def _sweep(parent: Path) -> None:
    """Remove what earlier workers and dead services left; the kernel refuses groups that still hold a process."""
    for folder in parent.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if folder in _leftover or not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):
                folder.rmdir()
                _leftover.discard(folder)


def _parents(memory_bytes: int, processes: int) -> list[tuple[Path, Mapping[str, str]]]:
    """Writable groups of this process -> what to limit in a new group below them."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[Path, Mapping[str, str]]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            found.append((_ROOT / "memory" / path.lstrip("/"), {"memory.limit_in_bytes": str(memory_bytes)}))
        elif controllers == "pids":
            found.append((_ROOT / "pids" / path.lstrip("/"), {"pids.max": str(processes)}))
        elif controllers == "":
            folder = _ROOT / path.lstrip("/")
            with contextlib.suppress(OSError):
                enabled = (folder / "cgroup.subtree_control").read_text().split()
                limits = {"memory": ("memory.max", str(memory_bytes)), "pids": ("pids.max", str(processes))}
                if chosen := dict(limits[name] for name in limits if name in enabled):
                    found.append((folder, chosen))
    return [(folder, limits) for folder, limits in found if os.access(folder, os.W_OK)]
