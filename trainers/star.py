"""STaR (Zelikman et al. 2022, arXiv 2203.14465) and relatives: sample, verify, keep what is right, fine-tune, again.

    sample 1 ─> tune 1 ─> publish, evaluate, save ─> tune 2 ─> publish, evaluate, save ─> ...
                sample 2 ──────────────────────────> sample 3 ──────────────────────────> ...      overlap: true

With `overlap` the fleet samples the next iteration while the learner fine-tunes; new weights reach it in flight, and
every token knows the version that sampled it. Rejection-sampling fine-tuning, ReST-EM and expert iteration are settings
of the same loop (configs/star.py). docs/star.md explains the choices.
"""

import asyncio
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from configs.run import StarRun
from data.rationales import write_rationales
from data.records import Prompt
from data.thinking import UNKNOWN_TAGS, ThoughtTags
from trainers import ports
from trainers.checkpoints import complete_steps, save_checkpoint
from trainers.evaluation import EvalReport, evaluate
from trainers.star_sampling import IterationFailed, IterationSampler, Sampled
from trainers.star_state import IterationReport, StarState, best_iteration, read_state, report_iteration, write_state
from trainers.star_tuning import Tuned, fine_tune, tuning_steps
from trainers.step_metrics import group_metrics, sample_rows, sync_metrics
from trainers.together import together

Announce = Callable[[str, int], None]  # what goes on now, and at which optimizer step it ends (0: unknown)


@dataclass(frozen=True, slots=True)
class StarResult:
    """How the run ended, and what every iteration did, over restarts too."""

    status: Literal["finished", "stopped"]
    ended_by: Literal["iterations", "patience", "stop"]
    version: int
    iteration: int  # whose weights are the result: the best of those that `patience` compared, otherwise the last
    reports: tuple[IterationReport, ...]
    evaluations: tuple[dict[str, float], ...]  # metrics of each, with "iteration"


