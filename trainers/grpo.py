"""Asynchronous GRPO: four coroutines over one buffer.

    admit --request--> roll out and score --scored group--> [buffer] --> batch --offer--> learn and publish
      ^                                                                                          |
      +----------------- room: slots are free when a step's weights are everywhere <-------------+

One step at a time is trained; how far sampling runs ahead is the room in the buffer. With `max_staleness: 0` the room
is one step's groups, and the loop is the synchronous one. docs/loop.md explains the bounds, the end and the resume.
"""

import asyncio
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from configs.run import GrpoRun
from data.records import Batch, FloatArray, GroupRequest, Prompt, Sampling, StepReport, SyncReport
from data.thinking import UNKNOWN_TAGS, ThoughtTags
from trainers import ports
from trainers.batching import StepData, build_step, unweighted_sequences
from trainers.books import Books
from trainers.checkpoints import save_checkpoint
from trainers.evaluation import evaluate, group_seed
from trainers.intake import Intake, StepGroups
from trainers.logbook import Logbook
from trainers.loop_state import LoopState, Totals, read_state, write_state
from trainers.patience import Patience
from trainers.rollout_buffer import Changes, RolloutBuffer
from trainers.schedule import learning_rate_share
from trainers.step_metrics import StepClock
from trainers.together import together


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a gradient that is not finite."""


@dataclass(frozen=True, slots=True)
class LoopResult:
    """How the loop ended, and what the whole run did, over restarts too."""

    status: Literal["finished", "stopped"]
    steps_done: int
    version: int
    books: Books
    totals: Totals
    evaluations: tuple[dict[str, float], ...]  # metrics of each evaluation, with "step"


class GrpoLoop:
    """Wires the ports together for one run. Call `run` once, after `resume` when the run goes on from a checkpoint."""

    def __init__(
        self,
        run: GrpoRun,
        *,
        prompts: ports.PromptStream,
        fleet: ports.RolloutFleet,
        rewards: ports.RewardService,
        learner: ports.Learner,
        publisher: ports.Publisher,
        tracker: ports.Tracker,
        store: ports.RolloutSink,
        checkpoint_folder: Path,
        reference: ports.ReferenceModel | None = None,
        evaluation_prompts: Seq[Prompt] = (),
        thought_tags: ThoughtTags = UNKNOWN_TAGS,
        version: int = 0,
        tracker_run_id: str | None = None,
    ) -> None:
        """`version`: of the learner's weights at the start, which a cold start may have raised."""
        if (reference is not None) != run.algorithm.needs_reference:
            raise ValueError(
                f"algorithm.kl.type is {run.algorithm.kl.type!r} and {'no' if reference is None else 'a'} reference "
                "model was given; pass one exactly when there is a KL penalty, or the advantage is `reverse_kl`"
            )
        self._run, self._prompts, self._fleet, self._rewards = run, prompts, fleet, rewards
        self._learner, self._publisher, self._reference = learner, publisher, reference
        self._evaluation_prompts, self._checkpoint_folder = evaluation_prompts, checkpoint_folder
        self._tracker_run_id, self._thought_tags = tracker_run_id, thought_tags
        self._sampling = Sampling(run.rollout.temperature, run.rollout.max_completion_tokens)
        staleness = run.algorithm.staleness
        self.books = Books()
        self.version = version  # of the last step that is published
        self._changes = Changes()
        self._buffer = RolloutBuffer(
            self._changes,
            prompts_per_step=run.prompts_per_step,
            max_staleness=staleness.max_staleness,
            steps=run.steps,
            hold_for_old=staleness.stale_tokens == "wait",
        )
        self._intake = Intake(run.algorithm, self._buffer, self.books, prompts_per_step=run.prompts_per_step)
        self._logbook = Logbook(tracker, store, sample_rows=run.tracking.sample_rows, thought_tags=thought_tags)
        # A group may meet a worker's death and wait for its replacement before each attempt but the first.
        attempts_s = (run.rollout.group_timeout_s + run.rollout.start_timeout_s) * run.rollout.max_attempts
        self._patience = Patience(attempts_s + run.rewards.timeout_s * (run.rewards.retries + 1) + 60.0)
        self._clock = StepClock()
        self._next_group_id = 0
        self._skipped_in_a_row = 0
        self._offer: tuple[StepGroups, list[FloatArray] | None] | None = None
        self._stopping = False
        self._resumed = False
        self._saved_step: int | None = None
        self._group_tasks: set[asyncio.Task[None]] = set()

    @property
    def steps_done(self) -> int:
        """Optimizer steps consumed, skipped ones included."""
        return self._buffer.steps_published

    def request_stop(self) -> None:
        """Finish the step that the learner is in, save a checkpoint, end with status "stopped". From the event loop."""
        self._stopping = True
        self._changes.notify()

    async def run(self) -> LoopResult:
        """Publish, evaluate, train, save, evaluate. Raises what a port raises, and what the parts of the loop raise."""
        if not self._resumed:
            await self._learner.begin(self._run.optimizer)
        await self._publisher.publish(self.version)
        if not self._resumed and not self._stopping:
            await self._evaluate(step=0)
        try:
            await self._train_all_steps()
            await self._save()
        finally:
            self.books.aborted += self._buffer.abandon()
        self.books.check(in_flight=0, buffered=0)
        finished = self.steps_done == self._run.steps
        if finished:
            await self._evaluate(step=self.steps_done)
        await self._logbook.written()
        return LoopResult(
            status="finished" if finished else "stopped",
            steps_done=self.steps_done,
            version=self.version,
            books=self.books,
            totals=self._logbook.totals,
            evaluations=tuple(self._logbook.evaluations),
        )

    async def _train_all_steps(self) -> None:
        self._clock = StepClock()
        async with together() as tasks:
            helpers = [tasks.create_task(self._admit(tasks)), tasks.create_task(self._batch())]
            await self._learn()
            for task in [*helpers, *self._group_tasks]:
                task.cancel()

    # ---- the four coroutines ----

    async def _admit(self, tasks: asyncio.TaskGroup) -> None:
        """Prompts -> requests in flight, while there is room. Woken by published steps and by groups that fell out."""
        for request in self._buffer.in_flight:  # of the run that is resumed
            self._launch(tasks, request)
        while True:
            await self._changes.until(lambda: self._buffer.room > 0 and not self._stopping)
            group_id, self._next_group_id = self._next_group_id, self._next_group_id + 1
            seed = group_seed(self._run.seed, group_id)
            request = GroupRequest(group_id, self._prompts.take(), self._run.rollout.group_size, self._sampling, seed)
            self._buffer.admit(request)
            self.books.admitted += 1
            self._launch(tasks, request)
            await asyncio.sleep(0)  # a switch, so that sampling begins before the last prompt is rendered

    async def _roll_out_and_score(self, request: GroupRequest) -> None:
        """One request -> one scored group at the intake, or one failure. Cancelled at the end: stays in flight."""
        count = self._clock.sampling
        count(+1)
        try:
            group = await self._fleet.generate(request)
            count(-1)
            count = self._clock.scoring
            count(+1)
            scored = await self._rewards.score(group)
        except Exception as error:
            if not ports.is_group_failure(error):
                raise
            self._intake.failed(request.group_id, str(error))
        else:
            self._intake.arrived(scored)
        finally:
            count(-1)
        self._patience.note(self._buffer.num_in_flight)

    async def _batch(self) -> None:
        """Ready groups -> the next step's offer, one ahead of the learner. Woken by arrivals and by the learner."""
        async with self._patience.watch():
            while self._buffer.steps_taken < self._run.steps:
                await self._changes.until(lambda: self._offer is None and self._buffer.has_batch)
                # The learner may still be in the step before. Should that be skipped, a group is dropped a step early.
                version = self.version + self._buffer.steps_taken - self._buffer.steps_published
                if self._intake.drop_too_old(version):
                    continue
                groups = self._intake.choose()
                self._offer = groups, await self._reference_logprobs(groups)
                self._changes.notify()

    async def _learn(self) -> None:
        """Offers -> optimizer steps -> weights on every worker -> room. Ends the loop after the last step or a stop."""
        while self.steps_done < self._run.steps:
            await self._changes.until(lambda: self._offer is not None or self._stopping)
            if self._offer is None or self._stopping:
                break
            (groups, reference_logprobs), self._offer = self._offer, None
            self._changes.notify()
            self._clock.enter("busy")
            data = self._build(groups, reference_logprobs)
            report = await self._train(data) if data.has_signal else None
            sync = await self._publish(report)
            if self._evaluation_due():
                await self._evaluate(step=self.steps_done + 1)
            self._buffer.publish_step(groups.taken)  # admission opens
            await self._close_step(groups, data, report, sync)
            if self._checkpoint_due():
                await self._save()
            self._clock.enter("ready")

    # ---- what the coroutines call ----

    def _launch(self, tasks: asyncio.TaskGroup, request: GroupRequest) -> None:
        task = tasks.create_task(self._roll_out_and_score(request))
        self._group_tasks.add(task)
        task.add_done_callback(self._group_tasks.discard)
        self._patience.note(self._buffer.num_in_flight)

    async def _reference_logprobs(self, groups: StepGroups) -> list[FloatArray] | None:
        if self._reference is None or not groups.train:
            return None
        return await self._reference.logprobs(unweighted_sequences(groups.train), self._sampling.temperature)

    def _build(self, groups: StepGroups, reference_logprobs: list[FloatArray] | None) -> StepData:
        return build_step(
            groups.train,
            algorithm=self._run.algorithm,
            version=self.version,
            max_completion_tokens=self._sampling.max_completion_tokens,
            reference_logprobs=reference_logprobs,
        )

    async def _train(self, data: StepData) -> StepReport:
        batch = Batch(
            step=self.steps_done,
            sequences=data.sequences,
            objective="policy",
            learning_rate_share=learning_rate_share(self._run.schedule, self.steps_done, self._run.steps),
            temperature=self._sampling.temperature,
        )
        self._clock.enter("train")
        report = await self._learner.train(batch)
        self._clock.enter("busy")
        if report.version != self.version + (not report.skipped):
            raise RuntimeError(
                f"the learner reports version {report.version} after a {'skipped ' if report.skipped else ''}step at "
                f"version {self.version}; versions count optimizer steps, so loop and learner have lost each other"
            )
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if report.skipped else 0
        if self._skipped_in_a_row >= self._run.algorithm.max_nonfinite_steps:
            raise TrainingDiverged(
                f"{self._skipped_in_a_row} steps in a row had a gradient that is not finite, as many as "
                "algorithm.max_nonfinite_steps allows. Lower the learning rate, or look at the batches dumped."
            )
        return report

    async def _publish(self, report: StepReport | None) -> SyncReport | None:
        """The workers hold the step's weights when this returns; nothing to do when the step left them as they were."""
        if report is None or report.skipped:
            return None
        self._clock.enter("sync")
        sync = await self._publisher.publish(report.version)
        self._clock.enter("busy")
        return sync

    async def _close_step(
        self, groups: StepGroups, data: StepData, report: StepReport | None, sync: SyncReport | None
    ) -> None:
        """Version, books, metrics and the Parquet file of a step whose groups have just left the buffer."""
        self.version = self.version if report is None else report.version
        left = self._intake.close_step(groups)
        self.books.check(in_flight=self._buffer.num_in_flight, buffered=self._buffer.num_buffered)
        held = {
            "rollout/groups_in_flight": float(self._buffer.num_in_flight),
            "rollout/groups_buffered": float(self._buffer.num_buffered),
        }
        await self._logbook.step(
            self.steps_done,
            left,
            data,
            report=report,
            sync=sync,
            flow=self._intake.read_flow(),
            more=self._clock.close() | held | self.books.metrics(),
        )

    def _evaluation_due(self) -> bool:
        """After the step in progress. The last step's evaluation comes when the loop is over."""
        step, evaluation = self.steps_done + 1, self._run.evaluation
        if evaluation is None or not evaluation.every_steps or step == self._run.steps:
            return False
        return step % evaluation.every_steps == 0

    async def _evaluate(self, step: int) -> None:
        evaluation = self._run.evaluation
        if evaluation is None:
            return
        report = await evaluate(
            self._fleet,
            self._rewards,
            self._evaluation_prompts,
            samples=evaluation.samples,
            temperature=evaluation.temperature,
            max_completion_tokens=self._sampling.max_completion_tokens,
            seed=self._run.seed,
            step=step,
            thought_tags=self._thought_tags,
        )
        await self._logbook.evaluation(report)

    # ---- checkpoints ----

    def _checkpoint_due(self) -> bool:
        every = self._run.checkpoints.every_steps
        return bool(every) and self.steps_done % every == 0

    async def _save(self) -> None:
        if self._saved_step == self.steps_done:
            return
        await self._logbook.written()
        state = self.state()

        async def write(folder: Path) -> None:
            await asyncio.to_thread(write_state, folder, state)
            await self._learner.save(folder, export=self._run.checkpoints.export)

        await save_checkpoint(
            self._checkpoint_folder,
            state.steps_done,
            write,
            keep_last=self._run.checkpoints.keep_last,
            version=state.version,
            world_size=self._run.learner.ranks,
        )
        self._saved_step = state.steps_done

    def state(self) -> LoopState:
        """A consistent cut. Only between steps, or after the loop."""
        return LoopState(
            steps_done=self.steps_done,
            version=self.version,
            next_group_id=self._next_group_id,
            refills=self._intake.refills,
            prompt_cursor=self._prompts.state(),
            books=self.books.as_dict(),
            in_flight=tuple(self._buffer.in_flight),
            ready=tuple(self._buffer.buffered),
            totals=replace(self._logbook.totals),
            evaluations=tuple(self._logbook.evaluations),
            tracker_run_id=self._tracker_run_id,
        )

    async def resume(self, checkpoint: Path) -> None:
        """Load the learner's state and the loop's from a checkpoint. Raises what reading them raises."""
        state = await asyncio.to_thread(read_state, checkpoint)
        await self._learner.begin(self._run.optimizer)
        await self._learner.load(checkpoint)
        self.restore(state)

    def restore(self, state: LoopState) -> None:
        """Go on from a state; the learner has been restored. Groups in flight are sampled again, under their ids."""
        if state.steps_done > self._run.steps:
            raise ValueError(
                f"the checkpoint has {state.steps_done} steps and the run asks for {self._run.steps}; raise `steps`"
            )
        self._prompts.restore(state.prompt_cursor)
        self._buffer.restore(steps_done=state.steps_done, ready=state.ready, in_flight=state.in_flight)
        for name, count in state.books.items():
            setattr(self.books, name, count)
        self._intake.refills = state.refills
        self._logbook.totals = replace(state.totals)
        self._logbook.evaluations = list(state.evaluations)
        self._next_group_id, self.version = state.next_group_id, state.version
        self._tracker_run_id = state.tracker_run_id
        self._saved_step = state.steps_done
        self._resumed = True
