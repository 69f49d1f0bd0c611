"""`rayzero train`: one run, from the config to the summary. Reads from top to bottom as the run goes."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from cli.cluster import ADDRESS_FILE, await_resources, joins, start_ray
from cli.distill import run_hard, run_soft
from cli.prepare import Prepared, unclaim_folder
from cli.recorder import Recorder
from cli.rejection import run_rejection
from cli.reward_model import run_reward_model
from cli.session import Session, listening, open_session
from cli.star import build_star_loop
from cli.step_labels import run_step_labels
from cli.stop import StopRequest
from cli.supervised import run_sft, run_stages
from configs.distill import HardDistillation, OnPolicyDistillation
from configs.distill_parts import policy_run
from configs.errors import ConfigError
from configs.load import dump_run
from configs.run import DistillRun, GrpoRun, RejectionRun, RewardModelRun, SftRun, StarRun, StepLabelsRun
from data.store import RolloutStore
from data.thinking import ThoughtTags
from telemetry.report import write_report
from telemetry.run_info import RunInfo
from telemetry.versions import collect_versions
from trainers.grpo import GrpoLoop, LoopResult
from trainers.star_summary import build_star_summary
from trainers.summary import build_summary

STOPPED_BY_SIGNAL = 130


def train(prepared: Prepared) -> int:
    """Run it, on a Ray of its own or a cluster. Returns the exit code: 0 finished, 130 stopped by a signal; raises what
    made it fail."""
    run = prepared.run
    address = start_ray(run.cluster)
    if joins(run.cluster):
        try:
            await_resources(run)
        except ConfigError:
            unclaim_folder(prepared)
            raise
    summary = train_on_ray(prepared, address)
    return 0 if summary["status"] == "finished" else STOPPED_BY_SIGNAL


def train_on_ray(prepared: Prepared, address: str, *, pipeline_folder: Path | None = None) -> dict[str, Any]:
    """Run it on the Ray that is up at `address`; what it started has ended when this returns. Raises what made it fail.

    `pipeline_folder`: absolute, of the pipeline that the run is a stage of. Returns the summary; its `status` is
    "finished", "stopped" by a signal, or "cancelled" by a second one.
    """
    start = time.monotonic()
    run = prepared.run
    (prepared.folder / ADDRESS_FILE).write_text(address)
    info = RunInfo(
        name=f"{pipeline_folder.name}/{run.name}" if pipeline_folder else run.name,
        run_folder=prepared.folder,
        tracking=run.tracking,
        config=yaml.safe_load(dump_run(run)),
        versions=collect_versions(),
        parent_folder=pipeline_folder,
    )
    recorder = Recorder(info)
    status = "FAILED"
    try:
        summary = asyncio.run(_train(prepared, recorder, start))
        status = "FINISHED" if summary["status"] == "finished" else "KILLED"
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = "KILLED"
        return {"status": "cancelled"}
    finally:
        recorder.finish(status)
        (prepared.folder / ADDRESS_FILE).unlink(missing_ok=True)
    recorder.show_summary(summary)
    return summary


async def _train(prepared: Prepared, recorder: Recorder, start: float) -> dict[str, Any]:
    stop = StopRequest(recorder)
    recorder.stage("starting the engines")
    if isinstance(prepared.run, StepLabelsRun):
        summary = await run_step_labels(prepared, prepared.run, recorder, lambda: stop.requested)
        return await _finish(prepared, summary, recorder, start)
    if isinstance(prepared.run, RejectionRun):
        summary = await run_rejection(prepared, prepared.run, recorder, stop)
        return await _finish(prepared, summary, recorder, start)
    if isinstance(prepared.run, DistillRun):
        distill = prepared.run.distill
        if not isinstance(distill, OnPolicyDistillation):
            run_kind = run_hard if isinstance(distill, HardDistillation) else run_soft
            summary = await run_kind(prepared, prepared.run, recorder, stop)
            return await _finish(prepared, summary, recorder, start)
        prepared = replace(prepared, run=policy_run(prepared.run, distill))  # GRPO's loop, from here on
    async with open_session(prepared) as session, listening(prepared.folder, lambda c: _obey(c, session)):
        if isinstance(prepared.run, GrpoRun):
            summary = await _grpo(prepared, prepared.run, session, recorder, stop, start)
        elif isinstance(prepared.run, StarRun):
            summary = await _star(prepared, prepared.run, session, recorder, stop, start)
        elif isinstance(prepared.run, RewardModelRun):
            summary = await run_reward_model(prepared, prepared.run, session, recorder, lambda: stop.requested)
        else:
            assert isinstance(prepared.run, SftRun)
            summary = await run_sft(prepared, prepared.run, session, recorder, stop)
    return await _finish(prepared, summary, recorder, start)


async def _finish(prepared: Prepared, summary: dict[str, Any], recorder: Recorder, start: float) -> dict[str, Any]:
    """`summary.json` and the report."""
    summary["wall_s"] = time.monotonic() - start
    recorder.stage("writing the report")
    (prepared.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    await asyncio.to_thread(write_report, prepared.folder)
    return summary


async def _grpo(
    prepared: Prepared, run: GrpoRun, session: Session, recorder: Recorder, stop: StopRequest, start: float
) -> dict[str, Any]:
    assert prepared.prompts is not None
    assert session.fleet is not None
    assert session.rewards is not None
    assert session.publisher is not None
    cold_start_s = None
    if run.cold_start and prepared.resume_from is None:
        cold_start_s = (await run_stages(prepared, session, recorder, stop)).seconds
        if stop.requested:
            recorder.note("stopped in the cold start, before the first checkpoint: start again with --overwrite")
            return {"status": "stopped", "steps": 0, "cold_start_s": cold_start_s}
    recorder.stage("waiting for the rollout workers")
    await session.wait_for_fleet()
    loop = GrpoLoop(
        run,
        prompts=prepared.prompts,
        fleet=session.fleet,
        rewards=session.rewards,
        learner=session.learner,
        publisher=session.publisher,
        tracker=recorder,
        store=RolloutStore(prepared.folder / "rollouts"),
        checkpoint_folder=prepared.folder / "checkpoints",
        reference=session.reference,
        evaluation_prompts=prepared.evaluation_prompts,
        thought_tags=ThoughtTags.of(prepared.tokenizer),
        tracker_run_id=recorder.run_id,
    )
    if prepared.resume_from is not None:
        recorder.stage(f"resuming from {prepared.resume_from.name}")
        await loop.resume(prepared.resume_from)
    stop.watch(loop)
    recorder.stage("training")
    recorder.gauges, recorder.total_steps = session.gauges, run.steps
    session.rewards.on_alarm = lambda alarm: recorder.note(f"reward alarm {alarm.name}: {alarm.detail}")
    result: LoopResult = await loop.run()
    return build_summary(result, wall_s=time.monotonic() - start, cold_start_s=cold_start_s)


async def _star(
    prepared: Prepared, run: StarRun, session: Session, recorder: Recorder, stop: StopRequest, start: float
) -> dict[str, Any]:
    cold_start_s = None
    if run.cold_start and prepared.resume_from is None:
        cold_start_s = (await run_stages(prepared, session, recorder, stop)).seconds
        if stop.requested:
            recorder.note("stopped in the cold start, before the first checkpoint: start again with --overwrite")
            return {"status": "stopped", "steps": 0, "cold_start_s": cold_start_s}
    recorder.stage("waiting for the rollout workers")
    await session.wait_for_fleet()
    loop = build_star_loop(prepared, run, session, recorder)
    if prepared.resume_from is not None:
        recorder.stage(f"resuming from {prepared.resume_from.name}")
        await loop.resume(prepared.resume_from)
    stop.watch(loop)
    recorder.stage("evaluating")
    recorder.gauges = session.gauges
    result = await loop.run()
    return build_star_summary(result, wall_s=time.monotonic() - start, cold_start_s=cold_start_s)


def _obey(command: Mapping[str, object], session: Session) -> str:
    """Commands of `rayzero scale`, answered in a line."""
    if command.get("command") != "scale" or session.fleet is None:
        return f"unknown command {command!r}"
    workers = command.get("rollouts")
    if not isinstance(workers, int) or workers < 1:
        return f"--rollouts is {workers!r}; a run needs at least 1"
    before = session.fleet.target
    session.fleet.scale(workers)
    return f"rollout workers: {before} -> {workers}; new ones serve when their engine is up, others drain first"
