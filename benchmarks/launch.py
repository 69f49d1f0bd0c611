"""Launch: from starting the real `rayzero train` to its first optimizer steps, and what each part of the way takes.

The run is configs/demo.yaml with a cold start of one step and no evaluation: nothing but starting is in the way.
Times are those at which the lines arrive that it prints for each stage and step. Against it, the same parts started one
after the other by a process that waits for each: the ratio (less is better) is what starting them side by side leaves.
"""

import asyncio
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import in_fresh_process
from benchmarks.real_run import RAYZERO, config_tree
from benchmarks.rows import Row
from configs.load import dump_run, parse_run
from configs.run import GrpoRun

CONFIG = "demo.yaml"
RUN_TIMEOUT_S = 300.0
LINES = (  # what the run prints, and what has then been reached
    ("stage ", "starting the engines", "imports, checks and Ray"),
    ("stage ", "supervised stage", "learner process"),
    ("step=1 ", "sft/loss", "engine of the learner, first supervised step"),
    ("stage ", "training", "rest of the rollout engine's start"),
    ("step=1 ", "train/loss", "first weight update, groups and GRPO step"),
)
FIRST_SUPERVISED, FIRST_GRPO = LINES[2][2], LINES[4][2]


def short_run(folder: Path, name: str) -> GrpoRun:
    """The demo, cut to one supervised step and two of GRPO."""
    tree = config_tree(CONFIG)
    changes = {"name": name, "runs_folder": str(folder), "steps": 2, "evaluation": None}
    run = parse_run(tree | changes | {"cold_start": [tree["cold_start"][0] | {"steps": 1}]})
    assert isinstance(run, GrpoRun)
    return run


def launch(folder: Path) -> dict[str, float]:
    """Seconds since the launch at which each line of `LINES` arrived."""
    run = short_run(folder, "launch")
    config = folder / "launch.yaml"
    config.write_text(dump_run(run))
    reached: dict[str, float] = {}
    start = time.monotonic()
    process = subprocess.Popen(
        [str(RAYZERO), "train", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    deadline = threading.Timer(RUN_TIMEOUT_S, process.kill)
    deadline.start()
    printed: list[str] = []
    try:
        for line in process.stdout:
            printed.append(line)
            for beginning, words, name in LINES:
                if line.startswith(beginning) and words in line:
                    reached.setdefault(name, time.monotonic() - start)
        if process.wait():
            raise RuntimeError(f"the run ended with exit code {process.returncode}:\n{''.join(printed)[-4000:]}")
    finally:
        deadline.cancel()
        process.kill()
    return reached


def one_after_the_other(folder: str) -> dict[str, float]:
    """Seconds of each start, in a fresh process that waits for one before it begins the next."""
    took: dict[str, float] = {}
    begun = time.monotonic()

    def done(name: str) -> None:
        nonlocal begun
        took[name] = time.monotonic() - begun
        begun = time.monotonic()

    from cli.cluster import set_environment

    set_environment(loopback=True)
    import ray

    from cli.cluster import start_ray
    from cli.prepare import prepare

    run = short_run(Path(folder), "parts")
    prepared = prepare(run, resume=False, overwrite=False)
    import cli.train  # noqa: F401 - what the run's own process loads

    done("imports and checks")
    start_ray(run.cluster)
    done("Ray")
    try:
        asyncio.run(_start_parts(prepared, run, done))
    finally:
        ray.shutdown()
    return took


async def _start_parts(prepared: Any, run: GrpoRun, done: Callable[[str], None]) -> None:
    from actors.fleet import Fleet
    from actors.learner_group import LearnerGroup
    from actors.reward_service import RewardService
    from actors.scratch_policy import write_scratch_policy
    from actors.tracker import TrackerClient
    from configs.policy import ScratchPolicy
    from data.records import Completion, Group
    from telemetry.run_info import RunInfo

    assert isinstance(run.policy, ScratchPolicy)
    model, folder = str(prepared.model), prepared.folder
    tracker = TrackerClient(RunInfo(run.name, folder, run.tracking, {}, {}))
    await asyncio.to_thread(tracker.start, RUN_TIMEOUT_S)
    done("tracker")
    write_scratch_policy(run.policy, prepared.model, run.seed)
    learner = await LearnerGroup.start(
        model=model, dtype=run.policy.dtype, learner=run.learner, algorithm=run.algorithm, seed=0, run_folder=folder
    )
    try:
        await learner.begin(run.optimizer)
        done("learner")
        rewards = RewardService(run.rewards, run.rollout.max_completion_tokens, folder)
        prompt = prepared.prompts.take()
        empty = prompt.token_ids[:0]
        await rewards.score(Group(0, prompt, (Completion(empty, empty.astype("f4"), empty, "", "stop"),), "", 0.0))
        done("rewards")
        fleet = Fleet(
            model=model,
            max_model_len=run.policy.max_model_len,
            dtype=run.policy.dtype,
            rollout=run.rollout,
            backend=run.weight_transfer.backend,
            run_folder=folder,
        )
        try:
            await fleet.start()
            done("engine")
        finally:
            await fleet.close()
        await rewards.close()
    finally:
        await learner.close()
        await asyncio.to_thread(tracker.finish, "FINISHED", 30.0)


def measure(quick: bool) -> list[Row]:
    """One launch and one sequence of starts; both are long, so neither is repeated."""
    with tempfile.TemporaryDirectory() as scratch:
        reached = launch(Path(scratch))
        parts = in_fresh_process(one_after_the_other, {}, scratch)
    rows = [
        Row("launch to the first GRPO step", reached[FIRST_GRPO], "s", "one after the other", sum(parts.values())),
        Row("launch to the first supervised step", reached[FIRST_SUPERVISED], "s"),
    ]
    before = 0.0
    for _, _, name in LINES:
        rows.append(Row(f"of the launch: {name}", reached[name] - before, "s"))
        before = reached[name]
    return rows + [Row(f"one after the other: {name}", seconds, "s") for name, seconds in parts.items()]
