"""`rayzero train`: one run, from the config to the summary. Reads from top to bottom as the run goes."""

import asyncio
import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cli.cluster import ADDRESS_FILE, await_resources, joins, start_ray
from cli.prepare import Prepared, supervised_stages, unclaim_folder
from cli.recorder import Recorder
from cli.reward_model import run_reward_model
from cli.session import Session, listening, open_session
from cli.star import build_star_loop
from cli.step_labels import run_step_labels
from configs.errors import ConfigError
from configs.load import dump_run
from configs.run import GrpoRun, RewardModelRun, SftRun, StarRun, StepLabelsRun
from data.store import RolloutStore
from data.thinking import ThoughtTags
from telemetry.report import write_report
from telemetry.run_info import RunInfo
from telemetry.versions import collect_versions
from trainers.evaluation import EvalReport, evaluate
from trainers.grpo import GrpoLoop, LoopResult
from trainers.sft import run_sft_stage
from trainers.star import StarLoop
from trainers.star_summary import build_star_summary
from trainers.summary import build_summary

STOPPED_BY_SIGNAL = 130


class StopRequest:
    """The first Ctrl-C or SIGTERM asks for a clean end with a checkpoint; the second cancels everything."""

    def __init__(self, recorder: Recorder) -> None:
        self.requested = False
        self.loop: GrpoLoop | StarLoop | None = None
        self._recorder = recorder
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self.requested:
            self._task.cancel()
            return
        self.requested = True
        self._recorder.note("stopping after this step, with a checkpoint; press Ctrl-C again to stop at once")
        if self.loop is not None:
            self.loop.request_stop()


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
    recorder = Recorder(info, total_steps=run.steps if isinstance(run, GrpoRun) else 0)
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
    async with open_session(prepared) as session, listening(prepared.folder, lambda c: _obey(c, session)):
        if isinstance(prepared.run, GrpoRun):
            summary = await _grpo(prepared, prepared.run, session, recorder, stop, start)
        elif isinstance(prepared.run, StarRun):
            summary = await _star(prepared, prepared.run, session, recorder, stop, start)
        elif isinstance(prepared.run, RewardModelRun):
            summary = await run_reward_model(prepared, prepared.run, session, recorder, lambda: stop.requested)
        else:
            summary = await _sft(prepared, prepared.run, session, recorder, stop, start)
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
        cold_start_s = await _supervised(prepared, session, recorder, stop)
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
    stop.loop = loop
    if stop.requested:
        loop.request_stop()
    recorder.stage("training")
    recorder.gauges = session.gauges
    session.rewards.on_alarm = lambda alarm: recorder.note(f"reward alarm {alarm.name}: {alarm.detail}")
    result: LoopResult = await loop.run()
    return build_summary(result, wall_s=time.monotonic() - start, cold_start_s=cold_start_s)


async def _star(
    prepared: Prepared, run: StarRun, session: Session, recorder: Recorder, stop: StopRequest, start: float
) -> dict[str, Any]:
    cold_start_s = None
    if run.cold_start and prepared.resume_from is None:
        cold_start_s = await _supervised(prepared, session, recorder, stop)
        if stop.requested:
            recorder.note("stopped in the cold start, before the first checkpoint: start again with --overwrite")
            return {"status": "stopped", "steps": 0, "cold_start_s": cold_start_s}
    recorder.stage("waiting for the rollout workers")
    await session.wait_for_fleet()
    loop = build_star_loop(prepared, run, session, recorder)
    if prepared.resume_from is not None:
        recorder.stage(f"resuming from {prepared.resume_from.name}")
        await loop.resume(prepared.resume_from)
    stop.loop = loop
    if stop.requested:
        loop.request_stop()
    recorder.stage("evaluating")
    recorder.gauges = session.gauges
    result = await loop.run()
    return build_star_summary(result, wall_s=time.monotonic() - start, cold_start_s=cold_start_s)


async def _sft(
    prepared: Prepared, run: SftRun, session: Session, recorder: Recorder, stop: StopRequest, start: float
) -> dict[str, Any]:
    reports: dict[str, EvalReport] = {}
    if run.evaluation is not None:
        await session.learner.begin(run.stages[0].optimizer)
        reports["before"] = await _evaluate(prepared, run, session, recorder, step=0, version=0)
    seconds = await _supervised(prepared, session, recorder, stop)
    folder = prepared.folder / "checkpoints" / "final"
    folder.mkdir(parents=True, exist_ok=True)
    await session.learner.save(folder, export=run.checkpoints.export)
    if run.evaluation is not None and not stop.requested:
        steps = sum(stage.steps for stage in run.stages)
        reports["after"] = await _evaluate(prepared, run, session, recorder, step=steps, version=run.stages[-1].steps)
    figures: dict[str, Any] = {}
    for when, report in reports.items():
        figures[f"accuracy_{when}"] = report.accuracy
        figures[f"accuracy_{when}_interval"] = [report.accuracy_low, report.accuracy_high]
    figures |= {f"length_{when}": report.length_mean for when, report in reports.items()}
    status = "stopped" if stop.requested else "finished"
    return {"status": status, "train_s": seconds, "checkpoint": str(folder), **figures}


async def _evaluate(
    prepared: Prepared, run: SftRun, session: Session, recorder: Recorder, *, step: int, version: int
) -> EvalReport:
    assert run.evaluation is not None
    assert run.rollout is not None
    assert session.fleet is not None
    assert session.rewards is not None
    assert session.publisher is not None
    recorder.stage("evaluating")
    await session.wait_for_fleet()
    await session.publisher.publish(version)
    report = await evaluate(
        session.fleet,
        session.rewards,
        prepared.evaluation_prompts,
        samples=run.evaluation.samples,
        temperature=run.evaluation.temperature,
        max_completion_tokens=run.rollout.max_completion_tokens,
        seed=run.seed,
        step=step,
        thought_tags=ThoughtTags.of(prepared.tokenizer),
    )
    recorder.log_step(step, report.metrics())
    store = RolloutStore(prepared.folder / "rollouts")
    await asyncio.to_thread(store.write, step, report.groups, advantages={}, kind="eval")
    return report


async def _supervised(prepared: Prepared, session: Session, recorder: Recorder, stop: StopRequest) -> float:
    """All supervised stages, one after the other. Returns the seconds they took."""
    start, done = time.monotonic(), 0
    stages = supervised_stages(prepared.run)
    recorder.begin_supervised(sum(stage.steps for stage in stages))
    for number, (stage, source) in enumerate(zip(stages, prepared.traces, strict=True), 1):
        recorder.stage(f"supervised stage {number} of {len(stages)}: {stage.steps} steps")
        report = await run_sft_stage(
            stage,
            source,
            session.learner,
            recorder.supervised,
            tracker_step=done,
            stop_requested=lambda: stop.requested or session.fleet_failed,
        )
        done += report.steps_done
        if session.fleet_failed:  # found out now, not after the rest of the stages
            await session.wait_for_fleet()
        if stop.requested:
            break
    recorder.end_supervised()
    return time.monotonic() - start


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
