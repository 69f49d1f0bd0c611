"""Kernel limits on one run (`setrlimit`), and the end of every inherited descriptor."""

import math
import os
import resource
from dataclasses import dataclass

ADDRESS_SPACE_SLACK = 512 * 2**20  # for stacks of threads and reserves of malloc that are never touched
MAX_OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What the child sets on itself; the watcher in the zygote enforces the finer limits on time."""

    cpu_s: float
    memory_bytes: int | None  # None for an engine that reserves far more addresses than it uses: it is watched instead
    stack_bytes: int
    file_bytes: int
    processes: int | None  # None where other processes of the same user would count

    def apply(self) -> None:
        """Soft and hard alike, so that none can be raised again. Raises OSError or ValueError."""
        cpu_s = math.ceil(self.cpu_s) + 1  # a backstop: the soft limit only sends a signal that a program may ignore
        for which, value in (
            (resource.RLIMIT_CPU, cpu_s),
            (resource.RLIMIT_AS, self._address_space()),
            (resource.RLIMIT_STACK, self.stack_bytes),
            (resource.RLIMIT_FSIZE, self.file_bytes),
            (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_NICE, 0),
            (resource.RLIMIT_RTPRIO, 0),
        ):
            hard = resource.getrlimit(which)[1]
            value = (
                hard
                if value == resource.RLIM_INFINITY
                else value
                if hard == resource.RLIM_INFINITY
                else min(value, hard)
            )
            resource.setrlimit(which, (value, value))
        if self.processes is not None:
            resource.setrlimit(resource.RLIMIT_NPROC, (self.processes, self.processes))

    def _address_space(self) -> int:
        return resource.RLIM_INFINITY if self.memory_bytes is None else self.memory_bytes + ADDRESS_SPACE_SLACK


def place_descriptors(wanted: list[int]) -> None:
    """Make `wanted` the descriptors 0, 1, 2, ... in that order, inheritable, and close every other one."""
    high = [os.dup(fd) if fd < len(wanted) else fd for fd in wanted]  # nothing is overwritten before it is copied
    while any(fd < len(wanted) for fd in high):
        high = [os.dup(fd) if fd < len(wanted) else fd for fd in high]
    for position, fd in enumerate(high):
        os.dup2(fd, position)
    os.closerange(len(wanted), os.sysconf("SC_OPEN_MAX"))
