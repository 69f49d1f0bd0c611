"""Weight sync: bytes per second from the learner into a serving engine, against a memory copy of the same bytes.

The time is that of a whole `publish`: pausing the engine, sending, loading and going on.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.processes import local_ray
from benchmarks.rows import Row
from configs.algorithm import Algorithm
from configs.engines import Learner, Rollout, WeightTransfer
from configs.policy import ScratchPolicy
from configs.prompts import AdamW

ROLLOUT = Rollout(group_size=8, max_completion_tokens=64, kv_cache_gib=0.25, max_sequences=16, eager=True)
POLICIES = {
    "demo policy": ScratchPolicy(vocabulary="characters"),
    "wider policy": ScratchPolicy(
        vocabulary="characters", hidden_size=512, layers=8, heads=8, kv_heads=4, head_size=64, mlp_size=2048
    ),
}


def copy_s(size: int, rounds: int) -> float:
    """Seconds of the fastest copy of so many bytes, into memory that has been touched before."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return min(times)


async def publish_s(folder: Path, rounds: int) -> tuple[float, float, int]:
    """Fastest publish and shortest pause of sampling in seconds, and the bytes of one update."""
    from actors.fleet import Fleet
    from actors.learner_group import LearnerGroup
    from actors.publisher import Publisher

    run_folder, model = folder / "run", str(folder)
    fleet = Fleet(
        model=model, max_model_len=128, dtype="float32", rollout=ROLLOUT, backend="host", run_folder=run_folder
    )
    starting = asyncio.create_task(fleet.start())
    learner: LearnerGroup | None = None
    try:
        learner = await LearnerGroup.start(
            model=model, dtype="float32", learner=Learner(), algorithm=Algorithm(), seed=0, run_folder=run_folder
        )
        await learner.begin(AdamW(learning_rate=1e-4))
        await starting
        shared = Path("/dev/shm") / f"rayzero-benchmark-{os.getpid()}"
        probe = np.arange(7, 16, dtype=np.int32)
        publisher = Publisher(learner, fleet, WeightTransfer(probe_every=0), folder=shared, probe_prompt=probe)
        await publisher.publish(0)  # connects, and allocates both sides' buffers
        times: list[float] = []
        pauses: list[float] = []
        size = 0
        for _ in range(rounds):  # the same version again is sent in full again
            start = time.perf_counter()
            report = await publisher.publish(0)
            times.append(time.perf_counter() - start)
            pauses.append(report.pause_s)
            size = report.bytes_sent
        return min(times), min(pauses), size
    finally:
        starting.cancel()
        await asyncio.wait([starting])
        if learner is not None:
            await learner.close()
        await fleet.close()


def measure(quick: bool) -> list[Row]:
    """One worker, `host` backend; the quick form takes the demo's policy alone."""
    from actors.scratch_policy import write_scratch_policy

    rows: list[Row] = []
    rounds = 5 if quick else 10
    with local_ray():
        for name in list(POLICIES)[: 1 if quick else None]:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                write_scratch_policy(POLICIES[name], folder, seed=0)
                ours, pause, size = asyncio.run(publish_s(folder, rounds))
            mib = size / 2**20
            what = f"weight sync, {name} ({mib:.3g} MiB)"
            rows.append(Row(what, mib / ours, "MiB/s", "memory copy", mib / copy_s(size, rounds)))
            rows.append(Row(f"{what}, sampling stands still", pause * 1e3, "ms"))
    return rows
