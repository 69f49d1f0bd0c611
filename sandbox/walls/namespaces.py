"""Namespaces: an own view of users, mounts, processes, network, IPC, host name and cgroups; without any daemon."""

import os
from pathlib import Path

from sandbox.walls import kernel, privileges

INSIDE_UID = 1000  # what a run knows itself as
_ALL = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)


def enter(outside_uid: int) -> None:
    """Move this single-threaded process into new namespaces in which it has every capability; outside it gains none.

    An ordinary user stays itself outside. Root keeps user 0 beside `outside_uid`, so that it can still reach an
    interpreter below its home; `leave_root` then gives user 0 up. Children are in the new pid namespace, this process
    is not. Raises OSError that names the call the kernel refused.
    """
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        with _MapWriter(os.getpid(), f"0 0 1\n{INSIDE_UID} {outside_uid} 1\n") as writer:
            kernel.unshare(_ALL)
            writer.write()
        return
    kernel.unshare(_ALL)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{INSIDE_UID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{INSIDE_UID} {gid} 1")


def leave_root() -> None:
    """Become the unprivileged user, with the capabilities over these namespaces only."""
    if os.getuid() == 0:
        privileges.become(INSIDE_UID, keep_capabilities=True)


class _MapWriter:
    """A child forked before the namespaces change, which still is the old root and may map several users."""

    def __init__(self, pid: int, lines: str) -> None:
        self._pid, self._lines = pid, lines

    def __enter__(self) -> "_MapWriter":
        wait_end, self._go = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            status = 1
            try:
                os.close(self._go)
                if os.read(wait_end, 1):
                    for name in ("uid_map", "gid_map"):
                        Path(f"/proc/{self._pid}/{name}").write_text(self._lines)
                    status = 0
            finally:
                os._exit(status)
        os.close(wait_end)
        return self

    def write(self) -> None:
        """Have the maps written. Raises OSError when the kernel refused them."""
        os.write(self._go, b"1")
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        if status:
            raise OSError("uid_map: the kernel refused the map of users; root without CAP_SETUID and CAP_SETGID?")

    def __exit__(self, *_: object) -> None:
        os.close(self._go)
        if self._child:
            os.waitpid(self._child, 0)


class ProcessNamespaces:
    """Gives each run a pid namespace of its own, in which it is process 1 and dies with everything it started.

    Made in a process whose own pid namespace belongs to its own user namespace.
    """

    def __init__(self) -> None:
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def next_child_in_new(self) -> None:
        """The next fork enters a new pid namespace. Raises OSError."""
        kernel.unshare(kernel.CLONE_NEWPID)

    def back_to_own(self) -> None:
        """Later forks stay here again. Raises OSError."""
        kernel.setns(self._own, kernel.CLONE_NEWPID)
