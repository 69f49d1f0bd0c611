"""Monte-Carlo labels of steps by the rollout fleet (algorithms/step_labels.py says what they mean).

    solution ─split─> prefixes ─fleet, N completions each─> whole responses ─rewards─> right or wrong ─> labels

A prefix goes to the engines as the token ids of prompt and steps; what comes back is judged together with them. The
last step is the whole solution, so its label is the solution's own verdict.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace

import numpy as np

from algorithms.step_labels import StepLabel, first_wrong_step
from configs.engines import Rollout
from configs.run import StepLabelsRun
from data.records import Completion, Group, GroupRequest, Prompt, Sampling, ScoredGroup
from data.solutions import Solution
from data.step_labels import LabelledSolution
from data.steps import Decoder
from trainers.evaluation import group_seed
from trainers.patience import Patience
from trainers.ports import RewardService, RolloutFleet, Tracker, is_group_failure
from trainers.together import together

_LARGEST_FAILED_SHARE = 0.5
_NO_LABEL = StepLabel(0, 0)

Write = Callable[[int, Seq[LabelledSolution]], object]  # number of the file, its solutions; called from a thread


class LabellingFailed(RuntimeError):
    """Too many prefixes could not be completed, or their completions not be judged."""


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What was labelled."""

    stopped: bool
    solutions: int
    figures: dict[str, float]  # of all solutions, as in the metrics `step_labels/*`


