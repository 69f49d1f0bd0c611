"""`rayzero train` with `method: step_labels`: a fleet that serves the policy's folder, rewards, and no learner."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.fleet import Fleet
from actors.reward_service import RewardService
from cli.prepare import Prepared
from cli.recorder import Recorder
from configs.run import StepLabelsRun
from data.step_labels import FOLDER, Lineage, write_lineage, write_solutions
from trainers.step_labels import StepLabeller, label_solutions


async def run_step_labels(
    prepared: Prepared, run: StepLabelsRun, recorder: Recorder, stop_requested: Callable[[], bool]
) -> dict[str, Any]:
    """Start the engines, label, write `step_labels/`, and sum up."""
    solutions, folder = prepared.solutions, prepared.folder / FOLDER
    assert solutions is not None
    rollout = run.rollout
    fleet = Fleet(
        model=str(prepared.model),
        max_model_len=run.policy.max_model_len,
        dtype=run.policy.dtype,
        rollout=rollout,
        backend="host",
        run_folder=prepared.folder,
    )
    rewards = RewardService(run.rewards, rollout.max_completion_tokens, prepared.folder)
    try:
        await fleet.start()
        await fleet.serve_folder_weights(version=0)
        write_lineage(
            folder,
            Lineage(
                solutions=run.step_labels.solutions.path,
                completer=str(prepared.model),
                samples=rollout.group_size,
                temperature=rollout.temperature,
                max_completion_tokens=rollout.max_completion_tokens,
                separators=run.step_labels.separators,
                seed=run.seed,
            ),
        )
        recorder.total_steps = -(-len(solutions) // run.step_labels.solutions_per_file)
        recorder.stage(f"labelling the steps of {len(solutions)} solutions")
        labeller = StepLabeller(run, fleet, rewards, prepared.tokenizer)
        report = await label_solutions(
            run, solutions, labeller, recorder, partial(write_solutions, folder), stop_requested=stop_requested
        )
    finally:
        await asyncio.gather(fleet.close(), rewards.close())
    return {
        "status": "stopped" if report.stopped else "finished",
        "step_labels": str(folder),
        "labels": report.figures,
    }
