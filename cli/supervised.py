"""Supervised stages: those of `method: sft`, with its evaluation, and those of a cold start."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from cli.prepare import Prepared, supervised_stages
from cli.recorder import Recorder
from cli.session import Session
from cli.stop import StopRequest
from configs.run import SftRun
from data.store import RolloutStore
from data.thinking import ThoughtTags
from trainers.evaluation import EvalReport, evaluate
from trainers.sft import Enrich, SftReport, run_sft_stage, stage_steps


@dataclass(frozen=True, slots=True)
class StagesDone:
    """What the stages did; the last report is of a stopped stage when a stop came."""

    reports: tuple[SftReport, ...]
    seconds: float

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages."""
        return sum(report.steps_done for report in self.reports)

    def figures(self) -> dict[str, Any]:
        """Losses of the last stage, for summary.json."""
        last = self.reports[-1]
        figures: dict[str, Any] = {"steps": self.steps, "loss_before": last.first_loss, "loss_after": last.last_loss}
        if last.held_out_losses:
            figures["held_out_loss_before"] = last.held_out_losses[0][1]
            figures["held_out_loss_after"] = last.held_out_losses[-1][1]
            figures["held_out_losses"] = [list(measured) for measured in last.held_out_losses]
        return figures


async def run_sft(
    prepared: Prepared,
    run: SftRun,
    session: Session,
    recorder: Recorder,
    stop: StopRequest,
    *,
    enrich: Enrich | None = None,
) -> dict[str, Any]:
    """Evaluate, train the stages, save, evaluate; the figures of summary.json. `enrich`: see trainers/sft.py."""
    reports: dict[str, EvalReport] = {}
    if run.evaluation is not None:
        await session.learner.begin(run.stages[0].optimizer)
        reports["before"] = await _evaluate(prepared, run, session, recorder, step=0, version=0)
    done = await run_stages(prepared, session, recorder, stop, enrich=enrich)
    folder = prepared.folder / "checkpoints" / "final"
    folder.mkdir(parents=True, exist_ok=True)
    await session.learner.save(folder, export=run.checkpoints.export)
    if run.evaluation is not None and not stop.requested:
        version = done.reports[-1].version or 0
        reports["after"] = await _evaluate(prepared, run, session, recorder, step=done.steps, version=version)
    figures: dict[str, Any] = {}
    for when, report in reports.items():
        figures[f"accuracy_{when}"] = report.accuracy
        figures[f"accuracy_{when}_interval"] = [report.accuracy_low, report.accuracy_high]
    figures |= {f"length_{when}": report.length_mean for when, report in reports.items()}
    status = "stopped" if stop.requested else "finished"
    return {"status": status, "train_s": done.seconds, "checkpoint": str(folder), **done.figures(), **figures}


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


async def run_stages(
    prepared: Prepared, session: Session, recorder: Recorder, stop: StopRequest, *, enrich: Enrich | None = None
) -> StagesDone:
    """All supervised stages, one after the other, until a stop."""
    start, reports = time.monotonic(), list[SftReport]()
    stages = supervised_stages(prepared.run)
    steps = [stage_steps(stage, source.rows) for stage, source in zip(stages, prepared.traces, strict=True)]
    recorder.begin_supervised(sum(steps))
    for number, (stage, source) in enumerate(zip(stages, prepared.traces, strict=True)):
        recorder.stage(f"supervised stage {number + 1} of {len(stages)}: {steps[number]} steps")
        report = await run_sft_stage(
            stage,
            source,
            session.learner,
            recorder.supervised,
            tracker_step=sum(report.steps_done for report in reports),
            stop_requested=lambda: stop.requested or session.fleet_failed,
            held_out=prepared.held_out[number],
            enrich=enrich,
        )
        reports.append(report)
        if session.fleet_failed:  # found out now, not after the rest of the stages
            await session.wait_for_fleet()
        if stop.requested:
            break
    recorder.end_supervised()
    return StagesDone(tuple(reports), time.monotonic() - start)
