"""Chooses a tier by attacking it: canaries run in a real child, against real bait that the service puts out."""

import json
import logging
import os
import socket
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sandbox.inside import canary
from sandbox.limits import MIB, SandboxLimits
from sandbox.results import Isolation, SandboxUnavailable
from sandbox.tiers import FIRST_OUTSIDE_UID, TIERS, Tier
from sandbox.walls import landlock
from sandbox.worker import Worker, WorkerFailed, WorkerNotStarted

log = logging.getLogger(__name__)

_PTRACE = b"import ctypes\nctypes.CDLL(None).ptrace(0x4206, %d, 0, 0)\n"  # PTRACE_SEIZE
REMEDY = (
    "`namespaces` needs unprivileged user namespaces (user.max_user_namespaces above 0, no "
    "kernel.apparmor_restrict_unprivileged_userns, no seccomp profile that refuses unshare) or root with "
    "CAP_SYS_ADMIN; `portable` needs seccomp and Landlock (Linux 5.13 or newer with `landlock` in the lsm= list), "
    "and no privileges. See docs/sandbox.md. `isolation: unsafe_none` runs programs with no walls at all."
)


async def choose(asked: Literal["auto"] | Isolation, limits: SandboxLimits) -> Isolation:
    """The first tier that holds. Raises SandboxUnavailable that names what each one lacks."""
    names: tuple[Isolation, ...] = ("namespaces", "portable") if asked == "auto" else (asked,)
    lacking: list[str] = []
    for name in names:
        problems = await attack(TIERS[name], limits)
        if not problems:
            if lacking:
                log.warning("isolation is %s, because %s", name, "; ".join(lacking))
            return name
        lacking.append(f"{name} does not hold: {', '.join(problems)}")
    raise SandboxUnavailable(
        f"{'; '.join(lacking)} (Linux {os.uname().release}, Landlock ABI {landlock.abi()}). {REMEDY}"
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One attack on one wall."""

    wall: str
    attack: str
    got: str  # what came through; empty when the wall held

    def __str__(self) -> str:
        return f"{self.wall}: {self.got}" if self.wall else self.got


@dataclass(frozen=True, slots=True)
class Examination:
    """A tier after all attacks: the walls that it says it has raised, and what each attack came to."""

    walls: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[str]:
        """What got through, or why the walls could not be raised; empty when the tier holds."""
        return [str(finding) for finding in self.findings if finding.got]


async def attack(tier: Tier, limits: SandboxLimits) -> list[str]:
    """What gets through the walls of a tier, or why they could not be raised; empty when it holds."""
    return (await examine(tier, limits)).problems


async def examine(tier: Tier, limits: SandboxLimits) -> Examination:
    """Attack every wall of a tier. One that could not be raised is a finding without a wall."""
    limits = replace(
        limits, cpu_s=20.0, wall_s=60.0, memory_bytes=128 * MIB, scratch_bytes=min(limits.scratch_bytes, 4 * MIB)
    )
    try:
        worker = await Worker.start(tier, limits, FIRST_OUTSIDE_UID)
    except (WorkerNotStarted, SandboxUnavailable) as error:
        return Examination((), (Finding("", "raise the walls", str(error)),))
    walls = tuple(worker.walls)
    try:
        with _bait() as bait:
            findings = await _canaries(worker, bait, limits)
        return Examination(walls, (*findings, await _fatal_call(worker, limits)))
    except WorkerFailed as error:
        return Examination(walls, (Finding("", "run the canaries", str(error)),))
    finally:
        await worker.stop()


@dataclass(frozen=True, slots=True)
class _Bait:
    """What a program could only get at through a hole."""

    folder: Path
    tcp: socket.socket
    unix: socket.socket
    asked: dict[str, Any]

    def taken(self) -> list[Finding]:
        """Seen from this side, whatever the canaries say."""
        found = [
            Finding("network", f"reach {n}", f"a connection to {n}") for n, end in self._listeners() if _called(end)
        ]
        is_written = (self.folder / "written").exists()
        return found + ([Finding("writing", "leave a file outside", "a file outside")] if is_written else [])

    def _listeners(self) -> list[tuple[str, socket.socket]]:
        return [("a TCP port", self.tcp), ("an abstract socket", self.unix)]


def _called(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@contextmanager
def _bait() -> Generator[_Bait]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rayzero-bait-")))
        folder.chmod(0o777)
        (folder / "secret").write_text("secret")
        (folder / "secret").chmod(0o644)
        tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        tcp.bind(("127.0.0.1", 0))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        abstract = f"rayzero-bait-{os.getpid()}-{tcp.getsockname()[1]}"
        unix.bind("\0" + abstract)
        for listener in (tcp, unix):
            listener.listen()
            listener.setblocking(False)
        asked = {
            "pid": os.getpid(),
            "secret": str(folder / "secret"),
            "folder": str(folder),
            "port": tcp.getsockname()[1],
            "abstract": abstract,
        }
        yield _Bait(folder, tcp, unix, asked)


async def _canaries(worker: Worker, bait: _Bait, limits: SandboxLimits) -> list[Finding]:
    asked = json.dumps(bait.asked | {"memory_bytes": limits.memory_bytes}).encode()
    run = worker.launch("program", Path(canary.__file__).read_bytes(), asked, limits)
    try:
        left = await run.end()
    finally:
        run.close()
    taken = bait.taken()
    try:
        report: dict[str, dict[str, str]] = json.loads(bytes(run.stdout.data))
    except ValueError:
        told = run.stderr_tail.strip().rpartition("\n")[2] or f"status {left.status} {left.killed}".strip()
        return [*taken, Finding("", "run the canaries", f"the canaries did not report ({told})")]
    return taken + [
        Finding(wall, name, report.get(wall, {}).get(name, "not tried"))
        for wall, probes in canary.PROBES.items()
        for name in probes
    ]


async def _fatal_call(worker: Worker, limits: SandboxLimits) -> Finding:
    """A system call on the list of attacks must kill, and the worker must live on."""
    run = worker.launch("program", _PTRACE % os.getpid(), b"", limits)
    try:
        left = await run.end()
    finally:
        run.close()
    got = "" if left.status == -31 else f"ptrace ended with status {left.status}, not SIGSYS"
    return Finding("system calls", "ptrace the service", got)
