"""Kernel limits on one run (`setrlimit`), and the end of every inherited descriptor."""

import math
import os
import resource

ADDRESS_SPACE_SLACK = 512 * 2**20  # for stacks of threads and reserves of malloc that are never touched
MAX_OPEN_FILES = 64
_HIGHEST_DESCRIPTOR = os.sysconf("SC_OPEN_MAX")  # before it is lowered: descriptors from before may lie above

Rlimit = tuple[int, tuple[int, int]]


def run_rlimits(cpu_s: float, memory_bytes: int | None, processes: int | None) -> list[Rlimit]:
    """Those of one run; the watcher in the zygote enforces the finer limits on time.

    `memory_bytes` is None for an engine that reserves far more addresses than it uses: it is watched instead.
    `processes` is None where other processes of the same user would count.
    """
    # A backstop: the soft limit only sends a signal that a program may ignore.
    wanted = [(resource.RLIMIT_CPU, math.ceil(cpu_s) + 1)]
    addresses = resource.RLIM_INFINITY if memory_bytes is None else memory_bytes + ADDRESS_SPACE_SLACK
    wanted.append((resource.RLIMIT_AS, addresses))
    if processes is not None:
        wanted.append((resource.RLIMIT_NPROC, processes))
    return [_lowered(which, value) for which, value in wanted]


def shared_rlimits(stack_bytes: int, file_bytes: int) -> list[Rlimit]:
    """Those that are the same for every run, so that what forks them may bear them itself."""
    return [
        _lowered(which, value)
        for which, value in (
            (resource.RLIMIT_STACK, stack_bytes),
            (resource.RLIMIT_FSIZE, file_bytes),
            (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_NICE, 0),
            (resource.RLIMIT_RTPRIO, 0),
        )
    ]


def _lowered(which: int, value: int) -> Rlimit:
    """Soft and hard alike, so that it cannot be raised again, and never above what holds already."""
    bounds = [bound for bound in (value, resource.getrlimit(which)[1]) if bound != resource.RLIM_INFINITY]
    lowest = min(bounds, default=resource.RLIM_INFINITY)
    return which, (lowest, lowest)


def apply(rlimits: list[Rlimit]) -> None:
    """Bound this process and all that it starts. Raises OSError or ValueError."""
    for which, pair in rlimits:
        resource.setrlimit(which, pair)


def place_descriptors(wanted: list[int]) -> None:
    """Make `wanted` the descriptors 0, 1, 2, ... in that order, inheritable, and close every other one."""
    high = [os.dup(fd) if fd < len(wanted) else fd for fd in wanted]  # nothing is overwritten before it is copied
    while any(fd < len(wanted) for fd in high):
        high = [os.dup(fd) if fd < len(wanted) else fd for fd in high]
    for position, fd in enumerate(high):
        os.dup2(fd, position)
    os.closerange(len(wanted), _HIGHEST_DESCRIPTOR)
