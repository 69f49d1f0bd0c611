"""What an attack may have left behind: processes, files, descriptors, shared memory, mounts. Standard library only."""

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
SETTLE_S = 5.0  # what a killed process may take to be gone; polled, so that it costs what it takes
PLACES = ("/", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/etc", "/root", "/usr/lib", "/home")


def run_below_an_init() -> int:
    """Go on in a child of this process; its parent adopts and reaps every orphan below it, as the machine's init would.

    No daemon can then leave sight: all that lives is a descendant of the returned process, and what is dead and still
    there is what the service itself forgot to wait for. Called before there are threads or an event loop.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    child = os.fork()
    if child == 0:
        return os.getppid()
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def descendants(root: int) -> set[int]:
    """Living and dead-but-unreaped processes below `root`."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        for pid in children.get(todo.pop(), ()):
            found.add(pid)
            todo.append(pid)
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            except OSError:  # it ended meanwhile
                continue
            yield int(name), int(fields.split()[1])


@dataclass(frozen=True, slots=True)
class Host:
    """A count of everything that a run could leave; `changes` compares two of them."""

    mark: str  # files count when their name has it
    root: int  # the process whose descendants count
    processes: frozenset[int]
    descriptors: frozenset[str]
    marked_files: frozenset[str]
    shared_memory: frozenset[str]
    mounts: frozenset[str]

    @classmethod
    def now(cls, mark: str, root: int) -> "Host":
        """The state seen from this process."""
        return cls(
            mark=mark,
            root=root,
            processes=frozenset(descendants(root)),
            descriptors=frozenset(_descriptors()),
            marked_files=frozenset(_marked(mark)),
            shared_memory=frozenset(_shared_memory()),
            mounts=frozenset(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()),
        )

    def changes(self, before: "Host") -> list[str]:
        """What there is now beyond `before`. Processes and descriptors by number: a worker may have been replaced."""
        found: list[str] = []
        for name in ("processes", "descriptors"):
            now, then = getattr(self, name), getattr(before, name)
            if len(now) > len(then):
                found.append(f"{len(now) - len(then)} more {name}: {sorted(now - then)}")
        for name in ("marked_files", "shared_memory", "mounts"):
            new = getattr(self, name) - getattr(before, name)
            if new:
                found.append(f"{name}: {sorted(new)}")
        return found


def settled_changes(before: Host, settle_s: float = SETTLE_S) -> list[str]:
    """The changes that are still there after `settle_s`; at once when there are none."""
    deadline = time.monotonic() + settle_s
    while True:
        changes = Host.now(before.mark, before.root).changes(before)
        if not changes or time.monotonic() > deadline:
            return changes
        time.sleep(0.01)  # polling: the end of a foreign grandchild is no event for this process


def _descriptors() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            yield f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}"
        except OSError:  # the one that listed the folder
            continue


def _marked(mark: str) -> Iterator[str]:
    for place in (*PLACES, os.getcwd(), os.path.dirname(os.__file__), os.path.expanduser("~"), sys.prefix):
        try:
            names = os.listdir(place)
        except OSError:  # not there, or not ours to read: then the attack could not write to it either
            continue
        yield from (f"{place}/{name}" for name in names if mark in name)


def _shared_memory() -> Iterator[str]:
    """System V objects that anybody may use (mode 666), as the attacks make them."""
    for kind in ("shm", "sem", "msg"):
        for line in Path(f"/proc/sysvipc/{kind}").read_text(encoding="utf-8").splitlines()[1:]:
            key, number, mode = line.split()[:3]
            if mode.endswith("666"):
                yield f"{kind} {key} {number}"
