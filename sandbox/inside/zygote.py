"""The zygote: a small warm interpreter that forks one confined child for each run, watches it and reaps it.

Started with an empty environment by worker.py as `python -I -S -c BOOT fd settings`. It speaks JSON messages over one
SOCK_SEQPACKET socket. It never reads a program, an input or an answer: those are descriptors that it hands to the
child, so no run's data lies in memory that the next one inherits.
"""

import gc
import json
import math
import os
import random
import resource
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from sandbox.inside import child, programs
from sandbox.walls import (
    cgroup,
    compile_folder,
    kernel,
    landlock,
    namespaces,
    private_root,
    privileges,
    resources,
    seccomp,
    syscall_lists,
)

# Raised whenever messages or settings change: a zygote is started from files that may be newer than the service.
PROTOCOL = 3
MAX_MESSAGE_BYTES = 65_536
MAX_DESCRIPTORS = 8
_PATIENCE_S = 5.0  # a killed child that is not reaped by then is stuck in the kernel
_CORES = os.cpu_count() or 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_FILL_BYTES_PER_S = 8 * 2**30  # faster than a program fills memory; how soon its size is looked at again follows
_SHORTEST_WAIT_S = 0.002
_ANY_PID = 0x7EAD_BEEF  # stands in the prepared filter for the pid that each child puts there; no pid is so high


@dataclass(frozen=True, slots=True)
class Settings:
    """What a zygote is for, the same for all its runs; the service sends it as JSON on the command line."""

    namespaces: bool  # own namespaces, private root, a pid namespace for each run
    landlock: bool  # where the kernel has it, and without `namespaces` always
    seccomp: bool
    profile: str  # which list of system calls, see walls/syscall_lists.py
    outside_uid: int  # the user that root becomes
    stack_bytes: int
    scratch_bytes: int
    threads: int
    shown: list[str]  # what only the zygote needs in its own root, its library where runs may not read it
    readable: list[str]
    masked: list[str]
    executable: list[str]
    warm: list[str]  # modules to import before the first fork
    cgroups: list[str]  # files to join by writing 0 to them