class StarLoop:
    """Wires the ports together for one run. Call `run` once, after `resume` when the run goes on from a checkpoint."""

    def __init__(
        self,
        run: StarRun,
        *,
        prompts: ports.HintingPrompts,
        fleet: ports.RolloutFleet,
        rewards: ports.RewardService,
        learner: ports.RestartingLearner,
        publisher: ports.Publisher,
        tracker: ports.Tracker,
        store: ports.RolloutSink,
        folder: Path,
        base: Path,
        evaluation_prompts: Seq[Prompt] = (),
        thought_tags: ThoughtTags = UNKNOWN_TAGS,
        announce: Announce = lambda text, last_step: None,
    ) -> None:
        """`folder`: of the run; `base`: model folder to restart from, exported at the start when it is not there."""
        self._run, self._star = run, run.star
        self._prompts, self._fleet, self._rewards = prompts, fleet, rewards
        self._learner, self._publisher = learner, publisher
        self._tracker, self._store = tracker, store
        self._folder, self._base, self._thought_tags = folder, base, thought_tags
        self._evaluation_prompts, self._announce = evaluation_prompts, announce
        self._sampler = IterationSampler(run, prompts, fleet, rewards)
        self._reports: list[IterationReport] = []
        self._evaluations: list[dict[str, float]] = []
        self._cursors: dict[int, dict[str, Any]] = {}  # iteration -> where the problems of the next one begin
        self._deleted: set[int] = set()  # evaluated iterations without a checkpoint, from before a resume
        self._stop = asyncio.Event()
        self._resumed = False
        self.version = 0

    @property
    def iteration(self) -> int:
        """The last finished iteration; 0 before the first."""
        return len(self._reports)

    def request_stop(self) -> None:
        """End soon with status "stopped"; the checkpoint of the last finished iteration stands. From the event loop."""
        self._stop.set()

    async def run(self) -> StarResult:
        """Publish, evaluate, iterate. Raises what a port raises, and IterationFailed without any right rationale."""
        if not self._resumed:
            await self._learner.begin(self._star.tuning.optimizer)
            await self._keep_base()
            self._cursors[0] = self._prompts.state()
        await self._publisher.publish(self.version)
        if not self._evaluations and not self._stop.is_set():
            await self._evaluate()
        if not self._resumed:
            await self._save()  # so that a stop at any time leaves something to go on from
        if not self._ended_by():
            async with together() as tasks:
                await self._iterate(tasks)
        ended_by = self._ended_by() or "stop"
        return StarResult(
            status="stopped" if ended_by == "stop" else "finished",
            ended_by=ended_by,
            version=self.version,
            iteration=self.iteration if (best := self._best()) is None else best,
            reports=tuple(self._reports),
            evaluations=tuple(self._evaluations),
        )

    async def _iterate(self, tasks: asyncio.TaskGroup) -> None:
        """Iterations until the end or a stop; what is then being sampled is given up."""
        sampling = self._start(tasks, self.iteration + 1)
        while True:
            self._announce(f"iteration {self.iteration + 1} of {self._star.iterations}: sampling", 0)
            waited = time.perf_counter()
            if not await self._unless_stopped(sampling):
                break
            sampled = sampling.result()
            wait_s = time.perf_counter() - waited
            more = sampled.iteration < self._star.iterations
            if more and self._star.overlap:
                sampling = self._start(tasks, sampled.iteration + 1)
            await self._keep(sampled)
            if not await self._tune(sampled, wait_s) or self._ended_by():
                break
            if not self._star.overlap:
                sampling = self._start(tasks, sampled.iteration + 1)
        sampling.cancel()

    def _start(self, tasks: asyncio.TaskGroup, iteration: int) -> asyncio.Task[Sampled]:
        """Draw the iteration's problems and sample them beside whatever else goes on."""
        problems = [self._prompts.take() for _ in range(self._star.problems_per_iteration)]
        self._cursors[iteration] = self._prompts.state()
        return tasks.create_task(self._sampler.sample(iteration, problems))

    async def _unless_stopped(self, sampling: asyncio.Task[Sampled]) -> bool:
        """Wait for the samples; False when a stop came first."""
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({sampling, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        return not self._stop.is_set()

    async def _keep(self, sampled: Sampled) -> None:
        """The iteration's data set and every sampled group to disk. Raises IterationFailed for one without data."""
        await asyncio.to_thread(write_rationales, self._folder / "rationales", sampled.iteration, sampled.rationales)
        advantages = {scored.group.group_id: np.full(len(scored.verdicts), np.nan) for scored in sampled.groups}
        trained = sampled.with_fate("trained")
        for rationale in trained:
            advantages[rationale.group_id][rationale.sample] = 1.0
        await asyncio.to_thread(
            self._store.write, sampled.iteration, sampled.groups, advantages=advantages, kind="train"
        )
        if not trained:
            raise IterationFailed(
                f"none of the {len(sampled.rationales)} rationales of iteration {sampled.iteration} was accepted, so "
                "there is nothing to fine-tune on. Sample more (rollout.group_size), use hints (star.rationalization), "
                f"or make the problems easier; {self._folder / 'rationales'} holds what was sampled."
            )

    async def _tune(self, sampled: Sampled, wait_s: float) -> bool:
        """Fine-tune, publish, evaluate, report, save. False when a stop came before the fine-tuning was done."""
        rationales, tuning = sampled.with_fate("trained"), self._star.tuning
        steps = tuning_steps(tuning, len(rationales))
        self._announce(
            f"iteration {sampled.iteration} of {self._star.iterations}: fine-tuning on {len(rationales)} rationales",
            self.version + steps,
        )
        started = time.perf_counter()
        tuned = await fine_tune(
            rationales,
            tuning,
            self._learner,
            self._tracker,
            model=self._base if self._star.restart_from == "base" else None,
            version=self.version,
            seed=self._run.seed + sampled.iteration,
            stop_requested=self._stop.is_set,
        )
        if tuned is None:
            return False
        await self._finish(sampled, tuned, tune_s=time.perf_counter() - started, wait_s=wait_s)
        return True

    async def _finish(self, sampled: Sampled, tuned: Tuned, *, tune_s: float, wait_s: float) -> None:
        """The new weights to every worker; the iteration's figures; a checkpoint."""
        sync = await self._publisher.publish(tuned.version)
        self.version = tuned.version
        report = report_iteration(sampled, tuned, tune_s=tune_s, wait_s=wait_s)
        self._reports.append(report)
        unhinted = [scored for scored in sampled.groups if scored.group.group_id % 2 == 0]
        metrics = report.metrics() | group_metrics(unhinted, self._thought_tags) | sync_metrics(sync)
        self._tracker.log_step(self.version, metrics)
        self._tracker.log_samples(self.version, sample_rows(sampled.groups, self._run.tracking.sample_rows))
        await self._evaluate()
        await self._save()

    def _ended_by(self) -> Literal["iterations", "patience", "stop"] | None:
        if self.iteration >= self._star.iterations:
            return "iterations"
        best = self._best()
        if best is not None and self.iteration - best >= self._star.patience:
            return "patience"
        return "stop" if self._stop.is_set() else None

    def _best(self) -> int | None:
        """Of the iterations so far; None when the run does not judge them by held-out accuracy."""
        kept = [e for e in self._evaluations if e["iteration"] not in self._deleted]
        return best_iteration(kept) if self._star.patience else None

    async def _evaluate(self) -> None:
        evaluation = self._run.evaluation
        if evaluation is None:
            return
        report: EvalReport = await evaluate(
            self._fleet,
            self._rewards,
            self._evaluation_prompts,
            samples=evaluation.samples,
            temperature=evaluation.temperature,
            max_completion_tokens=self._run.rollout.max_completion_tokens,
            seed=self._run.seed,
            step=self.version,
            thought_tags=self._thought_tags,
        )
        self._evaluations.append({"iteration": float(self.iteration)} | report.metrics())
        self._tracker.log_step(self.version, report.metrics())
        await asyncio.to_thread(self._store.write, self.version, report.groups, advantages={}, kind="eval")

    # ---- weights to go back to ----

    async def _keep_base(self) -> None:
        """The weights that fine-tunings start from, as a folder; it gets its name when it is whole."""
        if self._star.restart_from == "last" or (self._base / "config.json").exists():
            return
        unfinished = self._base.with_name(f".{self._base.name}.unfinished")
        await self._learner.export(unfinished)
        unfinished.rename(self._base)

    async def _save(self) -> None:
        state = StarState(
            iteration=self.iteration,
            version=self.version,
            prompt_cursor=self._cursors[self.iteration],
            reports=tuple(self._reports),
            evaluations=tuple(self._evaluations),
        )

        async def write(folder: Path) -> None:
            await asyncio.to_thread(write_state, folder, state)
            await self._learner.save(folder, export=self._run.checkpoints.export)

        await save_checkpoint(
            self._folder / "checkpoints",
            self.iteration,
            write,
            keep_last=self._run.checkpoints.keep_last,
            version=self.version,
            world_size=self._run.learner.ranks,
            best_step=self._best(),
        )

    async def resume(self, checkpoint: Path) -> None:
        """Go on after the checkpoint's iteration. Raises ValueError when the base weights are gone, and what reading
        raises."""
        state = await asyncio.to_thread(read_state, checkpoint)
        if self._star.restart_from == "base" and not (self._base / "config.json").exists():
            raise ValueError(f"{self._base} holds no model, and every fine-tuning starts from it; begin anew")
        await self._learner.begin(self._star.tuning.optimizer)
        await self._learner.load(checkpoint)
        self._prompts.restore(state.prompt_cursor)
        self._cursors[state.iteration] = state.prompt_cursor
        self._reports, self._evaluations = list(state.reports), list(state.evaluations)
        kept = await asyncio.to_thread(complete_steps, checkpoint.parent)
        self._deleted = {int(evaluation["iteration"]) for evaluation in state.evaluations} - kept
        self.version = state.version
        self._resumed = True