class StepLabeller:
    """Labels solutions, some at a time."""

    def __init__(self, run: StepLabelsRun, fleet: RolloutFleet, rewards: RewardService, decoder: Decoder) -> None:
        self._run, self._fleet, self._rewards, self._decoder = run, fleet, rewards, decoder
        rollout = run.rollout
        # Twice what the engines decode at once keeps them full, and no group waits long enough to miss its deadline.
        self._gate = asyncio.Semaphore(max(2, 2 * rollout.workers * rollout.max_sequences // rollout.group_size))
        self._patience = Patience(_longest_wait_s(run, rollout))
        self._in_flight = 0
        self._tried = 0
        self._failures: list[str] = []

    async def label(self, solutions: Seq[Solution], first_id: int) -> list[LabelledSolution]:
        """Labels in the order of the solutions. Ids of groups begin with `first_id`; seeds hang on them.

        Raises LabellingFailed when more than half of the calls failed so far, and what the ports raise beyond that.
        """
        ids = np.cumsum([first_id, *(len(solution.step_ends) for solution in solutions)])
        async with self._patience.watch(), together() as tasks:
            labelling = [
                tasks.create_task(self._label_solution(solution, int(start)))
                for solution, start in zip(solutions, ids[:-1], strict=True)
            ]
        if len(self._failures) > _LARGEST_FAILED_SHARE * self._tried:
            raise LabellingFailed(
                f"{len(self._failures)} of {self._tried} prefixes could not be completed or judged, at most "
                f"{_LARGEST_FAILED_SHARE:.0%} may. Look into the rollout and reward logs; the last cause: "
                f"{self._failures[-1]}"
            )
        return [task.result() for task in labelling]

    async def _label_solution(self, solution: Solution, first_id: int) -> LabelledSolution:
        async with together() as tasks:
            labelling = [
                tasks.create_task(self._label_prefix(solution, int(end), first_id + step))
                for step, end in enumerate(solution.step_ends[:-1])
            ]
            judging = tasks.create_task(self._own_verdict(solution, first_id + len(solution.step_ends) - 1))
        labels = [*(task.result() for task in labelling), judging.result()]
        return LabelledSolution(
            problem=solution.prompt.prompt_id,
            prompt=solution.prompt.text,
            response=solution.text,
            prompt_ids=solution.prompt.token_ids,
            response_ids=solution.response_ids,
            step_ends=solution.step_ends,
            right=tuple(label.right for label in labels),
            completions=tuple(label.completions for label in labels),
            correct=labels[-1].right > 0,
            origin=solution.origin,
        )

    async def _label_prefix(self, solution: Solution, end: int, group_id: int) -> StepLabel:
        """What the completions from the step that ends with token `end` come to."""
        rollout, problem = self._run.rollout, solution.prompt
        prefix_ids = solution.response_ids[: end + 1]
        room = rollout.max_completion_tokens - len(prefix_ids)
        if room < 1:
            return _NO_LABEL
        prompt_ids = np.concatenate([problem.token_ids, prefix_ids]).astype(np.int32)
        request = GroupRequest(
            group_id,
            Prompt(problem.prompt_id, prompt_ids, problem.text, problem.reference),
            rollout.group_size,
            Sampling(rollout.temperature, room),
            group_seed(self._run.seed, group_id),
        )

        async def complete() -> ScoredGroup:
            group = await self._fleet.generate(request)
            whole = tuple(self._joined(solution, end, completion) for completion in group.completions)
            return await self._rewards.score(replace(group, prompt=problem, completions=whole))

        return await self._counted(complete)

    async def _own_verdict(self, solution: Solution, group_id: int) -> StepLabel:
        ids = solution.response_ids
        nothing = np.zeros(len(ids), dtype=np.int32)
        completion = Completion(ids, nothing.astype(np.float32), nothing, solution.text, "stop")
        return await self._counted(
            lambda: self._rewards.score(Group(group_id, solution.prompt, (completion,), "source", 0.0))
        )

    def _joined(self, solution: Solution, end: int, completion: Completion) -> Completion:
        """The whole response: the steps up to `end`, then what the fleet wrote."""
        prefix_ids = solution.response_ids[: end + 1]
        ids = np.concatenate([prefix_ids, completion.token_ids]).astype(np.int32)
        nothing = np.zeros(len(prefix_ids), dtype=np.int32)
        return Completion(
            token_ids=ids,
            logprobs=np.concatenate([nothing.astype(np.float32), completion.logprobs]),
            versions=np.concatenate([nothing, completion.versions]),
            text=self._decoder.decode(ids.tolist(), skip_special_tokens=True),
            finish_reason=completion.finish_reason,
        )

    async def _counted(self, score: Callable[[], Awaitable[ScoredGroup]]) -> StepLabel:
        async with self._gate:
            self._tried += 1
            self._note(+1)
            try:
                scored = await score()
            except Exception as error:
                if not is_group_failure(error):
                    raise
                self._failures.append(str(error))
                return _NO_LABEL
            finally:
                self._note(-1)
        judged = [verdict.correct for verdict in scored.verdicts if verdict.outcome == "ok"]
        return StepLabel(sum(judged), len(judged))

    def _note(self, change: int) -> None:
        self._in_flight += change
        self._patience.note(self._in_flight)


async def label_solutions(
    run: StepLabelsRun,
    solutions: Seq[Solution],
    labeller: StepLabeller,
    tracker: Tracker,
    write: Write,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
) -> LabelReport:
    """Label everything, file by file; a stop is obeyed between files. Metrics go to the tracker as `step_labels/*`."""
    done: list[LabelledSolution] = []
    size, started, group_id = run.step_labels.solutions_per_file, time.perf_counter(), 0
    for number, start in enumerate(range(0, len(solutions), size)):
        if stop_requested():
            return LabelReport(True, len(done), label_figures(done))
        part = solutions[start : start + size]
        labelled = await labeller.label(part, group_id)
        group_id += sum(len(solution.step_ends) for solution in part)
        await asyncio.to_thread(write, number, labelled)
        done += labelled
        seconds = time.perf_counter() - started
        completions = sum(sum(solution.completions) for solution in done)
        figures = label_figures(done) | {"completions_per_s": completions / seconds}
        tracker.log_step(number + 1, {f"step_labels/{name}": value for name, value in figures.items()})
    return LabelReport(False, len(done), label_figures(done))


def label_figures(solutions: Seq[LabelledSolution]) -> dict[str, float]:
    """Counts and shares of what was labelled; a share of nothing is left out."""
    labels = [[StepLabel(right, n) for right, n in zip(s.right, s.completions, strict=True)] for s in solutions]
    soft = [label.soft for own in labels for label in own if label.soft is not None]
    hard = [label.hard for own in labels for label in own if label.hard is not None]
    figures = {
        "solutions": float(len(solutions)),
        "steps": float(sum(map(len, labels))),
        "unlabelled_steps": float(sum(label.hard is None for own in labels for label in own)),
    }
    if hard:
        figures |= {"hard_share": float(np.mean(hard)), "soft_mean": float(np.mean(soft))}
    # A right solution shows that each of its steps can be gone on from: a hard 0 there is the completer's weakness.
    for name, correct in (("doubted_right_share", True), ("repaired_wrong_share", False)):
        firsts = [
            first_wrong_step([label.hard for label in own[:-1]])
            for own, solution in zip(labels, solutions, strict=True)
            if solution.correct is correct
        ]
        if firsts:
            doubted = float(np.mean([first is not None for first in firsts]))
            figures[name] = doubted if correct else 1.0 - doubted
    return figures


def _longest_wait_s(run: StepLabelsRun, rollout: Rollout) -> float:
    attempts_s = (rollout.group_timeout_s + rollout.start_timeout_s) * rollout.max_attempts
    return attempts_s + run.rewards.timeout_s * (run.rewards.retries + 1) + 60.0