class Zygote:
    """The loop and what it keeps between runs."""

    def __init__(self, control: socket.socket, settings: Settings) -> None:
        self._control, self._settings = control, settings
        self._process_namespaces: namespaces.ProcessNamespaces | None = None
        self._scratch: private_root.Scratch | None = None
        self._ruleset: int | None = None
        self._filter: bytes | None = None
        self._folder: compile_folder.CompileFolder | None = None
        # The host's, which later cannot be opened any more. What a run is told of it is nothing: a child closes all
        # descriptors but its own before it reads the program.
        self._proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)

    def prepare(self) -> list[str]:
        """Raise every wall that outlives a run. Returns the names of those that stand. Raises OSError."""
        settings = self._settings
        held = ["no_new_privileges", "rlimits"]
        if settings.cgroups:
            cgroup.join(settings.cgroups)
            held.append("cgroup")
        if settings.namespaces:
            self._enter_namespaces()
            held += ["namespaces", "private_root"]
        elif os.getuid() == 0 and (settings.seccomp or settings.landlock):
            privileges.close_bounding_set()
            privileges.become(settings.outside_uid, keep_capabilities=False)
            held.append("unprivileged_user")
        privileges.no_new_privileges()
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        if settings.profile == "toolchain" and not settings.namespaces:
            self._folder = compile_folder.CompileFolder()
        if settings.profile == "engine":
            _text_at(self._proc, "self/statm")  # nothing else bounds its memory: without it there is no such worker
        if settings.landlock and (not settings.namespaces or landlock.abi()):
            self._make_ruleset()
            held.append(f"landlock (ABI {landlock.abi()})")
        file_bytes = settings.scratch_bytes if self._scratch or self._folder else 0
        resources.apply(resources.shared_rlimits(settings.stack_bytes, file_bytes))
        if settings.seccomp:
            self._filter = seccomp.program(_ANY_PID, syscall_lists.PROFILES[settings.profile])
            held.append("seccomp")
        return held

    def _enter_namespaces(self) -> None:
        namespaces.enter(self._settings.outside_uid)
        if inner := os.fork():  # this process is outside the new pid namespace and only waits for the one inside
            self._control.close()
            _, status = os.waitpid(inner, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        self._process_namespaces = namespaces.ProcessNamespaces()
        private_root.enter([*self._settings.shown, *self._settings.readable], self._settings.masked)
        namespaces.leave_root()
        privileges.close_bounding_set()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
        self._scratch = private_root.Scratch(self._settings.scratch_bytes, namespaces.INSIDE_UID)

    def _make_ruleset(self) -> None:
        settings = self._settings
        names = ("zero", "random", "urandom", "full") if settings.profile == "program" else ("urandom",)
        devices = [(f"/dev/{name}", landlock.READ) for name in names]
        rules = [(path, landlock.READ) for path in settings.readable] + devices
        rules += [(path, landlock.READ_EXECUTE) for path in settings.executable]
        rules.append(("/dev/null", landlock.READ | landlock.WRITE_FILE))
        if self._scratch:
            rules.append((private_root.SCRATCH, landlock.READ_WRITE))
        if self._folder:
            rules.append((self._folder.path, landlock.READ_WRITE))
        if self._ruleset is not None:
            os.close(self._ruleset)
        self._ruleset = landlock.ruleset(rules)

    def serve(self) -> None:
        """Run after run, until the service closes its end."""
        while True:
            message, descriptors = receive(self._control)
            if message is None:
                if self._folder:
                    self._folder.remove()
                return
            if message["op"] == "run":
                send(self._control, self._run(message, descriptors))
                if self._scratch and self._scratch.renew() and self._ruleset is not None:
                    self._make_ruleset()  # rules are bound to inodes, and the scratch has a new one

    def _run(self, job: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """One child from fork to reaped, as the message that tells the service about it."""
        confirm_end, child_end = os.pipe()
        wanted = [*descriptors, child_end, *([] if self._ruleset is None else [self._ruleset])]
        confinement = self._confinement(job, ruleset_fd=len(descriptors) + 1)
        random.seed()  # for the child, as `os.fork` would do it in the child
        started = time.monotonic()
        try:
            if self._process_namespaces:
                self._process_namespaces.next_child_in_new()
            if (pid := kernel.fork()) == 0:
                child.main(job, wanted, confinement, self._instructions())
            if self._process_namespaces:
                self._process_namespaces.back_to_own()
        finally:
            for fd in [*descriptors, child_end]:
                os.close(fd)
        killed = _Watch(self._control, pid, job, started, self._proc).until_dead()
        _, status, usage = os.wait4(pid, 0)
        wall_s = time.monotonic() - started
        if self._folder:
            self._end_strays()
            self._folder.empty()
        _reap_strays()
        with open(confirm_end, "rb") as pipe:
            said = pipe.read(4096)
        return {
            "op": "exit",
            "job": job["job"],
            "status": os.waitstatus_to_exitcode(status),
            "killed": killed,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "wall_s": wall_s,
            "peak_memory_bytes": usage.ru_maxrss * 1024,
            "problem": "" if said == child.CONFINED else said.decode(errors="replace") or "the child died unconfined",
        }

    def _end_strays(self) -> None:
        """Kill what a compiler left behind, until nothing is left: it has become a child of this process."""
        while strays := _text_at(self._proc, "thread-self/children").split():
            for pid in map(int, strays):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _confinement(self, job: dict[str, Any], ruleset_fd: int) -> child.Confinement:
        """Made before the fork: what a child writes to is copied, what its parent has written to is not."""
        settings = self._settings
        rlimits = resources.run_rlimits(
            cpu_s=job["total_cpu_s"],
            memory_bytes=None if settings.profile == "engine" else job["memory_bytes"],
            processes=settings.threads + 3 if settings.namespaces else None,  # and the zygote's own two
        )
        return child.Confinement(
            rlimits=rlimits,
            drop_capabilities=settings.namespaces,
            ruleset_fd=None if self._ruleset is None else ruleset_fd,
            folder=private_root.SCRATCH if self._scratch else self._folder.path if self._folder else "/",
        )

    def _instructions(self) -> bytes | None:
        """In the child: the filter for it."""
        pid = 1 if self._process_namespaces else os.getpid()
        return self._filter and self._filter.replace(_word(_ANY_PID), _word(pid))


class _Watch:
    """Waits for a child's end, and brings it about when time is up, the service asks, or the service is gone."""

    def __init__(self, control: socket.socket, pid: int, job: dict[str, Any], started: float, proc: int) -> None:
        self._control, self._pid, self._job, self._proc = control, pid, job, proc
        self._wall_from, self._cpu_from = started, 0.0
        self._paused_at: float | None = None
        self._memory = -1

    def _cpu(self) -> float:
        """Processor seconds of the whole child; its clock is readable without /proc."""
        return time.clock_gettime((~self._pid << 3) | 2)

    def until_dead(self) -> str:
        """Returns why it was killed: "wall", "cpu", "memory", "asked", or "" when it ended by itself."""
        pidfd = os.pidfd_open(self._pid)
        memory_wait_s = self._job["memory_bytes"] / _FILL_BYTES_PER_S
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        try:
            while True:
                wall_left = self._job["wall_s"] - ((self._paused_at or time.monotonic()) - self._wall_from)
                cpu_left = self._job["cpu_s"] - (self._cpu() - self._cpu_from)
                is_over = wall_left <= 0 or cpu_left <= 0
                # Even then what has been said is heard first: it may be that a new call has begun.
                clock_wait_s = math.inf if self._paused_at else wall_left
                wait_s = 0 if is_over else min(clock_wait_s, max(cpu_left / _CORES, 0.005), memory_wait_s)
                ready = dict(poller.poll(math.ceil(1000 * wait_s)))
                if pidfd in ready:
                    return ""
                if ready and self._asked_to_kill():
                    return self._kill(pidfd, "asked")
                if is_over and not ready:
                    return self._kill(pidfd, "cpu" if cpu_left <= 0 else "wall")
                memory_left = self._job["memory_bytes"] - self._resident_bytes(pidfd)
                if memory_left < 0:
                    return self._kill(pidfd, "memory")
                memory_wait_s = max(memory_left / _FILL_BYTES_PER_S, _SHORTEST_WAIT_S)
        finally:
            os.close(pidfd)
            if self._memory >= 0:
                os.close(self._memory)

    def _resident_bytes(self, pidfd: int) -> int:
        """Of the whole child; 0 where /proc does not show it. Opened late: most runs end before it is needed."""
        try:
            if self._memory < 0:
                about = _text_at(self._proc, f"self/fdinfo/{pidfd}")  # its pid there, which is not its pid here
                pid = next(line.split()[1] for line in about.splitlines() if line.startswith("Pid:"))
                self._memory = os.open(f"{pid}/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            return int(os.pread(self._memory, 256, 0).split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):  # a /proc of which parts are hidden, or a child that has just died
            return 0

    def _asked_to_kill(self) -> bool:
        message, descriptors = receive(self._control)
        for fd in descriptors:
            os.close(fd)
        if message is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)  # the service takes the end of this process for the end of the run
            os._exit(0)
        if message.get("job") != self._job["job"]:
            return False
        match message["op"]:
            case "clock":  # something new begins
                self._wall_from, self._cpu_from, self._paused_at = time.monotonic(), self._cpu(), None
            case "pause":  # the child waits for the service
                self._paused_at = self._paused_at or time.monotonic()
            case "resume" if self._paused_at:
                self._wall_from += time.monotonic() - self._paused_at
                self._paused_at = None
            case _:
                pass
        return message["op"] == "kill"

    def _kill(self, pidfd: int, why: str) -> str:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not select.select([pidfd], [], [], _PATIENCE_S)[0]:
            raise TimeoutError(f"the child was not dead {_PATIENCE_S} s after SIGKILL")
        return why


def _reap_strays() -> None:
    """What a run left behind became a child of the zygote, its subreaper; only toolchains can start anything."""
    while True:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return


def _text_at(folder: int, path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, encoding="ascii") as file:
        return file.read()


def _word(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


def receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and the descriptors that came with it; None when the other end is closed."""
    data, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS)
    return (json.loads(data) if data else None), descriptors


def send(control: socket.socket, message: dict[str, Any]) -> None:
    """Tell the service."""
    control.send(json.dumps(message).encode())


def _set_stack(stack_bytes: int) -> None:
    """The main thread's stack is laid out when a program is executed, so a larger one needs executing once more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = stack_bytes if hard == resource.RLIM_INFINITY else min(stack_bytes, hard)
    if soft != wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
        os.execv(sys.executable, sys.orig_argv)


def main(control_fd: int, settings_json: str) -> None:
    """Never returns to a caller that goes on: the process ends with the service."""
    control = socket.socket(fileno=control_fd)
    try:
        settings = Settings(**json.loads(settings_json))
        _set_stack(settings.stack_bytes)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        for module in settings.warm:
            __import__(module)
        zygote = Zygote(control, settings)
        held = zygote.prepare()
        os.environ.clear()
        programs.prepare_interpreter()
        threading.stack_size(8 * 2**20)  # otherwise every thread reserves as much as the main one
        gc.collect()
        gc.freeze()  # a collection in a child then leaves these pages shared
        send(control, {"op": "ready", "protocol": PROTOCOL, "walls": held})
    except Exception as error:  # whatever it is, the service must hear of it: a zygote without its walls is not used
        send(control, {"op": "failed", "protocol": PROTOCOL, "problem": f"{error}"})
        sys.exit(1)
    zygote.serve()
